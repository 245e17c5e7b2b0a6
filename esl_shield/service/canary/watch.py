"""What FreeSWITCH knows of a canary call while it is up, and the events it fires: all that its event socket shows.

Invariants: only commands that change nothing are asked; what was shown is searched and dropped, kept are places, names
of fields and counts; a field's name is told without its digits.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esl_shield.errors.freeswitch import FreeSwitchAway
from esl_shield.esl.inbound import InboundSocket

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from esl_shield.config.calls import FreeSwitchConfig
    from esl_shield.service.canary.needles import Needles

PHONE, CHANNELS, AGENTS_LEG, CARRIERS_LEG, EVENTS = "phone", "show channels", "agent's leg", "carrier's leg", "events"
_MOST_EVENT_BYTES = 64 * 1024 * 1024
_EVENTS_S = 10.0
_GONE_S = 10.0
_POLL_S = 0.1
_MOST_FIELDS = 12
_UUID = re.compile(r"[0-9a-f-]{36}")
_DIGITS = re.compile(r"[0-9]{5,}")


@dataclass
class Place:
    """One place of FreeSWITCH: how often it was looked at, and where canaries' numbers stood there."""

    name: str
    looks: int = 0
    sightings: int = 0
    fields: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)

    def sees(self, tokens: Iterable[str], name: str) -> None:
        """Note that numbers of these tokens stood in a field."""
        found = set(tokens)
        self.sightings += len(found)
        self.tokens |= found
        if found and len(self.fields) < _MOST_FIELDS:
            self.fields.add(_DIGITS.sub("*", name)[:80])


class Watch:
    """Two connections to the event socket: one listens, one asks. Use it as a context."""

    def __init__(self, config: FreeSwitchConfig, password: str, needles: Needles) -> None:
        """Raise FreeSwitchAway, FreeSwitchRefused."""
        self.places = {name: Place(name) for name in (CHANNELS, AGENTS_LEG, CARRIERS_LEG, EVENTS)}
        self.legs: set[str] = set()
        self.complete = True
        self._needles = needles
        with contextlib.ExitStack() as opened:
            self._asking = opened.enter_context(InboundSocket(config.address, password, timeout_s=config.timeout_s))
            self._listening = opened.enter_context(InboundSocket(config.address, password, timeout_s=config.timeout_s))
            self._listening.listen()
            self.version = self._asking.api("version short").body.strip()[:32]
            self.host = self._asking.api("global_getvar hostname").body.strip()[:64]
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    def look(self, token: str) -> None:
        """Look at what there is of the call that dialled ``token``, now."""
        rows = self._channels()
        own = [row for row in rows if row.get("dest") == token]
        calls = {row.get("call_uuid") or row.get("uuid") for row in own} | {row.get("uuid") for row in own}
        own += [row for row in rows if row not in own and (row.get("call_uuid") in calls or row.get("uuid") in calls)]
        place = self.places[CHANNELS]
        place.looks += bool(own)
        for row in own:
            self._fields(place, "", row.items())
            self._leg(str(row.get("uuid", "")), CARRIERS_LEG if row.get("direction") == "outbound" else AGENTS_LEG)

    def settle(self) -> None:
        """Wait until the legs seen are gone, then read the events up to now and search them.

        Called after each call: FreeSWITCH drops the events of a listener that does not read.
        """
        end = time.monotonic() + _GONE_S
        while time.monotonic() < end and any(self._api(f"uuid_exists {leg}") == "true" for leg in self.legs):
            time.sleep(_POLL_S)
        marker = f"esl_shield-{secrets.token_hex(8)}"
        self._api(f"echo {marker}")  # every command is an event itself: behind it stands nothing of the calls
        self.complete = self._read_to(marker.encode()) and self.complete

    def _read_to(self, marker: bytes) -> bool:
        read, end = 0, time.monotonic() + _EVENTS_S
        try:
            while read < _MOST_EVENT_BYTES:
                event = self._listening.next_event(max(end - time.monotonic(), 0.001))
                read += len(event)
                self._event(event)
                if marker in event:
                    return True
        except FreeSwitchAway:  # `complete` says it: what the calls were like is still to be told
            return False
        return False

    def _event(self, event: bytes) -> None:
        place = self.places[EVENTS]
        place.looks += 1
        tokens = {token for token, _, _ in self._needles.in_bytes(event)}
        if not tokens:
            return
        try:
            parsed = json.loads(event)
        except ValueError:
            parsed = {}
        name, before = f"{parsed.get('Event-Name', 'an event')}: ", place.sightings
        self._fields(place, name, parsed.items())
        if place.sightings == before:  # across fields, or in what is no JSON
            place.sees(tokens, f"{name}somewhere")

    def _leg(self, uuid: str, name: str) -> None:
        if not _UUID.fullmatch(uuid):
            return
        place = self.places[name]
        text = self._api(f"uuid_dump {uuid}")
        if text.startswith("-ERR"):  # it ended meanwhile
            return
        self.legs.add(uuid)
        place.looks += 1
        self._fields(place, "", (line.split(": ", 1) for line in text.splitlines() if ": " in line))

    def _fields(self, place: Place, prefix: str, pairs: Iterable[Any]) -> None:
        for name, value in pairs:
            tokens = {token for token, _, _ in self._needles.in_bytes(f"{name}\n{value}".encode())}
            if tokens:
                place.sees(tokens, f"{prefix}{name}")

    def _channels(self) -> list[dict[str, Any]]:
        text = self._api("show channels as json")
        try:
            rows = json.loads(text).get("rows", [])
        except ValueError:
            rows = None
        if rows is None:
            raise FreeSwitchAway(address="its event socket", problem="its list of channels is no JSON")
        return list(rows)

    def _api(self, command: str) -> str:
        return self._asking.api(command).body
