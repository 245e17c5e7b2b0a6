"""What the resolver signs of its decryptions agrees with the audit trail, and shows what was taken out of it."""

from __future__ import annotations

import secrets

import pytest
from resolver_process import GATEWAYS, finish, run
from sealing_site import SealingSite

from esl_shield.audit.decrypts import Redemptions
from esl_shield.audit.findings import Report
from esl_shield.audit.journal import read_journal
from esl_shield.audit.signing import Signer
from esl_shield.audit.source import open_source
from esl_shield.audit.verify import Extent, Trust, Verification


class Journaled:
    """A resolver with a journal, and an auditor who has it."""

    def __init__(self, database, vault, folder):
        self.site = SealingSite(database, folder)
        self.vault = vault
        self.seed = secrets.token_bytes(32)
        self.path, key = folder / "journal.ndjson", folder / "journal.key"
        key.write_text(self.seed.hex() + "\n")
        key.chmod(0o400)
        journal = f'\n[journal]\nkey = "file:{key}"\nfile = "{self.path}"\nname = "r1"\n'
        self.start = lambda: run(folder, database.login("resolver"), vault.kek_file, gateways=GATEWAYS + journal)

    def findings(self):
        """What a verification with the journal finds, of all seconds."""
        report = Report()
        public = Signer(self.seed).public
        redemptions = Redemptions([str(self.path)], {public.id: public}, report)
        redemptions.compare, compare = lambda since, until: None, redemptions.compare
        trust = Trust(str(self.site.heads_path), (self.site.signer.public,))
        with open_source(self.site.auditor_login) as source:
            Verification(source, trust, Extent(), redemptions, report=report).run()
        compare(0, 2**40)
        return report.findings


@pytest.fixture
def journaled(database, vault, tmp_path):
    return Journaled(database, vault, tmp_path)


def test_the_journal_agrees_and_shows_an_event_taken_out(journaled):
    """What was redeemed, over restarts, agrees; an event removed before its seal leaves a decryption too many."""
    for count in (3, 2):
        resolver = journaled.start()
        for _ in range(count):
            assert resolver.edge(journaled.vault.permit()).status == 200
        assert resolver.edge(journaled.vault.permit("premium")).status == 403
        assert resolver.edge("00" * 16).status == 404
        finish(resolver)
    journaled.site.seal()
    kinds = [record.fields["kind"] for record in read_journal(str(journaled.path))]
    assert (kinds.count("start"), kinds.count("stop")) == (2, 2)
    assert sum(record.fields["decrypts"] for record in read_journal(str(journaled.path))) == 7
    assert journaled.findings() == []
    resolver = journaled.start()
    permit = journaled.vault.permit()  # an administrator who mints for themselves, and removes what tells of it
    assert resolver.edge(permit).status == 200
    journaled.vault.one("DELETE FROM shield.audit_events WHERE call = %s", permit.call)
    finish(resolver)
    journaled.site.seal()
    assert [(f.kind, f.sentence.split()[0]) for f in journaled.findings()] == [("decrypts_unaudited", "1")]
    written = journaled.path.read_text() + "".join(resolver.lines)
    assert permit.token not in written
    assert permit not in written
