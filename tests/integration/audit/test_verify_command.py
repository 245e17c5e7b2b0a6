"""``audit verify`` as an auditor types it: with journals, of some blocks, behind months that were detached."""

from __future__ import annotations

import json
import time

import pytest
from shield_cli import invoke

from esl_shield.audit.journal import DECRYPTS, Journal
from esl_shield.audit.signing import Signer

LOGIN, AGO_S = "resolver_of_r1", 60  # younger than 2 * TOLERANCE_S is not compared yet
REDEEMED = """
INSERT INTO shield.audit_events (at, tenant_id, kind, login, agent, token, detail)
    VALUES (to_timestamp(%s), 1, 'permit.redeemed', %s, '1001', '91000000000018', '{"delivery": "edge"}')
"""


@pytest.fixture
def verify(site):
    """Run the command with the site's heads and key; exit code, kinds of the findings, summary, stderr."""
    config = site.folder / "auditor.toml"
    config.write_text(f'[database]\nurl = "{site.auditor_login.url}"\n')
    config.chmod(0o600)
    trust = ("--from-head", str(site.heads_path), "--public-key", str(site.public_key))

    def verify(*options):
        code, out, error = invoke(str(config), "audit", "verify", *trust, "--format", "json", *options)
        *findings, summary = [json.loads(line) for line in out.splitlines()] or [None]
        return code, [finding["kind"] for finding in findings], summary, error

    return verify


class Resolver:
    """What a resolver leaves of its redemptions a minute ago: events and a journal."""

    def __init__(self, site):
        self.site, self.signer, self.now = site, Signer(b"j" * 32), time.time() - 3 * AGO_S
        self.journal_path, self.key_path = site.folder / "journal.ndjson", site.folder / "journal.pub"
        self.key_path.write_text(self.signer.public.hex + "\n")
        self.options = ("--journal", str(self.journal_path), "--journal-key", str(self.key_path))
        self.journal = Journal(str(self.journal_path), self.signer, name="r1", login=LOGIN, clock=lambda: self.now)
        self.journal.begin()
        self.now += 2 * AGO_S

    def redeem(self, *, event=True, decrypted=True):
        if event:
            self.site.sql(REDEEMED, self.now, LOGIN)
        if decrypted:
            self.journal.count(DECRYPTS)

    def end(self):
        self.now += AGO_S / 2
        self.journal.collect(all_=True)
        self.journal.write()
        self.site.seal()


@pytest.fixture
def resolver(site):
    return Resolver(site)


@pytest.mark.parametrize(
    ("last", "kinds"),
    [
        ({}, []),
        ({"event": False}, ["decrypts_unaudited"]),
        ({"decrypted": False}, ["redeemed_elsewhere"]),
    ],
    ids=["agrees", "no_event", "no_decryption"],
)
def test_a_journal_must_agree_with_the_events(verify, resolver, last, kinds):
    """A decryption without an event, or a redemption no journal knows, is exit code 1; agreement is 0."""
    resolver.redeem()
    resolver.redeem()
    resolver.redeem(**last)
    resolver.end()
    code, found, summary, _ = verify(*resolver.options)
    assert (code, found, summary["findings"]) == (1 if kinds else 0, kinds, len(kinds))
    assert verify()[:2] == (0, [])  # without the journal nothing shows


def test_a_journal_of_another_key_is_broken(verify, site, resolver):
    """Records are believed by the key of --journal-key alone, not by the sealer's."""
    resolver.redeem()
    resolver.end()
    code, found, _, _ = verify("--journal", str(resolver.journal_path), "--journal-key", str(site.public_key))
    assert (code, set(found)) == (1, {"journal_broken"})


def test_a_range_is_proved_alone(verify, site):
    """--range proves the blocks it names, and what was done to others shows only without it."""
    for _ in range(3):
        site.write_events(2)
        site.seal()
    site.sql("UPDATE shield.audit_events SET agent = 'x' WHERE id = (SELECT max(id) FROM shield.audit_events)")
    code, found, summary, _ = verify("--range", "2:2")
    assert (code, found, summary) == (0, [], {"blocks": 1, "events": 2, "findings": 0})
    assert verify("--range", "2:")[:2] == (1, ["edited"])
    assert verify("--range", ":2")[:2] == (0, [])


def test_detached_months_are_left_out(verify, site):
    """--events-since proves the chain of blocks whose events are gone on purpose, and the events since."""
    site.write_events(2)
    site.sql("UPDATE shield.audit_events SET at = at - interval '2 hours'")
    site.seal()
    site.write_events(2)
    site.seal()
    site.sql("DELETE FROM shield.audit_events WHERE at < now() - interval '1 hour'")
    assert set(verify()[1]) == {"removed"}
    code, found, summary, _ = verify("--events-since", "1h")
    assert (code, found, summary) == (0, [], {"blocks": 2, "events": 2, "findings": 0})
    assert set(verify("--events-since", "3h")[1]) == {"removed"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--journal", "j"), "--journal and --journal-key go together"),
        (("--range", "2-3"), "--range takes FIRST:LAST"),
        (("--events-since", "last year"), "--events-since"),
    ],
    ids=["journal_without_key", "range", "since"],
)
def test_what_cannot_be_asked_is_told(verify, options, words):
    """An option that makes no sense is exit code 2 and a sentence."""
    code, _, _, error = verify(*options)
    assert (code, words in error) == (2, True), error


def test_a_journal_needs_an_open_end(verify, site, resolver):
    """A journal goes up to now, so a range that ends before cannot be held against it."""
    resolver.end()
    code, _, _, error = verify(*resolver.options, "--range", "1:1")
    assert (code, "open end" in error) == (2, True), error
