"""Do-not-call lists: a listed number is never given out, through every change of keys, for one tenant or the site."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import pytest
from key_lab import lab
from shield_cli import run_in_process

from esl_shield.config.gateways import Gateway
from esl_shield.config.resolver import DestinationsConfig
from esl_shield.errors.keys import KeyKept
from esl_shield.resolver.datakeys import DataKeys
from esl_shield.resolver.destinations import Destinations
from esl_shield.resolver.donotcall import KEPT_S, DoNotCall
from esl_shield.resolver.forms import RedeemForm
from esl_shield.resolver.redeem import Redeemer
from esl_shield.vault import keylife

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["lab"]

LISTED, OTHER = "13800138042", "13800138043"
GATEWAY = Gateway("edge-1", "edge")


class Calls:
    """A worker that mints and the part of a resolver that redeems, at a time of the test's own."""

    def __init__(self, lab) -> None:
        database = lab.database
        self.worker = database.open(database.login("worker"))
        resolver = database.open(database.login("resolver"))
        self.now = 0.0
        self.queries: list[str] = []
        call = resolver.call
        resolver.call = lambda function, *arguments: (self.queries.append(function), call(function, *arguments))[1]
        lists = DoNotCall(resolver, lab.keks, clock=lambda: self.now)
        self._redeemer = Redeemer(
            resolver,
            DataKeys(resolver, lab.keks),
            Destinations(DestinationsConfig(), [GATEWAY]),
            [GATEWAY],
            lists=lists,
        )

    def __call__(self, token: str, tenant: str = "acme") -> tuple[str, str]:
        """Call a token; the resolver's answer and its reason."""
        self.now += KEPT_S
        permit = uuid.uuid4().hex
        digest = hashlib.sha256(bytes.fromhex(permit)).digest()
        values = (uuid.uuid4(), f"{tenant}.example", "1001", token, None, None, digest, "edge-1", "edge", None, None)
        assert self.worker.call("authorize_call", *values) == [("ALLOWED",)]
        body = f"permit={permit}&token={token}&gateway=edge-1&call=".encode()
        outcome = self._redeemer.redeem(RedeemForm.parse(body), "edge")
        return outcome.answer, outcome.reason


@pytest.fixture
def calls(lab) -> Calls:
    lab.database.query("SELECT shield_api.set_caps('acme', NULL, NULL, NULL)")
    return Calls(lab)


@pytest.fixture
def run(lab) -> Callable[..., tuple[int, str, str]]:
    return run_in_process(lab.vault)


@pytest.fixture
def tokens(lab):
    """A token for the number that will be listed, and for another."""
    seeder = lab.vault.seeder()
    return [seeder.add(number, None, None)[0] for number in (LISTED, OTHER)]


def test_a_listed_number_is_never_given_out(lab, calls, run, tokens):
    """Whatever its token, the answer is a refusal and an event; taken off the list it is given out."""
    listed, other = tokens
    assert calls(listed) == ("number", "redeemed")
    assert run("seeder", "dnc", "add", "--tenant", "acme", stdin="+86 138 0013 8042\n")[:2] == (
        0,
        "added: list of acme\n",
    )
    assert run("seeder", "dnc", "add", "--tenant", "acme", stdin=LISTED)[:2] == (0, "unchanged: list of acme\n")
    assert (calls(listed), calls(other)) == (("destination", "do_not_call"), ("number", "redeemed"))
    (event,) = lab.database.query(
        "SELECT token, detail FROM shield.audit_events WHERE kind = 'permit.refused_number' ORDER BY id"
    )
    assert event == (listed, {"reason": "do_not_call", "list": "acme"})
    assert run("seeder", "dnc", "remove", "--tenant", "acme", stdin=LISTED)[:2] == (0, "removed: list of acme\n")
    assert calls(listed) == ("number", "redeemed")
    code, out, error = run("seeder", "dnc", "remove", "--tenant", "acme", stdin=LISTED)
    assert (code, out) == (1, "")
    assert "dnc.not_listed" in error


def test_a_tenant_without_a_list_pays_one_question_in_a_while(calls, tokens):
    """No index is made and none is asked for; the question for lists is not asked again within its time."""
    calls(tokens[1])
    calls.now -= KEPT_S
    calls(tokens[1])
    assert [name for name in calls.queries if "list" in name or "call_key" in name] == ["do_not_call_lists"]


def test_a_list_is_carried_through_changes_of_keys(lab, calls, run, tokens):
    """At every step of a rotation of either key the number is refused, and no key the list needs is retired."""
    listed, other = tokens
    run("seeder", "dnc", "add", "--tenant", "acme", stdin=LISTED)

    def look() -> None:
        assert (calls(listed), calls(other)) == (("destination", "do_not_call"), ("number", "redeemed"))

    lab.rotate("index")
    look()
    assert run("seeder", "dnc", "add", "--tenant", "acme", stdin=LISTED)[1] == "unchanged: list of acme\n"
    old = keylife.find_key(lab.database.admin, "acme", "index", 1)
    with pytest.raises(KeyKept):
        keylife.retire(lab.database.admin, old)
    lab.do("reindex")
    look()
    assert lab.database.query("SELECT index_version FROM shield.do_not_call") == [(2,)]
    keylife.retire(lab.database.admin, old)
    look()
    lab.rotate("data")
    lab.do("reencrypt")
    look()
    assert lab.database.query("SELECT key_version FROM shield.do_not_call") == [(2,)]
    lab.rotate("index")
    lab.do("reindex")
    look()
    assert run("seeder", "dnc", "remove", "--tenant", "acme", stdin=LISTED)[0] == 0
    assert calls(listed) == ("number", "redeemed")


def test_a_key_the_list_needs_is_not_destroyed(lab, run):
    """A data key under which only an entry of the list is left stays."""
    run("seeder", "dnc", "add", "--tenant", "acme", stdin=LISTED)
    lab.rotate("data")
    lab.let_calls_end()
    old = keylife.find_key(lab.database.admin, "acme", "data", 1)
    with pytest.raises(KeyKept):
        keylife.destroy(lab.database.admin, old, "gone")


def test_a_list_for_all_holds_for_every_tenant(lab, calls, run):
    """The site's list is some tenant's, shared; unshared it is that tenant's alone again."""
    lab.vault.add_tenant("site", "88")
    lab.database.query("SELECT shield_api.set_caps('site', NULL, NULL, NULL)")
    token = lab.vault.seeder().add(LISTED, None, None)[0]
    config = lab.vault.config(lab.database.login("seeder", tenants=["site"]))
    add = ("--config", str(config), "dnc", "add", "--tenant", "site")
    assert run("seeder", *add[2:], stdin=LISTED)[0] == 2  # acme's seeder sees no such tenant
    from click.testing import CliRunner  # noqa: PLC0415 - another role's configuration, once

    from esl_shield.cli.main import root  # noqa: PLC0415

    assert CliRunner().invoke(root, add, input=LISTED, standalone_mode=False).exception is None
    assert calls(token) == ("number", "redeemed")
    shared = run("admin", "dnc", "share", "--tenant", "site", "--for-all")
    assert shared[:2] == (0, "set: the list of site holds for every tenant's calls\n")
    assert calls(token) == ("destination", "do_not_call")
    run("admin", "dnc", "share", "--tenant", "site", "--own")
    assert calls(token) == ("number", "redeemed")


def test_a_file_is_listed_and_what_is_no_number_is_told_by_its_line(lab, calls, run, tokens, tmp_path):
    """Every line that holds a number is listed, the same file again adds nothing, no output repeats a number."""
    file = tmp_path / "blocked.csv"
    file.write_text(f"name,number\nA,{LISTED}\nB,not a number\nC,+442079460958\nD\n", encoding="utf-8")
    first = run("seeder", "dnc", "import", str(file), "--tenant", "acme")
    assert first[:2] == (1, "2 numbers, 2 new on the list of acme, 2 lines rejected\n")
    assert first[2].splitlines()[:2] == ["line 3: not listed (spelling)", "line 5: not listed (ragged)"]
    again = run("seeder", "dnc", "import", str(file), "--tenant", "acme")
    assert again[1] == "2 numbers, 0 new on the list of acme, 2 lines rejected\n"
    assert calls(tokens[0]) == ("destination", "do_not_call")
    listed = run("auditor", "dnc", "list", "--tenant", "acme")
    assert listed[1].count("acme") == 2
    said = " ".join(map(str, (*first, *again, *listed)))
    assert [number for number in (LISTED, "442079460958") if number[-8:] in said] == []
    kept = " ".join(row[0] for row in lab.database.query("SELECT n::text FROM shield.do_not_call n"))
    assert [number for number in (LISTED, "442079460958") if number[-8:] in kept] == []


def test_when_the_lists_cannot_be_asked_nothing_is_answered(lab, calls, run, tokens):
    """An index key that does not open is an answer that the vault is away, not a number."""
    run("seeder", "dnc", "add", "--tenant", "acme", stdin=OTHER)
    lab.database.query("UPDATE shield.data_keys SET wrapped = wrapped || '\\x00' WHERE purpose = 'index'")
    assert calls(tokens[0])[0] == "away"
