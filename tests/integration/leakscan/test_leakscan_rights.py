"""What a scanner's login may do, how often, and what is written down of it."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from esl_shield.errors.database import RightMissing
from esl_shield.errors.keys import WrongKek
from esl_shield.errors.process import LookupsForbidden
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault.keys import create_kek, open_kek
from esl_shield.vault.leaks import Leaks

NUMBER = "+8613800138001"


def _ask(opened, count, seed=""):
    indexes = [hashlib.sha256(f"{seed}{i}".encode()).hexdigest() for i in range(count)]
    return opened.call("find_leaks", str(uuid.uuid4()), [1] * count, [1] * count, indexes)


def test_a_rate_holds_also_for_what_is_rolled_back(lab):
    """A minute's look-ups can be saved up, more must wait; a transaction that is undone has used them up."""
    login = lab.lab.database.login("scanner", tenants=["acme"], lookups_per_s=20)
    connection = lab.lab.database.connect(login)
    connection.autocommit = False
    with connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute("SELECT * FROM shield_api.find_leaks(%s, %s, %s, %s)",
                           (str(uuid.uuid4()), [1] * 500, [1] * 500, ["00"] * 500))  # fmt: skip
            assert cursor.fetchall() == []
            connection.rollback()
    opened = lab.lab.database.open(login)
    assert _ask(opened, 190) == []
    [(verdict, wait_ms, token)] = _ask(opened, 1000)
    assert (verdict, token) == ("WAIT", None)
    assert 30_000 < wait_ms <= 50_000


def test_more_than_a_batch_or_no_rate_is_forbidden(lab):
    """Refusals are verdicts, and written down."""
    opened = lab.lab.database.open(lab.login)
    assert _ask(opened, 1001) == [("FORBIDDEN", None, None)]
    nothing = lab.lab.database.login("scanner", tenants=["acme"])
    assert _ask(lab.lab.database.open(nothing), 1) == [("FORBIDDEN", None, None)]
    events = lab.lab.database.query("SELECT detail->>'reason' FROM dba.audit_events WHERE kind = 'leakscan.refused'")
    assert events == [("lookup_forbidden",)] * 2
    lab.seed([NUMBER])
    leaks = lab.leaks(nothing)
    with pytest.raises(LookupsForbidden):
        leaks.ask(leaks.read(b"13800138001"))


def test_a_scanner_waits_for_its_rate_and_goes_on(lab):
    """A search that is over its rate takes longer; it leaves nothing out."""
    lab.seed([NUMBER])
    login = lab.lab.database.login("scanner", tenants=["acme"], lookups_per_s=1)
    assert _ask(lab.lab.database.open(login), 1000) == []
    leaks = lab.leaks(login)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        lab.lab.database.query(
            "SELECT setval(c.oid, 1) FROM pg_class c WHERE c.relkind = 'S' AND c.relname LIKE 'lookups_%%'"
        )

    suspects = [leak for number in range(20_000) for leak in leaks.read(b"139%08d" % number)]
    suspects += leaks.read(b"13800138001")
    assert len(suspects) > 10
    leaks.ask(suspects, wait)
    assert [0 < seconds <= len(suspects) for seconds in waited] == [True]
    assert [suspect.token.token for suspect in suspects if suspect.token] == [lab.tokens[NUMBER]]


def test_another_tenants_numbers_are_not_to_be_seen(lab):
    """Neither keys nor filter nor tokens of a tenant the login is not mapped to."""
    lab.lab.add_tenant("brick", "88")
    tenant_id = lab.lab.database.query("SELECT id FROM dba.tenants WHERE name = 'brick'")[0][0]
    bricks = lab.lab.seeder("brick", lab.lab.database.login("seeder", tenants=["brick"]))
    token = bricks.add(NUMBER, None, None)[0]
    [(index,)] = lab.lab.database.query("SELECT encode(number_index, 'hex') FROM shield.number_refs")
    opened = lab.lab.database.open(lab.login)
    scan = str(uuid.uuid4())
    assert {row[1] for row in opened.call("start_leakscan", scan, None)} == {"acme"}
    assert opened.call("start_leakscan", scan, ["brick"]) == []
    assert opened.call("leakscan_filter", scan, tenant_id, 0) == []
    assert opened.call("find_leaks", scan, [tenant_id], [1], [index]) == []
    with pytest.raises(TenantUnknown):
        lab.leaks(tenants=["brick"])
    both = lab.leaks(lab.lab.database.login("scanner", lookups_per_s=100))
    suspects = both.read(b"13800138001")
    both.ask(suspects)
    assert [(s.token.tenant, s.token.token) for s in suspects if s.token] == [("brick", token)]


def test_the_filter_holds_few_bits_and_every_number(lab):
    """Of each index the filter gives no more than eight bits beyond what tells the numbers apart."""
    lab.seed([f"+861380013{i:04d}" for i in range(100)])
    opened = lab.lab.database.open(lab.login)
    [(bits, page, after)] = opened.call("leakscan_filter", str(uuid.uuid4()), 1, 0)
    assert bits == 15
    words = [int.from_bytes(page[at : at + 4], "big") for at in range(0, len(page), 4)]
    assert words == sorted(set(words))
    assert not [word for word in words if word & ((1 << 17) - 1)]
    assert after == words[-1] + (1 << 17)
    leaks = lab.leaks()
    assert all(leaks.read(number[3:].encode()) for number in lab.tokens)
    passed = sum(bool(leaks.read(b"139%08d" % number)) for number in range(20_000))
    assert passed < 20_000 / 256 * 2


def test_every_step_is_written_down_with_counts_alone(lab):
    """Start, keys, filter, look-ups and end are audit events of the login; none holds an index."""
    lab.seed([NUMBER])
    leaks = lab.leaks()
    leaks.ask(leaks.read(b"+8613800138001"))
    leaks.finish("found", files=3, read_bytes=99, unread=1, findings=2)
    rows = lab.lab.database.query(
        "SELECT kind, tenant, detail - 'scan' FROM dba.audit_events WHERE detail->>'scan' = %s ORDER BY id",
        str(leaks.scan),
    )
    assert [kind for kind, _, _ in rows if kind != "leakscan.filter"] == [
        "leakscan.started", "key.read", "leakscan.lookup", "leakscan.finished",
    ]  # fmt: skip
    assert {tenant for _, tenant, _ in rows} == {"acme"}
    details = {kind: detail for kind, _, detail in rows}
    assert details["leakscan.lookup"] == {"asked": 1, "found": 1}
    assert details["leakscan.finished"] == {"outcome": "found", "files": 3, "bytes": 99, "unread": 1, "findings": 2}


def test_another_role_and_another_kek_are_told_in_one_sentence(lab, tmp_path):
    """A seeder's login may not scan; a KEK that is not the keys' opens none."""
    with pytest.raises(RightMissing, match="a scanner"):
        Leaks(lab.lab.seeder_login, lab.lab.kek, (), ())
    uri = f"file:{tmp_path}/other"
    create_kek(uri)
    with pytest.raises(WrongKek):
        Leaks(lab.login, open_kek(uri), (), ())
