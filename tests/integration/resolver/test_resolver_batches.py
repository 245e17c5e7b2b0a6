"""Redemptions that share a statement in a real resolver: each has its own answer, a failure gives nobody a number."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from resolver_process import REFUSED, held

LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename LIKE 'test_resolver%'"


@pytest.fixture
def waiting(resolver, vault, until):
    """Holds the database until two statements wait, has more requests come, lets go; gives everybody's answers."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(16))

        def wait(permits, during=lambda: None):
            busy = "esl_shield_resolver_answers_total"
            assert busy in resolver.get("/metrics").body
            with held(vault, "LOCK TABLE shield.permits"):
                futures = []
                for count in (1, 2):
                    futures.append(pool.submit(resolver.edge, permits[count - 1]))
                    until(lambda count=count: vault.one(LOCKED) == count)
                futures += [pool.submit(resolver.edge, permit) for permit in permits[2:]]
                during()
            return [future.result() for future in futures]

        yield wait


def test_a_mixed_batch_answers_each(resolver, vault, waiting):
    """Right, repeated, guessed and forbidden ones that queued together: one number each, all else refused."""
    assert resolver.edge(vault.permit()).status == 200
    right = [vault.permit() for _ in range(5)]
    guessed = secrets.token_hex(16)
    premium = vault.permit("premium")
    answers = waiting([*right, right[4], guessed, premium])
    assert [answer.status for answer in answers[:4]] == [200] * 4
    assert sorted(answer.status for answer in answers[4:6]) == [200, 404]
    assert answers[6].raw == REFUSED
    assert answers[7].status == 403
    for permit in right[:4]:
        assert vault.audit(permit.call) == [("call.authorized", None), ("permit.redeemed", None)]


def test_a_database_that_dies_under_a_batch_gives_nobody_a_number(resolver, vault, waiting):
    """Everybody in the statements that were cut off is told 503, and no permit of theirs is used up."""
    permits = [vault.permit() for _ in range(6)]

    def cut() -> None:
        vault.one("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename LIKE 'test_resolver%'")

    answers = waiting(permits, cut)
    given_up = [answer.status for answer in answers[:2]]
    assert given_up == [503, 503]
    for permit, answer in zip(permits, answers, strict=True):
        assert answer.status in (200, 503)
        if answer.status == 503:
            assert resolver.edge(permit).status == 200
        assert [kind for kind, _ in vault.audit(permit.call)].count("permit.redeemed") == 1
