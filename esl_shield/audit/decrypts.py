"""What resolvers say they decrypted against what the audit trail says was redeemed (docs/adr/0019).

Invariants: per login, each ciphertext a resolver received is matched with one event of redemption no further than
TOLERANCE_S away, the earliest first, which leaves nothing unmatched that any matching could match. A decryption without
an event is a finding. An event without a decryption is one too, but for answers a resolver did not get and for the last
moments of a run that was killed; both stand in the journal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.audit.events import decode, moment
from esl_shield.audit.findings import Finding
from esl_shield.audit.journal import DECRYPTS, UNANSWERED, WITHHELD, Record, read_journal, signed_message
from esl_shield.audit.signing import signed_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esl_shield.audit.findings import Report
    from esl_shield.audit.signing import PublicKey

TOLERANCE_S = 5  # clocks within a second or two, an answer within 2.3 s
SIGNATURES_EVERY = 64
_SECOND_US = 1_000_000
_REDEEMED, _DISCLOSED = b"\tpermit.redeemed\t", b"\treveal.disclosed\t"


class Crash(NamedTuple):
    """Between these seconds a run was killed and counts may be missing."""

    since: int
    until: int


@dataclass
class _Login:
    """What the journals say of one database login, by second."""

    received: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    unanswered: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    crashes: list[Crash] = field(default_factory=list)
    first: int = 2**62  # from this second to this one a journal is there
    last: int = 0


class Redemptions:
    """Counts events of redemption while a verification passes them, then compares."""

    def __init__(self, journals: Iterable[str], keys: Mapping[str, PublicKey], report: Report) -> None:
        """Read the journals' files, the older of one journal first; raises EvidenceUnreadable."""
        self._keys = keys
        self._report = report
        self._logins: dict[str, _Login] = defaultdict(_Login)
        self._events: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        last: dict[str, Record] = {}
        for path in journals:
            for record in read_journal(path):
                name = record.fields["name"]
                if name in last and record.hash == last[name].hash:
                    continue  # written twice: the first time, nobody knew whether it was
                self._check(record, last.get(name))
                self._take_record(record, last.get(name))
                last[name] = record
        for record in last.values():
            self._check_signature(record)

    def take(self, lines: Sequence[bytes]) -> None:
        """Count the redemptions among events."""
        for line in lines:
            if _REDEEMED in line or _DISCLOSED in line:
                fields = decode(line)
                if fields["kind"] == "permit.redeemed" or '"of": "number"' in (fields["detail"] or ""):
                    self._events[fields["login"] or ""][int(fields["at_us"] or 0) // _SECOND_US] += 1

    def compare(self, since: int, until: int) -> None:
        """Find differences between two seconds."""
        for name, login in sorted(self._logins.items()):
            self._compare_login(name, login, since, until)

    def _compare_login(self, name: str, login: _Login, since: int, until: int) -> None:
        events, received = dict(self._events.get(name, {})), dict(login.received)
        _match(received, events, TOLERANCE_S)
        for second, count in sorted(received.items()):
            if count and since <= second <= until:
                what = f"{count} numbers were decrypted as {name} at {_at(second)} and no event says so"
                self._report.find(Finding("decrypts_unaudited", what, at=_at(second)))
        unanswered = dict(login.unanswered)
        _match(unanswered, events, TOLERANCE_S)
        first, last = login.first + TOLERANCE_S, login.last - TOLERANCE_S
        for second, count in sorted(events.items()):
            crashed = any(c.since - TOLERANCE_S <= second <= c.until + TOLERANCE_S for c in login.crashes)
            if count and max(first, since) <= second <= min(last, until) and not crashed:
                what = f"{count} permits were redeemed as {name} at {_at(second)} and no resolver of its journal did it"
                self._report.find(Finding("redeemed_elsewhere", what, at=_at(second)))

    def _take_record(self, record: Record, before: Record | None) -> None:
        f = record.fields
        login = self._logins[f["login"]]
        login.received[f["to"]] += f[DECRYPTS] + f[WITHHELD]
        login.unanswered[f["to"]] += f[UNANSWERED]
        login.first, login.last = min(login.first, f["from"]), max(login.last, f["to"])
        if f["kind"] == "start" and before is not None and before.fields["kind"] != "stop":
            self._logins[before.fields["login"]].crashes.append(Crash(before.fields["to"], f["to"]))

    def _check(self, record: Record, before: Record | None) -> None:
        f = record.fields
        if before is None or f["kind"] == "start" or f["seq"] % SIGNATURES_EVERY == 0:
            self._check_signature(record)
        if before is not None and f["previous"] != before.hash:
            what = f"the journal of {f['name']} is broken between its records {before.fields['seq']} and {f['seq']}"
            self._report.find(Finding("journal_broken", what, at=_at(f["from"])))

    def _check_signature(self, record: Record) -> None:
        f = record.fields
        if not signed_by(self._keys, f["key"], signed_message(record.text), record.signature):
            what = f"record {f['seq']} of the journal of {f['name']} is not signed by a key that is trusted"
            self._report.find(Finding("journal_broken", what, at=_at(f["to"])))


def _match(wanting: dict[int, int], offered: dict[int, int], tolerance_s: int) -> None:
    """Take from both what belongs together, the earliest first; what is left has no partner."""
    seconds = sorted(offered)
    start = 0
    for second in sorted(wanting):
        while start < len(seconds) and (seconds[start] < second - tolerance_s or not offered[seconds[start]]):
            start += 1
        for at in seconds[start:]:
            if at > second + tolerance_s or not wanting[second]:
                break
            taken = min(wanting[second], offered[at])
            wanting[second] -= taken
            offered[at] -= taken


def _at(second: int) -> str:
    return moment(second * _SECOND_US)
