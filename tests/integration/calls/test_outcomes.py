"""How calls end: each outcome, in each delivery, through a real worker, resolver and PostgreSQL."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest
from fix_site import ABROAD, BANK, DUMMY, LOST, NUMBERS, SHOP

from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway

ANSWERS = Carrier(after_s=0.02)
CUSTOMER_HANGS_UP = Carrier(after_s=0.02, hangs_up_after_s=0.05)
DOWN = Carrier(503, "Service Unavailable", rings=False)
GATEWAYS = {BANK: ("carrier-a", "carrier-b"), SHOP: ("edge-a", "edge-b")}
_positions = itertools.count()


@dataclass(frozen=True)
class Outcome:
    """What the carriers do and what must come of it; ``sip`` 0 means the call was answered."""

    first: Carrier
    state: str
    cause: str
    sip: int
    attempts: int = 1
    second: Carrier = ANSWERS
    cancels_after_s: float | None = None
    agent_hangs_up_after_s: float | None = None
    missing: tuple[str, ...] = ()


OUTCOMES = {
    "agent hangs up": Outcome(ANSWERS, "COMPLETED", "NORMAL_CLEARING", 0, agent_hangs_up_after_s=0.05),
    "customer hangs up": Outcome(CUSTOMER_HANGS_UP, "COMPLETED", "NORMAL_CLEARING", 0),
    "busy": Outcome(Carrier(486, "Busy Here"), "BUSY", "USER_BUSY", 486),
    "rejected": Outcome(Carrier(603, "Decline"), "REJECTED", "CALL_REJECTED", 603),
    "unallocated": Outcome(Carrier(404, "Not Found"), "UNREACHABLE", "UNALLOCATED_NUMBER", 404),
    "temporarily unavailable": Outcome(Carrier(480, "Unavailable"), "NO_ANSWER", "NO_USER_RESPONSE", 480),
    "nobody answers": Outcome(Carrier(after_s=None), "NO_ANSWER", "NO_ANSWER", 480),
    "agent cancels": Outcome(Carrier(after_s=None), "CANCELLED", "ORIGINATOR_CANCEL", 487, cancels_after_s=0.1),
    "early media, then answer": Outcome(
        replace(CUSTOMER_HANGS_UP, early_media=True), "COMPLETED", "NORMAL_CLEARING", 0
    ),
    "early media, then busy": Outcome(
        Carrier(486, "Busy Here", early_media=True, after_s=0.05), "BUSY", "USER_BUSY", 486
    ),
    "early media, then failure": Outcome(
        Carrier(503, "Unavailable", early_media=True, after_s=0.05),
        "COMPLETED",
        "NORMAL_CLEARING",
        0,
        2,
        CUSTOMER_HANGS_UP,
    ),
    "second gateway answers": Outcome(DOWN, "COMPLETED", "NORMAL_CLEARING", 0, 2, CUSTOMER_HANGS_UP),
    "second gateway is busy": Outcome(DOWN, "BUSY", "USER_BUSY", 486, 2, Carrier(486, "Busy Here")),
    "both gateways fail": Outcome(DOWN, "FAILED", "NORMAL_TEMPORARY_FAILURE", 503, 2, DOWN),
    "first gateway is unknown": Outcome(
        ANSWERS, "COMPLETED", "NORMAL_CLEARING", 0, 2, CUSTOMER_HANGS_UP, missing=("carrier-a", "edge-a")
    ),
    "agent cancels at the second gateway": Outcome(
        DOWN, "CANCELLED", "ORIGINATOR_CANCEL", 487, 2, Carrier(after_s=None), cancels_after_s=0.3
    ),
    "early media nobody answers": Outcome(
        Carrier(early_media=True, after_s=None), "NO_ANSWER", "ALLOTTED_TIMEOUT", 480
    ),
    "no gateway is known": Outcome(
        ANSWERS, "FAILED", "INVALID_GATEWAY", 503, 2, missing=("carrier-a", "edge-a", "carrier-b", "edge-b")
    ),
}


def call_of(call_centre, tenant, outcome, position):
    first, second = GATEWAYS[tenant]
    gateways = {first: Gateway(outcome.first), second: Gateway(outcome.second)}
    return Call(
        dialled=call_centre.token(tenant, position),
        agent=Agent(domain=tenant.domain),
        gateways={name: gateway for name, gateway in gateways.items() if name not in outcome.missing},
        cancels_after_s=outcome.cancels_after_s,
        hangs_up_after_s=outcome.agent_hangs_up_after_s,
    )


@pytest.mark.parametrize("tenant", [BANK, SHOP], ids=["direct", "edge"])
@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_each_outcome_ends_in_its_state_and_cause(call_centre, tenant, outcome):
    """State, cause, status and attempts of the CDR, and the phone's answer, follow the table."""
    result = call_centre.place(call_of(call_centre, tenant, outcome, next(_positions) % len(NUMBERS)))
    record = call_centre.record(tenant, result)
    assert record is not None
    assert (record["state"], record["hangup_cause"], record["attempts"]) == (
        outcome.state,
        outcome.cause,
        outcome.attempts,
    )
    assert result.status == (outcome.sip or 200)
    assert record["sip_code"] == (outcome.sip or 200)
    assert (record["answered_at"] is not None) is (outcome.sip == 0)
    assert record["agent"] == "1001"
    assert record["ended_at"] is not None


WIRES = {
    BANK: ("sip:{number}@192.0.2.10:5060", "sip:{digits}@192.0.2.20:5060"),
    SHOP: ("{number}", "{number}"),
}


@pytest.mark.parametrize("tenant", [BANK, SHOP], ids=["direct", "edge"])
def test_the_number_is_on_each_carriers_wire_and_nowhere_else(call_centre, tenant):
    """Each attempt's wire has the number in its gateway's format; FreeSWITCH was told token and permit only."""
    position = next(_positions) % len(NUMBERS)
    result = call_centre.place(call_of(call_centre, tenant, OUTCOMES["second gateway answers"], position))
    number = NUMBERS[position]
    expected = [wire.format(number=number, digits=number[1:]) for wire in WIRES[tenant]]
    assert [entry.request_uri.removeprefix("sip:") for entry in result.wire] != []
    for entry, wanted in zip(result.wire, expected, strict=True):
        assert wanted in entry.request_uri
    assert number[1:] not in "\n".join(result.told)


def test_each_attempt_has_a_permit_of_its_own(call_centre):
    """A failover draws a new permit, audited; none is sent twice."""
    result = call_centre.place(call_of(call_centre, BANK, OUTCOMES["second gateway answers"], next(_positions)))
    permits = [line.split()[2] for told in result.told for line in told.splitlines() if "esl_shield.lua" in line]
    assert len(set(permits)) == 2
    kinds = [event["kind"] for event in call_centre.audit(result, BANK)]
    assert kinds == ["call.authorized", "permit.redeemed", "permit.renewed", "permit.redeemed"]


def test_a_token_behind_the_dummy_number(call_centre):
    """A fixed number is dialled, the token comes in X-Shield-Token, the rest is as ever."""
    token = call_centre.token(BANK, 3)
    call = replace(
        call_of(call_centre, BANK, OUTCOMES["customer hangs up"], 3),
        dialled=DUMMY,
        agent=Agent(domain=BANK.domain, headers={"X-Shield-Token": token}),
    )
    result = call_centre.place(call)
    record = call_centre.record(BANK, result)
    assert (record["state"], record["token"]) == ("COMPLETED", token)


def other_tenants(call_centre):
    return call_centre.token(SHOP, 5)


def wrong_digit(call_centre):
    token = call_centre.token(BANK, 5)
    return token[:-1] + str((int(token[-1]) + 1) % 10)


REFUSED_404 = {
    "another tenant's token": other_tenants,
    "wrong check digit": wrong_digit,
    "nobody's token": lambda centre: centre.token(BANK, 5) + "0",
    "a telephone number": lambda centre: NUMBERS[7],
    "a national number": lambda centre: "0" + NUMBERS[7][3:],
    "not digits": lambda centre: "supervisor",
    "too long": lambda centre: "7" * 200,
}


@pytest.mark.parametrize("dialled", REFUSED_404.values(), ids=REFUSED_404)
def test_what_is_no_token_of_the_tenant_gets_404(call_centre, dialled):
    """One answer for every reason; the CDR is REFUSED and keeps neither token nor dialled digits."""
    call = replace(call_of(call_centre, BANK, OUTCOMES["customer hangs up"], 5), dialled=dialled(call_centre))
    result = call_centre.place(call)
    record = call_centre.record(BANK, result)
    assert result.status == 404
    assert not result.wire
    assert (record["state"], record["token"]) == ("REFUSED", None)
    told = [text for text in result.told if "sendmsg" in text]
    assert len(told) == 1
    assert "respond" in told[0]


@pytest.mark.parametrize(
    "agent",
    [
        Agent(domain=BANK.domain, authorized=False),
        Agent(domain="nobody.example"),
        Agent(
            domain=BANK.domain,
            authorized=False,
            headers={"X-Note": "a%0Avariable_sip_authorized: true%0Avariable_sip_auth_username: supervisor"},
        ),
    ],
    ids=["no digest", "unknown tenant", "forged digest"],
)
def test_who_is_not_an_agent_gets_403(call_centre, agent):
    """Neither a missing digest, nor an unknown domain, nor forged headers reach a permit."""
    call = replace(call_of(call_centre, BANK, OUTCOMES["customer hangs up"], 6), agent=agent)
    result = call_centre.place(call)
    assert result.status == 403
    assert not result.wire
    assert call_centre.record(BANK, result) is None


def test_a_forged_header_does_not_change_the_agent(call_centre):
    """An authenticated agent who injects header lines stays the agent FreeSWITCH authenticated."""
    forged = "a%0Avariable_sip_auth_username: supervisor%0Avariable_user_name: supervisor%0AUnique-ID: deadbeef"
    agent = Agent(domain=BANK.domain, headers={"X-Note": forged})
    result = call_centre.place(replace(call_of(call_centre, BANK, OUTCOMES["customer hangs up"], 8), agent=agent))
    record = call_centre.record(BANK, result)
    assert (record["state"], record["agent"]) == ("COMPLETED", "1001")


@pytest.mark.parametrize("tenant", [BANK, SHOP], ids=["direct", "edge"])
def test_a_destination_the_rules_forbid_is_refused(call_centre, tenant):
    """The resolver's rules end the call with 403 before any carrier is asked."""
    call = replace(
        call_of(call_centre, tenant, OUTCOMES["customer hangs up"], 9), dialled=call_centre.tokens[tenant.name][ABROAD]
    )
    result = call_centre.place(call)
    record = call_centre.record(tenant, result)
    assert not result.wire
    assert result.status == (403 if tenant is BANK else 603)
    assert record["state"] == ("REFUSED" if tenant is BANK else "REJECTED")
    assert "permit.refused_number" in [event["kind"] for event in call_centre.audit(result, tenant)]


def test_a_resolver_that_is_away_ends_the_call_within_two_seconds(call_centre):
    """Direct delivery without a resolver: 503, cause RESOLVER_AWAY, no second gateway."""
    away = double.HttpRedeem("http://127.0.0.1:9/redeem", lua_secret=b"x" * 32)
    result = call_centre.place(call_of(call_centre, BANK, OUTCOMES["customer hangs up"], 10), away)
    record = call_centre.record(BANK, result)
    assert result.status == 503
    assert result.timings_s["ended"] < 2.5
    assert (record["state"], record["hangup_cause"], record["attempts"]) == ("FAILED", "RESOLVER_AWAY", 1)


def test_a_tenant_without_a_gateway_has_a_failed_record(call_centre):
    """A tenant whose domain no gateway serves hears 503; the CDR says why."""
    call = replace(
        call_of(call_centre, BANK, OUTCOMES["customer hangs up"], 11),
        dialled=call_centre.tokens[LOST.name][NUMBERS[11]],
        agent=Agent(domain=LOST.domain),
    )
    result = call_centre.place(call)
    record = call_centre.record(LOST, result)
    assert result.status == 503
    assert (record["state"], record["hangup_cause"], record["attempts"]) == ("FAILED", "NO_ROUTE_DESTINATION", 0)
