"""A superuser tampers with the sealed trail: each way is found and named."""

from __future__ import annotations

import pytest

SWAP = """
CREATE TEMP TABLE pair AS SELECT * FROM shield.audit_events WHERE id IN (%(a)s, %(b)s);
UPDATE shield.audit_events e SET at = p.at, tenant_id = p.tenant_id, kind = p.kind, login = p.login, agent = p.agent,
    token = p.token, call = p.call, detail = p.detail FROM pair p
    WHERE (e.id = %(a)s AND p.id = %(b)s) OR (e.id = %(b)s AND p.id = %(a)s)
"""
# what a superuser runs -> the kind of the finding, words of its sentence; {a} is a sealed event
WAYS = {
    "edits_detail": ("UPDATE shield.audit_events SET detail = '{{}}' WHERE id = {a}", "edited", "its detail changed"),
    "edits_agent_and_call": (
        "UPDATE shield.audit_events SET agent = 'x', call = NULL WHERE id = {a}", "edited", "its agent, call changed"),
    "edits_the_time": (
        "UPDATE shield.audit_events SET at = at - interval '1 second' WHERE id = {a}", "edited", "its at changed"),
    "deletes": ("DELETE FROM shield.audit_events WHERE id = {a}", "removed", "event {a} of block"),
    "deletes_all": ("TRUNCATE shield.audit_events", "removed", "event 1 of block 1 is gone"),
    "inserts_back_dated": (
        "INSERT INTO shield.audit_events (id, kind, xid) SELECT 99, 'a.b', xid FROM shield.audit_events WHERE id = {a}",
        "inserted", "did not seal it"),
    "inserts_before_all": (
        "INSERT INTO shield.audit_events (id, kind, xid) VALUES (-5, 'call.refused', '1')", "inserted", "event -5"),
    "inserts_beyond_all": (
        "INSERT INTO shield.audit_events (id, kind, xid) VALUES (1000, 'call.refused', '900000000')",
        "inserted", "not begun"),
    "reorders": (
        "UPDATE shield.audit_events SET xid = (SELECT max(xid) FROM shield.audit_events) WHERE id = {a}",
        "reordered", "its xid changed"),
    "drops_a_block": ("DELETE FROM shield.audit_blocks WHERE number = 2", "block_missing", "block 2"),
    "drops_the_tail": (
        "DELETE FROM shield.audit_blocks WHERE number = 3", "truncated", "the chain ends with block 2, and block 3"),
    "edits_a_header": (
        "UPDATE shield.audit_blocks SET header = replace(header, '\"count\":', '\"count\": ') WHERE number = 2",
        "forked", "block 2"),
    "edits_leaves": (
        "UPDATE shield.audit_blocks SET leaves = substr(leaves, 33) || substr(leaves, 1, 32) WHERE number = 2",
        "block_replaced", "leaf hashes of block 2"),
    "edits_entries": (
        "UPDATE shield.audit_blocks SET entries = substr(entries, 9) || substr(entries, 1, 8) WHERE number = 2",
        "block_replaced", "entries of block 2"),
    "swaps_blocks": (
        "UPDATE shield.audit_blocks SET number = CASE number WHEN 2 THEN 99 ELSE 2 END WHERE number IN (2, 3)",
        "block_replaced", "what stands as block 2 is block 3"),
    "replaces_a_function": (
        "CREATE OR REPLACE FUNCTION shield_api.kek_ids() RETURNS TABLE (kek_id text) LANGUAGE sql AS 'SELECT NULL'",
        "code_changed", "function shield_api.kek_ids() was changed"),
    "adds_a_function": (
        "CREATE FUNCTION shield_api.more() RETURNS int LANGUAGE sql AS 'SELECT 1'", "code_changed", "more() is new"),
    "grants": ("GRANT SELECT ON shield.tokens TO PUBLIC", "code_changed", "table shield.tokens was changed"),
    "disables_row_security": (
        "ALTER TABLE shield.calls DISABLE ROW LEVEL SECURITY", "code_changed", "table shield.calls was changed"),
    "drops_a_policy": (
        "DROP POLICY own_tenants ON shield.permits", "code_changed", "policy shield.permits.own_tenants is gone"),
    "takes_a_table": ("ALTER TABLE shield.calls OWNER TO shield_admin", "code_changed", "table shield.calls"),
    "disables_triggers": (
        "ALTER TABLE shield.dids DISABLE TRIGGER ALL", "code_changed", "trigger shield.dids"),
    "forges_the_manifest": (
        "UPDATE shield.audit_code SET manifest = manifest || 'x\ty'", "code_unknown", "block 1 says"),
}  # fmt: skip
# of those that touch an event -> the first event named
FIRST = {
    "edits_detail": 8, "edits_agent_and_call": 8, "edits_the_time": 8, "deletes": 8, "deletes_all": 1,
    "inserts_back_dated": 99, "inserts_before_all": -5, "inserts_beyond_all": 1000, "reorders": 8,
}  # fmt: skip


@pytest.mark.parametrize("way", sorted(WAYS))
def test_tampering_is_found_and_named(sealed, way):
    """Whatever a superuser does to what is sealed is a finding that names it."""
    statement, kind, words = WAYS[way]
    report = sealed.verify_after(statement.format(a=8))
    found = [(finding.kind, finding.sentence) for finding in report.findings]
    assert any(k == kind and words.format(a=8) in sentence for k, sentence in found), found
    if way in FIRST:
        first = report.findings[0]
        assert (first.kind, first.event, words.format(a=8) in first.sentence) == (kind, FIRST[way], True), found


MIXED = """
DELETE FROM shield.audit_events WHERE id = 10;
UPDATE shield.audit_events SET detail = '{}' WHERE id = 8;
INSERT INTO shield.audit_events (id, kind, xid)
    SELECT 1000, 'a.b', last_xid FROM shield.audit_blocks WHERE number = 2;
"""


def test_of_several_ways_the_first_event_is_named_first(sealed):
    """Of one removed, one edited before it and one inserted behind block 2, the edited one comes first."""
    found = [(f.kind, f.event, f.block) for f in sealed.verify_after(MIXED).findings]
    assert found == [("edited", 8, 1), ("removed", 10, 1), ("inserted", 1000, 3)]


def test_the_first_edited_event_is_named_with_its_time_and_kind(sealed):
    """Of several edited events the first comes first, with its id, moment and kind as they were sealed."""
    form = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
    (at,) = sealed.sql("SELECT to_char(at AT TIME ZONE 'UTC', %s) FROM shield.audit_events WHERE id = 8", form)[0]
    report = sealed.verify_after("UPDATE shield.audit_events SET kind = 'x.y', at = now() WHERE id IN (8, 10)")
    first = report.findings[0]
    assert (first.event, first.at, first.event_kind, first.block) == (8, at, "call.authorized", 1)
    assert "its at, kind changed" in first.sentence


def test_swapped_events_are_named(sealed):
    """Two events that changed places are named as a swap, each with the other's id."""
    report = sealed.verify_after(SWAP, {"a": 7, "b": 8})
    assert [(f.kind, f.event) for f in report.findings] == [("swapped", 7), ("swapped", 8)]
    assert "what was sealed as event 8" in report.findings[0].sentence


def test_what_is_as_it_was_sealed_is_proved(sealed):
    """An auditor without tampering finds nothing, and everything was compared."""
    report = sealed.verify()
    assert (report.findings, report.blocks) == ([], 3)
    assert report.events == sealed.sql("SELECT count(*) FROM shield.audit_events")[0][0]
