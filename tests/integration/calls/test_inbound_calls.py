"""Customers' calls through a real worker and PostgreSQL: who is rung, what each end leaves in the record."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from fix_site import BANK, NUMBERS, SHOP

from esl_shield.esl.double import Agent, Call, Carrier, Fault, Gateway

DID = "+442079460900"
CONTEXT, MARK = "shield-inbound", {"esl_shield_inbound": "true"}
TALKS = Gateway(Carrier(after_s=0.02, hangs_up_after_s=0.05))
BUSY, NO_ANSWER = Gateway(Carrier(486, "Busy Here")), Gateway(Carrier(after_s=None))
_positions = itertools.count(40)


@pytest.fixture(scope="module")
def dids(call_centre):
    """The bank's DIDs, by whom they ring."""
    lists = {"two agents": ("1001", "1002"), "one agent": ("1001",)}
    made = {}
    for last, (name, destinations) in enumerate(lists.items()):
        made[name] = f"{DID[:-1]}{last}"
        to = [word for destination in destinations for word in ("--to", destination)]
        call_centre.site.run("admin", "did", "add", made[name], "--tenant", "bank", *to)
    return made


def _desk(agent):
    return f"user/{agent}@{BANK.domain}"


def _call(did, caller, **call):
    call.setdefault("context", CONTEXT)
    call.setdefault("variables", MARK)
    call.setdefault("hangs_up_after_s", None)
    agent = Agent(username=caller, domain="edge.example", display=caller, authorized=False)
    return Call(dialled=did, agent=agent, **call)


@dataclass(frozen=True)
class Outcome:
    """What the desks do and what must come of it."""

    desks: dict[str, Gateway]
    state: str
    cause: str
    sip: int
    agent: str | None = None
    attempts: int = 1
    more: dict[str, object] = field(default_factory=dict)


OUTCOMES = {
    "first agent answers": Outcome({"1001": TALKS, "1002": TALKS}, "COMPLETED", "NORMAL_CLEARING", 200, "1001"),
    "customer hangs up": Outcome(
        {"1001": Gateway(Carrier(after_s=0.02))}, "COMPLETED", "NORMAL_CLEARING", 200, "1001",
        more={"hangs_up_after_s": 0.05},
    ),
    "first agent is busy": Outcome({"1001": BUSY, "1002": TALKS}, "COMPLETED", "NORMAL_CLEARING", 200, "1002", 2),
    "first agent does not answer": Outcome(
        {"1001": NO_ANSWER, "1002": TALKS}, "COMPLETED", "NORMAL_CLEARING", 200, "1002", 2
    ),
    "first agent is not registered": Outcome({"1002": TALKS}, "COMPLETED", "NORMAL_CLEARING", 200, "1002", 2),
    "first agent declines": Outcome(
        {"1001": Gateway(Carrier(603, "Decline")), "1002": TALKS}, "COMPLETED", "NORMAL_CLEARING", 200, "1002", 2
    ),
    "nobody is registered": Outcome({}, "UNREACHABLE", "USER_NOT_REGISTERED", 480, None, 2),
    "all are busy": Outcome({"1001": BUSY, "1002": BUSY}, "BUSY", "USER_BUSY", 486, None, 2),
    "customer gives up": Outcome(
        {"1001": NO_ANSWER}, "CANCELLED", "ORIGINATOR_CANCEL", 487, more={"cancels_after_s": 0.1}
    ),
}  # fmt: skip


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_each_outcome_ends_in_its_record(call_centre, dids, outcome):
    """The record has direction, DID, token, the agent who answered, and state and cause by the table."""
    token = call_centre.token(BANK, next(_positions))
    gateways = {_desk(agent): desk for agent, desk in outcome.desks.items()}
    result = call_centre.place(_call(dids["two agents"], token, gateways=gateways, **outcome.more))
    record = call_centre.record(BANK, result)
    assert (record["state"], record["hangup_cause"], record["sip_code"]) == (
        outcome.state, outcome.cause, outcome.sip,
    )  # fmt: skip
    assert (record["agent"], record["attempts"], record["token"]) == (outcome.agent, outcome.attempts, token)
    assert (record["direction"], record["did"]) == ("inbound", dids["two agents"])
    assert result.status == outcome.sip
    assert (record["answered_at"] is not None) is (outcome.sip == 200)


def test_the_agent_is_shown_the_token(call_centre, dids):
    """FreeSWITCH is told the token as caller ID, or anonymous, before any phone rings."""
    token = call_centre.token(BANK, next(_positions))
    for caller, shown in ((token, token), ("anonymous", "anonymous"), ("+442079460999", "anonymous")):
        result = call_centre.place(_call(dids["one agent"], caller, gateways={_desk("1001"): TALKS}))
        told = "\n".join(result.told)
        assert f"effective_caller_id_number={shown};effective_caller_id_name={shown}" in told
        assert "+442079460999" not in told
        record = call_centre.record(BANK, result)
        assert record["token"] == (token if shown == token else None)


def test_a_token_of_another_tenant_is_anonymous(call_centre, dids):
    """A DID's tenant decides whose tokens are shown."""
    token = call_centre.token(SHOP, next(_positions))
    result = call_centre.place(_call(dids["one agent"], token, gateways={_desk("1001"): TALKS}))
    assert "effective_caller_id_number=anonymous" in "\n".join(result.told)
    assert call_centre.record(BANK, result)["token"] is None


def test_the_agent_who_called_last_is_rung_first(call_centre, dids):
    """Whoever called this customer last, in vain or not, is rung before the DID's destinations, and only once."""
    position = next(_positions)
    token = call_centre.token(BANK, position)
    for agent in ("1002", "1007"):
        outbound = Call(
            dialled=token, agent=Agent(username=agent, domain=BANK.domain),
            gateways={"carrier-a": Gateway(Carrier(486, "Busy Here"))},
        )  # fmt: skip
        assert call_centre.record(BANK, call_centre.place(outbound))["state"] == "BUSY"
    desks = {_desk("1007"): BUSY, _desk("1001"): BUSY, _desk("1002"): TALKS}
    result = call_centre.place(_call(dids["two agents"], token, gateways=desks))
    assert [entry.gateway for entry in result.wire] == [_desk("1007"), _desk("1001"), _desk("1002")]
    assert call_centre.record(BANK, result)["agent"] == "1002"


@pytest.mark.parametrize(
    ("did", "status"), [("+442079460999", 404), ("02079460900", 404), ("reception", 404), ("", 404), (NUMBERS[0], 404)]
)
def test_a_called_number_that_is_no_did_is_not_found(call_centre, dids, did, status):
    """Unknown numbers are answered 404 and leave no record."""
    result = call_centre.place(_call(did, call_centre.token(BANK, 0)))
    assert result.status == status
    assert call_centre.record(BANK, result) is None


@pytest.mark.parametrize(
    "forged",
    [
        {"context": "agents"},
        {"variables": {}},
        {"variables": {"sip_h_esl_shield_inbound": "true"}},
        {"variables": {"esl_shield_inbound": "yes"}},
        {"context": "shield-inbound%0A", "variables": MARK},
    ],
    ids=["another context", "no mark", "a header", "another value", "a longer context"],
)
def test_only_the_dialplans_context_and_mark_make_a_customer(call_centre, dids, forged):
    """Anything else is an agent's call without an agent: 403, and nobody is rung."""
    result = call_centre.place(
        _call(dids["one agent"], call_centre.token(BANK, 0), gateways={_desk("1001"): TALKS}, **forged)
    )
    assert result.status == 403
    assert result.wire == []


@pytest.mark.parametrize("kind", ["close", "malformed"])
@pytest.mark.parametrize("at", ["command:sendmsg", "event:CHANNEL_EXECUTE_COMPLETE"])
def test_a_broken_socket_still_ends_in_one_record(call_centre, dids, kind, at):
    """Whatever breaks after a call was accepted, its record is final."""
    token = call_centre.token(BANK, next(_positions) % len(NUMBERS))
    call = _call(dids["one agent"], token, gateways={_desk("1001"): TALKS}, fault=Fault(kind, at), max_s=2.0)
    record = call_centre.record(BANK, call_centre.place(call))
    assert record["direction"] == "inbound"
    assert record["state"] in ("FAILED", "LOST", "CANCELLED", "COMPLETED", "NO_ANSWER")
