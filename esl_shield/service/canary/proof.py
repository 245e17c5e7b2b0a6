"""The report of a canary run: what was asked, done and found, and a verdict that is clean only when it is proof.

Invariants: the verdict is ``clean`` only if every call went through, the scanner found the canaries where they were
put, everything was read, each call left a trace in what was searched, and no number stood anywhere; a report holds
tokens, never numbers, and whole numbers only, so that its canonical form is one.
"""

from __future__ import annotations

import datetime as dt
import platform
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import phonenumbers

from esl_shield import __version__
from esl_shield.service.canary.calls import WHY
from esl_shield.service.canary.search import as_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.service.canary.calls import CanaryCall
    from esl_shield.service.canary.observe import Observation
    from esl_shield.service.canary.search import Outcome
    from esl_shield.service.canary.watch import Place

KIND = "esl_shield leakscan --canary"
FORMAT = 1
CLEAN, FOUND, INCOMPLETE, UNPROVEN = "clean", "found", "incomplete", "unproven"
EXIT_CODES = {CLEAN: 0, FOUND: 1, INCOMPLETE: 2, UNPROVEN: 3}


@dataclass(frozen=True)
class Asked:
    """What the run was asked for; names without numbers. ``numbers`` is fiction or own."""

    tenant: str
    agent: str
    switch: str
    numbers: str
    paths: tuple[str, ...]
    wire: tuple[str, ...]
    tenants: tuple[str, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class Reason:
    """Why a run is no proof: ``verdict`` is what it makes of it."""

    verdict: str
    sentence: str
    token: str = ""


def verdict(reasons: Sequence[Reason]) -> str:
    """Return the worst: a number found, a call that did not go through, something not searched."""
    given = {reason.verdict for reason in reasons}
    return next((name for name in (FOUND, UNPROVEN, INCOMPLETE) if name in given), CLEAN)


def reasons(observation: Observation, outcome: Outcome) -> list[Reason]:
    """Return everything that keeps this run from being clean."""
    found = [
        *_found(observation, outcome),
        *(reason for call in observation.calls for reason in _of_call(call, outcome)),
        *(Reason(INCOMPLETE, f"{name} was not searched: {why}") for name, why in outcome.unread),
    ]
    if not observation.calls:
        found.append(Reason(UNPROVEN, "no call was placed"))
    if not outcome.files:
        found.append(Reason(INCOMPLETE, "there was no file to search"))
    if observation.watched and not observation.watched.complete:
        found.append(Reason(INCOMPLETE, "not every event that FreeSWITCH fired was read"))
    return found


def _found(observation: Observation, outcome: Outcome) -> list[Reason]:
    found = [
        Reason(FOUND, f"FreeSWITCH showed a canary's number: {place.name}")
        for place in observation.places.values()
        if place.sightings
    ]
    if outcome.findings:
        found.append(Reason(FOUND, f"numbers stand in {len({f.file for f in outcome.findings})} files"))
    return found


def _of_call(call: CanaryCall, outcome: Outcome) -> list[Reason]:
    found = []
    if not call.went_through:
        found.append(Reason(UNPROVEN, f"the call did not go through: {WHY[call.outcome]}", call.token))
    elif outcome.on_the_wire is not None and call.token not in outcome.on_the_wire:
        found.append(Reason(UNPROVEN, WHY["not_on_the_wire"], call.token))
    if call.token not in outcome.control:
        found.append(Reason(UNPROVEN, "the scanner's login does not find this canary where it was put", call.token))
    if call.went_through and not outcome.traces.get(call.token):
        found.append(
            Reason(INCOMPLETE, "no file searched mentions the call: the paths are not where it left traces", call.token)
        )
    return found


def report(
    observation: Observation, outcome: Outcome, asked: Asked, scan: str, found: Sequence[Reason]
) -> dict[str, Any]:
    """Write the report; ``scan`` is the search's id in the audit trail."""
    watched = observation.watched
    return {
        "kind": KIND,
        "format": FORMAT,
        "run": str(observation.run),
        "scan": scan,
        "asked": {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(asked).items()},
        "host": socket.gethostname(),
        "freeswitch_host": watched.host if watched else None,
        "versions": {
            "esl_shield": __version__, "python": platform.python_version(), "phonenumbers": phonenumbers.__version__,
            "freeswitch": watched.version if watched else None,
        },
        "started_at": _moment(observation.started_at),
        "finished_at": _moment(dt.datetime.now(dt.UTC)),
        "calls": [_call(call, outcome) for call in observation.calls],
        "freeswitch": [_place(place) for place in observation.places.values()] if watched else None,
        "all_events_read": watched.complete if watched else None,
        "telephone": _place(observation.places["phone"]),
        "control_found": len(outcome.control),
        "quiet": outcome.quiet,
        "files": [asdict(file) for file in outcome.files],
        "not_searched": [{"file": name, "why": why} for name, why in outcome.unread],
        "findings": [as_fields(finding) for finding in outcome.findings],
        "reasons": [asdict(reason) for reason in found],
        "verdict": verdict(found),
    }  # fmt: skip


def _call(call: CanaryCall, outcome: Outcome) -> dict[str, Any]:
    record = call.record
    wire = None if outcome.on_the_wire is None else call.token in outcome.on_the_wire
    told = {
        "token": call.token, "outcome": call.outcome, "went_through": call.went_through,
        "sip_status": call.attempt.status,
        "on_the_wire": wire, "files_that_mention_it": outcome.traces.get(call.token, 0), "call": None,
    }  # fmt: skip
    if record is None:
        return told
    return told | {
        "call": str(record.call), "state": record.state, "hangup_cause": record.hangup_cause,
        "gateway": record.gateway, "delivery": record.delivery, "attempts": record.attempts,
        "redeemed": record.redeemed, "started_at": _moment(record.started_at),
        "ringing_at": _moment(record.ringing_at), "answered_at": _moment(record.answered_at),
        "ended_at": _moment(record.ended_at),
    }  # fmt: skip


def _place(place: Place) -> dict[str, Any]:
    return {
        "place": place.name, "looks": place.looks, "sightings": place.sightings, "fields": sorted(place.fields),
        "tokens": sorted(place.tokens),
    }  # fmt: skip


def _moment(value: dt.datetime | None) -> str | None:
    if value is None:
        return None
    return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
