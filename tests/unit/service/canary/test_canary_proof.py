"""The verdict: clean takes evidence for every step, and each thing that is missing makes it something else."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid

import pytest

from esl_shield import canonical
from esl_shield.audit import known
from esl_shield.audit.leakscan.scan import Finding
from esl_shield.service.canary import proof, watch
from esl_shield.service.canary.calls import CanaryCall, Record, judge
from esl_shield.service.canary.needles import Needles
from esl_shield.service.canary.observe import Observation, Watched
from esl_shield.service.canary.phone import Attempt
from esl_shield.service.canary.search import Outcome, Searched

TOKEN, NUMBER = "71234567890123", "+442079460123"
NOW = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
RECORD = Record(
    uuid.UUID(int=7), TOKEN, "COMPLETED", "NORMAL_CLEARING", 200, "edge", "edge", 1, NOW, NOW, NOW, NOW, True
)


def _call(outcome="answered", token=TOKEN):
    return CanaryCall(token, Attempt(token, status=200, answered=True), RECORD, outcome)


def _seen(*calls, complete=True, **sightings):
    places = {name: watch.Place(name, 1, sightings.get(name, 0)) for name in ("phone", "events")}
    watched = Watched("1.11.1", "switch", frozenset(), complete)
    return Observation(uuid.UUID(int=1), NOW, Needles({TOKEN: NUMBER}), calls or (_call(),), places, watched)


def _outcome(**changes):
    clean = Outcome(
        [Searched("/log", 9, "ab", False)],
        traces={TOKEN: 1},
        control=frozenset({TOKEN}),
        on_the_wire=frozenset({TOKEN}),
    )
    return dataclasses.replace(clean, **changes)


FINDING = Finding("/log", 3, 9, None, "plain", "t", TOKEN)
VERDICTS = {
    "all is well": (_seen(), _outcome(), "clean"),
    "no capture was given": (_seen(), _outcome(on_the_wire=None), "clean"),
    "files did not rest": (_seen(), _outcome(quiet=False), "clean"),
    "a finding": (_seen(), _outcome(findings=[FINDING]), "found"),
    "an event": (_seen(events=1), _outcome(), "found"),
    "a finding and a call that failed": (_seen(_call("no_record")), _outcome(findings=[FINDING]), "found"),
    "no call": (dataclasses.replace(_seen(), calls=()), _outcome(), "unproven"),
    "one of two calls failed": (
        _seen(_call(), _call("not_redeemed", "7999")),
        _outcome(control=frozenset({TOKEN, "7999"}), traces={TOKEN: 1, "7999": 1}),
        "unproven",
    ),
    "not on the wire": (_seen(), _outcome(on_the_wire=frozenset()), "unproven"),
    "scanner blind": (_seen(), _outcome(control=frozenset()), "unproven"),
    "no trace": (_seen(), _outcome(traces={}), "incomplete"),
    "no file": (_seen(), _outcome(files=[]), "incomplete"),
    "unread": (_seen(), _outcome(unread=[("/x", "it is closed")]), "incomplete"),
    "events missed": (_seen(complete=False), _outcome(), "incomplete"),
    "unread and failed": (_seen(_call("not_carried")), _outcome(unread=[("/x", "it is closed")]), "unproven"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_only_evidence_for_everything_is_clean(name):
    """A verdict for each thing that may be missing, the worst first; the report says why, and can be signed."""
    seen, outcome, expected = VERDICTS[name]
    found = proof.reasons(seen, outcome)
    assert proof.verdict(found) == expected
    asked = proof.Asked("t", "1099", "192.0.2.1:5060", "fiction", ("/log",), (), (), ())
    report = proof.report(seen, outcome, asked, "scan", found)
    assert report["verdict"] == expected
    assert bool(report["reasons"]) == (expected != "clean")
    text = canonical.write(report)
    assert json.loads(text) == report
    assert not known.scan_bytes(text, known.encodings(NUMBER))
    assert not known.scan_bytes(repr(seen).encode(), known.encodings(NUMBER))


OUTCOMES = {
    "answered": (200, {}, "answered"),
    "rang": (480, {"state": "NO_ANSWER", "answered_at": None}, "rang"),
    "refused": (404, {"state": "UNREACHABLE", "answered_at": None, "ringing_at": None}, "refused"),
    "no carrier": (503, {"state": "FAILED", "answered_at": None, "ringing_at": None}, "not_carried"),
    "a silent carrier": (504, {"state": "NO_ANSWER", "answered_at": None, "ringing_at": None}, "not_carried"),
    "no number": (503, {"state": "FAILED", "redeemed": False}, "not_redeemed"),
    "answered without its number": (200, {"redeemed": False}, "not_redeemed"),
    "going on": (200, {"state": "ANSWERED"}, "unfinished"),
    "just let in": (503, {"state": "AUTHORIZED"}, "unfinished"),
    "no worker": (503, None, "no_record"),
    "wrong password": (403, None, "not_let_in"),
    "nobody there": (0, None, "not_taken"),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_call_went_through_only_with_its_number_and_a_sign_of_the_carrier(name):
    """What telephone and record say together."""
    status, changes, expected = OUTCOMES[name]
    record = None if changes is None else RECORD._replace(**changes)
    assert judge(Attempt(TOKEN, status=status), record) == expected
