"""What is read of FreeSWITCH's record of a leg, and what is refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

import pytest

from esl_shield.calls import legs
from esl_shield.errors.endings import CdrRejected

OWN, FAR = "9af2c40b-e973-40b7-8553-88e62ae2f641", "c6b4ce7c-2c9d-4aa1-8a0b-0a4d8c7cb9e2"
NUMBER = "+8613800138062"
ENDED = "1763800000250000"
VARIABLES = {
    "uuid": OWN, "bridge_uuid": FAR, "end_uepoch": ENDED, "answer_uepoch": "1763799990000000",
    "bridge_uepoch": "1763799990000001", "progress_uepoch": "0", "progress_media_uepoch": "1763799989000000",
    "hangup_cause": "NORMAL_CLEARING",
}  # fmt: skip


def record(**changed: object) -> bytes:
    """A record as mod_json_cdr prints it, a careless switch's numbers in it."""
    variables = VARIABLES | {"sip_invite_req_uri": f"sip:{NUMBER}@192.0.2.1", "sip_to_user": NUMBER} | changed
    profile = {"caller_profile": {"destination_number": NUMBER}, "times": {"hangup_time": ENDED}}
    return json.dumps(
        {"core-uuid": OWN, "variables": {k: v for k, v in variables.items() if v}, "callflow": [profile]}
    ).encode()


ENCODED = {
    "json": lambda data: data,
    "a-line": lambda data: data + b"\n",
    "posted-urlencoded": lambda data: b"cdr=" + quote(data).encode(),
    "posted-base64": lambda data: b"cdr=" + base64.b64encode(data),
    "file-urlencoded": lambda data: quote(data).encode() + b"\n",
    "file-base64": lambda data: base64.b64encode(data) + b"\n",
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_every_encoding_of_a_record_is_read_alike(encoding):
    """UUIDs, times and the cause come through however mod_json_cdr was told to encode; nothing else does."""
    leg = legs.read(ENCODED[encoding](record()))
    assert (leg.channel, leg.other, leg.originator) == (UUID(OWN), UUID(FAR), None)
    assert leg.ended_at == datetime.fromtimestamp(1763800000.25, UTC)
    assert (leg.ringing_at.timestamp(), leg.cause) == (1763799989, "NORMAL_CLEARING")
    assert NUMBER[1:] not in repr(leg) + repr(leg.values())


ON_THE_EDGE = "originate_disposition"
UNANSWERED = {
    "never-bridged": ({}, "FAILED", "NORMAL_TEMPORARY_FAILURE", 503),
    "edge-busy": ({ON_THE_EDGE: "USER_BUSY"}, "BUSY", "USER_BUSY", 486),
    "edge-early-media-busy": ({ON_THE_EDGE: "SUCCESS", "bridge_hangup_cause": "USER_BUSY"}, "BUSY", "USER_BUSY", 486),
    "edge-interim": ({ON_THE_EDGE: "failure", "hangup_cause": "NO_ANSWER"}, "NO_ANSWER", "NO_ANSWER", 480),
    "direct-busy": ({"shield_result": "failed", "shield_cause": "USER_BUSY"}, "BUSY", "USER_BUSY", 486),
    "direct-destination": ({"shield_result": "destination"}, "REFUSED", "DESTINATION_REFUSED", 403),
    "far-leg": (
        {"originator": FAR, "hangup_cause": "CALL_REJECTED", ON_THE_EDGE: "USER_BUSY"},
        *("REJECTED", "CALL_REJECTED", 603),
    ),
    "cause-is-a-number": ({"hangup_cause": NUMBER}, "FAILED", "NORMAL_UNSPECIFIED", 480),
    "cause-is-text": ({"hangup_cause": ["USER_BUSY"]}, "FAILED", "NORMAL_UNSPECIFIED", 480),
}  # fmt: skip


@pytest.mark.parametrize("case", UNANSWERED)
def test_an_unanswered_leg_tells_what_ended_its_last_attempt(case):
    """The cause of the attempt counts on the leg that called, its own on the other; what is no cause is none."""
    changed, state, cause, sip = UNANSWERED[case]
    leg = legs.read(record(**({"answer_uepoch": "0", "hangup_cause": "NORMAL_TEMPORARY_FAILURE"} | changed)))
    assert (leg.state, leg.cause, leg.sip_code, leg.answered_at) == (state, cause, sip, None)


BAD = {
    "empty": b"",
    "not-json": b'{"variables": ' + NUMBER.encode(),
    "not-an-object": b"cdr=" + base64.b64encode(b"[1]"),
    "no-encoding": f"number={NUMBER}".encode(),
    "no-variables": b'{"variables": []}',
    "no-uuid": record(uuid=NUMBER),
    "uuid-of-another-form": record(uuid=OWN.upper()),
    "no-end": record(end_uepoch=""),
    "end-is-zero": record(end_uepoch="0"),
    "end-is-a-number": record(end_uepoch=NUMBER),
    "end-beyond-time": record(end_uepoch="9" * 18),
    "too-deep": b'{"variables": ' + b"[" * 100_000,
    "not-utf-8": b'{"variables": "\xff"}',
    "cut": record()[:-40],
    "huge-integer": b'{"variables": ' + b"9" * 5000 + b"}",
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_record_is_refused_without_a_word_of_it(case):
    """One error, whose text holds nothing that came."""
    with pytest.raises(CdrRejected) as caught:
        legs.read(BAD[case])
    assert NUMBER[1:] not in f"{caught.value!r}{caught.value}{caught.value.__cause__}"
    assert caught.value.error_id == "intake.rejected"
