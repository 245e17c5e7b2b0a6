"""A superuser changes functions and what else decides: found now, dated once a block exists, silent once accepted."""

from __future__ import annotations

import pytest
from fix_postgres import TEMPLATE, ShieldDatabase, _maintain
from sealing_site import SealingSite

from esl_shield.audit.source import open_source
from esl_shield.audit.verify import Trust, Verification
from esl_shield.db.schema import OWNER

# Things of a site's own that are there before the first seal.
KNOWN = """
CREATE FUNCTION public.known() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER known1 BEFORE INSERT ON shield.dids FOR EACH ROW EXECUTE FUNCTION public.known();
CREATE TRIGGER known2 BEFORE INSERT ON shield.dids FOR EACH ROW EXECUTE FUNCTION public.known();
CREATE TRIGGER known BEFORE INSERT ON shield.calls FOR EACH ROW EXECUTE FUNCTION public.known();
CREATE RULE known AS ON UPDATE TO shield.dids DO ALSO NOTIFY known;
CREATE FUNCTION shield_api.known(a int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT a'
"""
TRIGGER = "DROP TRIGGER known1 ON shield.dids; CREATE TRIGGER known1 BEFORE INSERT ON shield.dids FOR EACH ROW"
OTHER = "CREATE FUNCTION public.other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
# what a superuser runs -> what is named as changed
WAYS = {
    "changes_when_a_trigger_acts": (
        f"{TRIGGER} WHEN (false) EXECUTE FUNCTION public.known()", "trigger shield.dids.known1"),
    "changes_what_a_trigger_calls": (
        f"{OTHER} {TRIGGER} EXECUTE FUNCTION public.other()", "trigger shield.dids.known1"),
    "replaces_what_a_trigger_calls": (
        "CREATE OR REPLACE FUNCTION public.known() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "function public.known()"),
    "changes_a_rule": (
        "CREATE OR REPLACE RULE known AS ON UPDATE TO shield.dids DO ALSO NOTIFY other", "rule shield.dids.known"),
    "changes_a_default": (
        "CREATE OR REPLACE FUNCTION shield_api.known(a int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT a'",
        "function shield_api.known(int4)"),
    "has_a_function_answer_null": (
        "ALTER FUNCTION shield_api.known(int) STRICT", "function shield_api.known(int4)"),
    "has_a_function_look_before_row_security": (
        "ALTER FUNCTION shield_api.known(int) LEAKPROOF", "function shield_api.known(int4)"),
}  # fmt: skip
REPLACED = "CREATE OR REPLACE FUNCTION shield_api.kek_ids() RETURNS TABLE (kek_id text) LANGUAGE sql AS 'SELECT NULL'"
DEFINITION = "SELECT pg_get_functiondef('shield_api.kek_ids'::regproc)"
RIGHTS = "SELECT proacl::text, proowner::regrole::text FROM pg_proc WHERE oid = 'shield_api.kek_ids'::regproc"


@pytest.fixture(scope="module")
def known(cluster, request, tmp_path_factory):
    """A block over a database with things of its own; what a test does to it, it rolls back."""
    name = request.module.__name__
    _maintain(cluster, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    database = ShieldDatabase(cluster, name)
    database.tenant("acme")
    database.query(KNOWN)
    site = SealingSite(database, tmp_path_factory.mktemp("known"))
    site.seal()
    yield site
    database.close()
    _maintain(cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_change_behind_the_same_name_is_found(known, way):
    """What a trigger, a rule or a function's signature does is part of what is compared, not that it is there."""
    statement, thing = WAYS[way]
    found = [f.sentence for f in known.verify_after(statement).findings if f.kind == "code_changed"]
    assert f"{thing} was changed, since the last block" in found, found


def test_a_new_month_is_no_change(known):
    """A partition, and the copy of a trigger that PostgreSQL gives it, is not code of somebody's."""
    before = {f.sentence for f in known.verify().findings}
    month = "SELECT shield.make_month('calls', '2099-01-01')"
    after = known.verify_after(f"SET LOCAL ROLE {OWNER}; {month}; RESET ROLE")
    assert {f.sentence for f in after.findings} == before


def test_what_was_foreign_before_the_first_seal_is_named(known):
    """A function that was replaced or added before any block is not what the release ships."""
    found = [(f.kind, f.sentence.partition(" is not ")[0], f.block) for f in known.verify().findings]
    assert found == [
        ("code_foreign", "function public.known()", 1), ("code_foreign", "function shield_api.known(int4)", 1),
    ]  # fmt: skip


def test_a_shipped_function_replaced_before_the_first_seal_is_named(site):
    """With no older manifest to differ from, its body alone gives it away; accepted, it is silent."""
    site.sql(REPLACED)
    site.seal()
    found = [(f.kind, f.block) for f in site.verify().findings]
    assert found == [("code_foreign", 1)]
    assert "function shield_api.kek_ids() is not what this release ships" in site.verify().findings[0].sentence
    assert _verify_accepting(site, _codes(site)) == []


def test_a_sealed_change_is_dated_and_stays_found(site):
    """The block that first held a replaced function is named, and so it is after the function was put back."""
    definition, rights = site.sql(DEFINITION)[0][0], site.sql(RIGHTS)
    site.seal()
    site.sql(REPLACED)
    site.write_events(2)
    site.seal()
    dated = "function shield_api.kek_ids() was changed, since block 2, sealed "
    changed, foreign = site.verify().findings
    assert (changed.kind, changed.block, changed.sentence.startswith(dated)) == ("code_changed", 2, True)
    assert (foreign.kind, foreign.block) == ("code_foreign", 2)
    site.sql(definition)
    assert site.sql(RIGHTS) == rights
    site.write_events(2)
    site.seal()
    sealed = site.sql("SELECT hash FROM dba.audit_code ORDER BY first_block")
    assert len(sealed) == 2  # put back, it is what it was
    found = site.verify().findings
    assert [(f.kind, f.block) for f in found] == [("code_changed", 2), ("code_changed", 3)]
    assert found[0].sentence == changed.sentence
    assert found[0].at == changed.at
    hashes = [f.sentence.rpartition("(code ")[2].rstrip(")") for f in found]
    assert sorted(hashes) == sorted(hash_ for (hash_,) in sealed)
    assert [f.block for f in _verify_accepting(site, hashes[:1])] == [3]
    assert _verify_accepting(site, hashes) == []


def _codes(site):
    return [hash_ for (hash_,) in site.sql("SELECT hash FROM dba.audit_code")]


def _verify_accepting(site, hashes):
    trust = Trust(str(site.heads_path), (site.signer.public,), frozenset(hashes))
    with open_source(site.auditor_login) as source:
        return Verification(source, trust).run().findings
