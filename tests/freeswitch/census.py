"""How often a number stands in each place FreeSWITCH writes to or speaks to."""

from __future__ import annotations

import collections
import itertools
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from polling import until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lab import FreeSwitch, Tap
    from sipp import Agent, Carrier

PLACES = (
    "log at debug", "log at info", "XML CDR", "JSON CDR", "CSV CDR", "SQLite CDR", "core database", "show channels",
    "events", "phone", "carrier: INVITEs", "other carriers",
)  # fmt: skip
_markers = itertools.count(1)


class Census:
    """Counts the digits of a number, without ``+``, as they stand."""

    def __init__(self, switch: FreeSwitch, tap: Tap) -> None:
        self._switch, self._tap = switch, tap

    def settle(self) -> None:
        """Wait until the calls are over and all that was logged and fired about them has been written."""
        self._switch.quiet()
        marker = f"census-{next(_markers)}"
        self._switch.esl.api(f"log info {marker}")
        for log in (self._switch.debug_log, self._switch.info_log):
            until(lambda: marker.encode() in log.read_bytes()[-65536:], "the log is written")  # noqa: B023
        until(lambda: any(marker.encode() in event for event in self._tap.events[-50:]), "the events are fired")

    def look(self) -> dict[str, bytes]:
        """What ``show`` and the core database's files hold while a call is up."""
        esl = self._switch.esl
        shown = esl.api("show channels as xml") + esl.api("show calls") + esl.api("show detailed_calls")
        return {"show channels": shown.encode(), "core database": b"".join(map(_read, self._core_database()))}

    def _core_database(self) -> list[Path]:
        return [path for path in self._switch.db.iterdir() if not path.name.startswith("cdr.db")]

    def count(
        self, number: str, *, agent: Agent, carrier: Carrier, others: list[Carrier], while_up: dict[str, bytes]
    ) -> dict[str, int]:
        """Occurrences by place; ``while_up`` is what ``look`` saw during the call."""
        digits = number.lstrip("+").encode()
        switch = self._switch
        places = {
            "log at debug": [switch.debug_log],
            "log at info": [switch.info_log],
            "XML CDR": (switch.log / "xml_cdr").rglob("*"),
            "JSON CDR": (switch.log / "json_cdr").rglob("*"),
            "CSV CDR": (switch.log / "cdr-csv").rglob("*"),
            "SQLite CDR": switch.db.glob("cdr.db*"),
            "core database": self._core_database(),
        }
        found = {place: _in_files(digits, paths) for place, paths in places.items()}
        for place, seen in while_up.items():
            found[place] = found.get(place, 0) + seen.count(digits)
        found["events"] = sum(event.count(digits) for event in self.events(number))
        found["phone"] = sum(m.text.encode().count(digits) for m in agent.messages if m.received)
        found["carrier: INVITEs"] = sum(digits in m.text.encode() for m in carrier.invites)
        found["other carriers"] = sum(digits in m.text.encode() for other in others for m in other.messages)
        return found

    def events(self, number: str) -> list[bytes]:
        """The events that hold the number."""
        digits = number.lstrip("+").encode()
        return [event for event in self._tap.events if digits in event]

    def headers(self, number: str) -> collections.Counter[str]:
        """Headers of events that hold the number, with the direction of the leg."""
        digits = number.lstrip("+").encode()
        found: collections.Counter[str] = collections.Counter()
        for event in self.events(number):
            leg = re.search(rb"\nCall-Direction: (\w+)", event)
            for line in event.split(b"\n"):
                name, _, value = line.partition(b": ")
                if digits in unquote_to_bytes(value):
                    found[f"{leg[1].decode() if leg else 'no leg'} {name.decode(errors='replace')}"] += 1
        return found


def _in_files(digits: bytes, paths: Iterable[Path]) -> int:
    return sum(_read(path).count(digits) for path in paths)


def _read(path: Path) -> bytes:
    """A file's bytes; none for a folder or a file that is gone by now."""
    try:
        return path.read_bytes()
    except (IsADirectoryError, FileNotFoundError):
        return b""


def table(rows: dict[str, dict[str, int]]) -> str:
    """The counts as a Markdown table, a line for each place."""
    lines = ["| where | " + " | ".join(rows) + " |", "| --- |" + " --- |" * len(rows)]
    lines += [f"| {place} | " + " | ".join(str(row[place]) for row in rows.values()) + " |" for place in PLACES]
    return "\n".join(lines)
