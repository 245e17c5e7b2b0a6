"""Area ``call``: a test call through the edge, and whether FreeSWITCH knows the number while it is up and afterwards.

Opt-in: it places a call to a number of nobody, as the agent in [canary].
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esl_shield.errors.config import ConfigError
from esl_shield.service.canary import watch
from esl_shield.service.canary.calls import WHY, CanaryCall
from esl_shield.service.canary.observe import Observation, observe
from esl_shield.service.doctor.finding import Area, Check, NotAskedError, Problem, Severity
from esl_shield.service.hardening import harden
from esl_shield.vault.keks import open_keks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from esl_shield.config import Config
    from esl_shield.service.doctor.switch import SwitchFacts

_CDRS = ("xml_cdr", "json_cdr")
_CDR_S = 3.0
_POLL_S = 0.1
_NOT_PLACED = "the test call did not go through"


@dataclass(frozen=True)
class CallFacts:
    """The call, what was seen of it, and its CDR files: None where FreeSWITCH's are not on this machine."""

    call: CanaryCall
    seen: Observation
    cdrs: watch.Place | None

    @property
    def is_direct(self) -> bool:
        """Whether FreeSWITCH itself was given the number."""
        return self.call.record is not None and self.call.record.delivery == "direct"


def place_test_call(config: Config, switch: SwitchFacts | None, own: Iterable[str] | None) -> CallFacts:
    """Place one call and watch; raises what ``observe`` raises."""
    if config.keys is None:
        raise ConfigError(source="file", problem="it has no [keys] kek, which a test call needs")
    harden()
    seen = observe(config, open_keks(config.keys), 1, own)
    cdrs = _cdrs(seen, switch) if switch and switch.written is not None and seen.watched else None
    return CallFacts(seen.calls[0], seen, cdrs)


def _cdrs(seen: Observation, switch: SwitchFacts) -> watch.Place | None:
    """Search the call's CDR files, once one is there; None where there is none to be read."""
    place = watch.Place("CDR files")
    logs = Path(switch.variables.get("log_dir", "/nonexistent"))
    folders = [
        Path((switch.settings(f"{name}.conf") or {}).get(key) or logs / name)
        for name in _CDRS
        for key in ("log-dir", "err-log-dir")  # the second has what could not be posted
        if f"mod_{name}" in switch.modules
    ]
    legs = seen.watched.legs if seen.watched else frozenset()
    end = time.monotonic() + _CDR_S
    while not (files := [path for folder in folders for path in _of_legs(folder, legs)]) and time.monotonic() < end:
        time.sleep(_POLL_S)
    for path in files:
        try:
            data = path.read_bytes()
        except OSError:  # not this user's to read: `_cdr_files` says that none could be
            return None
        place.looks += 1
        place.sees({token for token, _, _ in seen.needles.in_bytes(data)}, path.parent.name)
    return place if files else None


def _of_legs(folder: Path, legs: Iterable[str]) -> Iterator[Path]:
    for leg in legs:
        yield from folder.rglob(f"*{leg}*")


def _went_through(facts: CallFacts) -> Iterator[str]:
    if not facts.call.went_through:
        said = f" (SIP {facts.call.attempt.status})" if facts.call.attempt.status else ""
        yield f"{_NOT_PLACED}: {WHY[facts.call.outcome]}{said}"


def _nowhere_in(name: str, *, unavoidable: bool = False) -> Callable[[CallFacts], Iterator[Problem]]:
    """Judge one place; ``unavoidable``: with direct delivery the number is there, which is no defect of the site."""

    def judge(facts: CallFacts) -> Iterator[Problem]:
        place = facts.seen.places.get(name)
        if place is None:
            message = "this configuration has no [freeswitch]"
            raise NotAskedError(message, Severity.INFO)
        yield from _seen(facts, place, unavoidable=unavoidable)

    return judge


def _seen(facts: CallFacts, place: watch.Place, *, unavoidable: bool) -> Iterator[Problem]:
    if place.sightings:
        known = facts.is_direct and unavoidable
        where = ", ".join(sorted(place.fields)) or "no field of a name"
        yield Problem(
            f"the number of the test call stood in {place.name}: {where}",
            "Deliver over an edge: with direct delivery the carrier's leg holds the number." if known else "",
            Severity.WARNING if known else None,
        )
    elif not facts.call.went_through:
        raise NotAskedError(_NOT_PLACED)
    elif not place.looks:
        message = "the call was over before it could be looked at; let a carrier ring or answer the number"
        raise NotAskedError(message)


def _events(facts: CallFacts) -> Iterator[Problem]:
    yield from _nowhere_in(watch.EVENTS, unavoidable=True)(facts)
    if facts.seen.watched and not facts.seen.watched.complete:
        message = "not every event that FreeSWITCH fired was read"
        raise NotAskedError(message)


def _cdr_files(facts: CallFacts) -> Iterator[Problem]:
    if facts.cdrs is None:
        message = "there is no XML or JSON CDR of it to be read here; leakscan --canary searches them where they are"
        raise NotAskedError(message, Severity.INFO)
    yield from _seen(facts, facts.cdrs, unavoidable=False)


_C = Severity.CRITICAL
_EDGE = "Look how edge/kamailio.cfg there differs from the shipped one; run edge and gateway as edge/README.md says."
AREA = Area[CallFacts](
    "call",
    "the whole way of a call: telephone, FreeSWITCH, worker, resolver, edge, carrier; only with `--test-call`",
    (
        Check("call.went_through", _C, "A test call reaches a carrier",
              "What did not happen proves nothing.",
              "Follow the call: call list, audit tail, the worker's and the edge's log.", _went_through),
        Check("call.phone", _C, "The agent's telephone is told no number",
              "What its display may show, the agent reads.", _EDGE, _nowhere_in(watch.PHONE)),
        Check("call.channels", _C, "`show channels` holds no number", "Every login of the event socket may ask it.",
              _EDGE, _nowhere_in(watch.CHANNELS)),
        Check("call.agents_leg", _C, "The agent's leg holds no number",
              "Its variables go into CDRs, events and to the worker.", _EDGE, _nowhere_in(watch.AGENTS_LEG)),
        Check("call.carriers_leg", _C, "The carrier's leg holds no number",
              "Its variables are in events and `uuid_dump`.", _EDGE,
              _nowhere_in(watch.CARRIERS_LEG, unavoidable=True)),
        Check("call.events", _C, "No event holds the number", "Every listener of the event socket gets them.", _EDGE,
              _events),
        Check("call.cdrs", _C, "The XML and JSON CDRs of the call hold no number", "They are kept, copied and posted.",
              "Write leg a only (log-b-leg=false), and deliver over an edge.", _cdr_files),
    ),
)  # fmt: skip
