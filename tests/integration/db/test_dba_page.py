"""Every question of docs/dba.md, asked by an auditor's login of a database with calls in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shield_calls import Attempt

PAGE = (Path(__file__).parents[3] / "docs" / "dba.md").read_text(encoding="utf-8")
QUESTION = re.compile(
    r"^\*\*(?P<question>.+?)\*\*(?P<note>[^\n]*)\n\n```sql\n(?P<sql>.*?)```", re.MULTILINE | re.DOTALL
)
QUESTIONS = {match["question"]: match for match in QUESTION.finditer(PAGE.split("## Questions\n")[1])}


@pytest.fixture
def asked(database, tenants, worker, resolver):
    """One call redeemed, one refused, a key read, a token that expires soon and a token never called."""
    database.tokens(tenants["acme"], "91000000000026")
    database.query("UPDATE shield.tokens SET expires_at = now() + interval '9 days' WHERE token = '91000000000026'")
    database.query("SELECT shield_api.add_key(%s, 'data', 1, %s, 'kek-1')", tenants["acme"], b"x" * 40)
    attempt = Attempt()
    attempt.authorize(worker)
    assert attempt.redeem(resolver)
    assert resolver.call("tenant_data_key", tenants["acme"], 1)
    Attempt(token="91999999999999").authorize(worker)
    with database.connect(database.login("auditor")).cursor() as cursor:
        yield cursor


def test_every_block_of_the_questions_is_tested():
    """No question's SQL is written in a way this test would pass over."""
    assert len(QUESTIONS) == PAGE.split("## Questions\n")[1].count("```sql") > 15


def test_an_auditor_gets_an_answer_to_every_question(asked):
    """Each query runs, returns the columns it names, and at least one row unless the page says it may be empty."""
    for question, match in QUESTIONS.items():
        asked.execute(match["sql"])
        assert asked.description, question
        assert asked.fetchall() or "may be empty" in match["note"], question


def test_what_is_asked_before_an_upgrade_runs(asked):
    """The other queries of the page run as well."""
    for block in re.findall(r"```sql\n(SELECT.*?)```", PAGE.split("## Questions\n")[0], re.DOTALL):
        asked.execute(block)
