"""How fast leakscan searches text without hits, beside grep on the same bytes; and what it finds where nothing is.

    python benchmarks/leakscan_speed.py FILE...     # logs, CDRs, dumps; without files it makes 32 MB of each kind

Prints medians of several rounds, searches and greps in turn: MB/s by the clock, MB per second of processor time (which
is what holds on a machine with other work), how many times faster grep is, and, for 100,000 invented Chinese mobile
numbers, how many the text is said to hold. No database: what is measured is the search, the numbering plan and the blind index.
"""

from __future__ import annotations

import base64
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from esl_shield.audit.leakscan.scan import Scan
from esl_shield.vault import keyring
from esl_shield.vault.keys import Key
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.plan import Plan, Shape

MADE_BYTES = 32_000_000
VAULT = 100_000
ROUNDS = 5
GREPPED = "[0-9]{11}"
_random = random.Random(7)


class Found:
    """A suspect that is known to be in the vault."""

    answered = True
    tenant, token = "t", "t"


class Vault:
    """The vault's numbers by their blind index, in memory."""

    def __init__(self) -> None:
        self._indexed = keyring.indexer(Key.new(), 1)
        self._plan = Plan("CN", {"CN"})
        self.shape, self.least = Shape(self._plan.patterns), self._plan.least
        numbers = (f"861{_random.choice('3589')}{_random.randrange(10**9):09d}" for _ in range(VAULT))
        self._indexes = {self._index(number) for number in numbers if self._plan.read(number.encode())}
        self._known: dict[bytes, list[Found]] = {}

    def read(self, digits: bytes) -> list[Found]:
        """Return a finding for each number of the vault."""
        if digits not in self._known:
            numbers = self._plan.read(digits)
            self._known[digits] = [_of(Found()) for number in numbers if self._index(number) in self._indexes]
        return self._known[digits]

    def ask(self, suspects: object) -> None:
        """Everything is answered."""

    def _index(self, number: str) -> bytes:
        return self._indexed(SubscriberNumber("+" + number))


def _of(found: Found) -> Found:
    found.token = found  # type: ignore[assignment]
    return found


def _id() -> str:
    return str(uuid.UUID(int=_random.getrandbits(128)))


def _log(at_us: int) -> str:
    stamp = f"2026-11-22 {at_us // 3600000000 % 24:02d}:{at_us // 60000000 % 60:02d}:{at_us // 1000000 % 60:02d}.{at_us % 1000000:06d}"
    call, port = _id(), _random.randrange(1024, 65535)
    return _random.choice((
        f"{call} {stamp} 98.03% [DEBUG] switch_core_state_machine.c:581 (sofia/internal/1001@192.168.7.{port % 255}) Running State Change CS_EXECUTE (Cur 3 Tot {port})",
        f"{call} {stamp} 99.10% [NOTICE] switch_channel.c:1123 New Channel sofia/external/77{_random.randrange(10**12):012d} [{call}]",
        f"{call} EXECUTE [depth=0] sofia/internal/1001@bank.example set(sip_h_X-Call={call})",
        f"o=FreeSWITCH {1790000000 + at_us // 10**6} {1790000001 + at_us // 10**6} IN IP4 192.0.2.9\na=ssrc:{_random.getrandbits(32)} cname:{base64.b64encode(_random.randbytes(12)).decode()}",
        f"Via: SIP/2.0/UDP 198.51.100.7:{port};branch=z9hG4bK-{_random.randrange(10**6)}-{_random.getrandbits(64):x}-1\nCSeq: {_random.randrange(2**31)} INVITE",
    ))  # fmt: skip


def _xml(at_us: int) -> str:
    start = 1790000000000000 + at_us
    return f'<cdr core-uuid="{_id()}"><uuid>{_id()}</uuid><sip_network_port>{_random.randrange(65535)}</sip_network_port><start_epoch>{start // 10**6}</start_epoch><start_uepoch>{start}</start_uepoch><token>77{_random.randrange(10**12):012d}</token><rtp_audio_in_raw_bytes>{_random.randrange(10**7)}</rtp_audio_in_raw_bytes><start_stamp>2026-11-22%2010%3A{at_us % 60:02d}%3A07</start_stamp></cdr>'


def _json(at_us: int) -> str:
    start = 1790000000000000 + at_us
    return json.dumps(
        {
            "uuid": _id(),
            "start_uepoch": str(start),
            "tag": _random.randbytes(8).hex(),
            "token": f"77{_random.randrange(10**12):012d}",
        },
        indent=1,
    )


def _dump(at_us: int) -> str:
    return f"1\t77{_random.randrange(10**12):012d}\t\\\\x{_random.randbytes(62).hex()}\t1\tactive\tCN\t2026-11-22 01:02:03.{at_us % 10**6:06d}+00"


def _base64(at_us: int) -> str:
    del at_us
    return base64.b64encode(_random.randbytes(57)).decode()


KINDS = {"FreeSWITCH log": _log, "XML CDR": _xml, "JSON CDR": _json, "pg_dump": _dump, "base64": _base64}


def _make(folder: Path) -> list[Path]:
    made = []
    for name, line in KINDS.items():
        path, size, at_us = folder / name, 0, 0
        with path.open("w") as file:
            while size < MADE_BYTES:
                at_us += _random.randrange(100_000)
                size += file.write(line(at_us) + "\n")
        made.append(path)
    return made


class Round(NamedTuple):
    """MB/s by the clock, MB per second of processor time, and what was found."""

    wall: float
    processor: float
    found: int


def _search(path: Path, vault: Vault) -> Round:
    found: list[object] = []
    clock, before = time.perf_counter(), time.process_time()
    scan = Scan(vault, found.append, lambda name, why: sys.exit(f"{name}: {why}"))
    scan.path(path)
    size = scan.totals.bytes / 1e6
    return Round(size / (time.perf_counter() - clock), size / (time.process_time() - before), len(found))


def _grep(path: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["grep", "-acE", GREPPED, path], stdout=subprocess.PIPE, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return path.stat().st_size / 1e6 / max(used, 1e-3)


def main() -> None:
    """Print one line for each file."""
    vault = Vault()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(name) for name in sys.argv[1:]] or _make(Path(folder))
        print(f"{'text':20} {'wall MB/s':>10} {'MB/CPU s':>10} {'grep MB/CPU s':>14} {'ratio':>6} {'findings/GB':>12}")
        for path in paths:
            rounds, greps = zip(*((_search(path, vault), _grep(path)) for _ in range(ROUNDS)), strict=True)
            wall, processor, grep = (
                statistics.median(values)
                for values in ([one.wall for one in rounds], [one.processor for one in rounds], greps)
            )
            per_gb = rounds[0].found / path.stat().st_size * 1e9
            print(f"{path.name:20} {wall:10.0f} {processor:10.0f} {grep:14.0f} {grep / processor:6.1f} {per_gb:12.1f}")


if __name__ == "__main__":
    main()
