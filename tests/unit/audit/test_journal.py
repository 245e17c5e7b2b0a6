"""The journal of decryptions, and its comparison with events of redemption."""

from __future__ import annotations

import pytest

from esl_shield.audit.decrypts import Redemptions
from esl_shield.audit.findings import Report
from esl_shield.audit.journal import DECRYPTS, UNANSWERED, WITHHELD, Journal, read_journal
from esl_shield.audit.signing import Signer
from esl_shield.errors.sealing import EvidenceUnreadable

SIGNER = Signer(b"k" * 32)
START = 1_800_000_000


class Bench:
    """A journal with a clock of its own, and the events of the same seconds."""

    def __init__(self, folder):
        self.path = folder / "journal.ndjson"
        self.now = float(START)
        self.lines = []
        self.run()

    def run(self):
        self.journal = Journal(str(self.path), SIGNER, name="r1", login="resolver", clock=lambda: self.now)
        self.journal.begin()

    def decrypt(self, count=1, *, what=DECRYPTS, event=True, login="resolver", after_s=0.0):
        for _ in range(count):
            if event:
                at = int((self.now - after_s) * 1e6)
                line = f"{len(self.lines)}\t9\t{at}\t1\tpermit.redeemed\t{login}\t1001\t91\t\\N\t{{}}"
                self.lines.append(line.encode())
            if what:
                self.journal.count(what)

    def pass_time(self, seconds=1):
        for _ in range(seconds):
            self.now += 1
            if self.journal.collect():
                self.journal.write()

    def end(self):
        self.journal.collect(all_=True)
        self.journal.write()

    def findings(self, *paths):
        report = Report()
        compared = Redemptions([str(p) for p in paths or (self.path,)], {SIGNER.public.id: SIGNER.public}, report)
        compared.take(self.lines)
        compared.compare(0, START * 2)
        return [(f.kind, f.sentence.split()[0]) for f in report.findings]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.pass_time(20)
    return bench


def test_what_agrees_is_no_finding(bench):
    """Busy and idle seconds, withheld ciphertexts and slow answers agree with their events."""
    for second in range(100):
        bench.decrypt(second % 7, after_s=second % 3)
        bench.decrypt(second % 2, what=WITHHELD)
        bench.pass_time()
    bench.pass_time(70)
    bench.end()
    assert bench.findings() == []
    assert all(record.fields["to"] >= record.fields["from"] - 1 for record in read_journal(str(bench.path)))


def test_a_decryption_without_an_event_is_found(bench):
    """An event that was removed before its seal, or never written, leaves a number decrypted by nobody."""
    bench.decrypt(5)
    bench.pass_time(10)
    bench.decrypt(2, event=False)
    bench.pass_time(10)
    bench.decrypt(5)
    bench.pass_time(20)
    bench.end()
    assert bench.findings() == [("decrypts_unaudited", "2")]


def test_a_redemption_no_resolver_made_is_found(bench):
    """Whoever redeems with the resolver's login elsewhere leaves an event no journal knows."""
    bench.decrypt(5)
    bench.pass_time(10)
    bench.decrypt(3, what=None)
    bench.pass_time(20)
    bench.end()
    assert bench.findings() == [("redeemed_elsewhere", "3")]


def test_answers_that_did_not_come_are_no_finding(bench):
    """A redemption whose answer was lost may have its event or not."""
    bench.decrypt(2, what=UNANSWERED)
    bench.decrypt(1, what=UNANSWERED, event=False)
    bench.pass_time(20)
    bench.end()
    assert bench.findings() == []


def test_a_crash_excuses_its_last_moments_only(bench):
    """What a killed resolver had redeemed and not written is no finding; the same an hour later is."""
    bench.decrypt(4)
    bench.pass_time(2)
    bench.decrypt(2)  # counted and lost
    bench.now += 3
    bench.run()
    bench.pass_time(100)
    assert bench.findings() == []
    bench.decrypt(2, what=None)
    bench.pass_time(100)
    bench.end()
    assert bench.findings() == [("redeemed_elsewhere", "2")]


def test_a_disk_that_is_full_loses_no_count(bench):
    """Records that could not be written are written later, and agree."""
    folder = bench.path.parent.with_suffix(".away")
    bench.path.parent.rename(folder)
    for _ in range(3):
        bench.decrypt(1)
        bench.now += 1
        bench.journal.collect()
        with pytest.raises(OSError):
            bench.journal.write()
    assert len(bench.journal._pending) == 3
    folder.rename(bench.path.parent)
    bench.pass_time(20)
    bench.end()
    assert bench.findings() == []


@pytest.mark.parametrize("tamper", ["drop", "edit", "sign"])
def test_a_changed_journal_is_found(bench, tamper):
    """A record that is gone, edited or of another key breaks the journal."""
    for _ in range(5):
        bench.decrypt(2)
        bench.pass_time()
    bench.end()
    lines = bench.path.read_bytes().splitlines(keepends=True)
    if tamper == "drop":
        del lines[3]
    elif tamper == "edit":
        lines[3] = lines[3].replace(b'\\"decrypts\\":2', b'\\"decrypts\\":1')
    else:
        other = Journal(str(bench.path) + ".2", Signer(b"x" * 32), name="r1", login="resolver", clock=lambda: bench.now)
        other.begin()
        lines = (bench.path.parent / "journal.ndjson.2").read_bytes().splitlines(keepends=True)
    bench.path.write_bytes(b"".join(lines))
    assert ("journal_broken") in {kind for kind, _ in bench.findings()}


def test_a_torn_line_is_passed_over(bench):
    """A line a crash cut off is followed by a new one; at the end of a file it is an error."""
    bench.decrypt(1)
    bench.pass_time(20)
    with bench.path.open("ab") as stream:
        stream.write(b'{"record": "{')
    with pytest.raises(EvidenceUnreadable):
        list(read_journal(str(bench.path)))
    bench.run()
    bench.pass_time(20)
    bench.end()
    assert bench.findings() == []


def test_rotated_files_are_one_journal(bench):
    """Files moved away by the site, given in their order, are read as one chain."""
    bench.decrypt(3)
    bench.pass_time(20)
    old = bench.path.with_name("journal.1")
    bench.path.rename(old)
    bench.decrypt(3)
    bench.pass_time(20)
    bench.end()
    assert bench.findings(old, bench.path) == []
    assert ("journal_broken", "the") in bench.findings(bench.path, old)
