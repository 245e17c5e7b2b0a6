"""A customer's call as the parked channel tells of it: what is believed, what is not."""

import uuid

import pytest

from esl_shield.calls import arrivals, dialstring
from esl_shield.errors.calls import HandoffRejected
from esl_shield.errors.freeswitch import UnsafeArgument

CHANNEL, SIP_CALL = uuid.uuid4(), uuid.uuid4()
TOKEN = "91000000000011"
DATA = {
    "Unique-ID": str(CHANNEL),
    "Answer-State": "ringing",
    "Caller-Context": "shield-inbound",
    "Caller-Destination-Number": "+442079460900",
    "Caller-Caller-ID-Number": TOKEN,
    "variable_esl_shield_inbound": "true",
    "variable_sip_call_id": str(SIP_CALL),
}


def test_a_customers_call_is_read():
    """Channel, DID, token and the edge's name of the call."""
    assert arrivals.is_arrival(DATA)
    assert arrivals.read(DATA) == arrivals.Arrival(CHANNEL, "+442079460900", TOKEN, SIP_CALL)


@pytest.mark.parametrize("caller", ["", "anonymous", "+442079460999", "02079460999", "91000000000012", TOKEN + "x"])
def test_who_is_no_token_is_anonymous(caller):
    """Only digits with a token's check digit are taken for one."""
    assert arrivals.read(DATA | {"Caller-Caller-ID-Number": caller}).token is None


@pytest.mark.parametrize("called", ["", "1001", "02079460900", "+", "+44207946090x", "+" + "1" * 16])
def test_what_is_no_did_is_none(called):
    """The database is asked about E.164 numbers only."""
    assert arrivals.read(DATA | {"Caller-Destination-Number": called}).did is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("Caller-Context", "agents"), ("Caller-Context", ""), ("variable_esl_shield_inbound", "1")],
)
def test_context_and_mark_are_both_needed(name, value):
    """One of them alone is an agent's call."""
    assert not arrivals.is_arrival(DATA | {name: value})


@pytest.mark.parametrize("change", [{"Answer-State": "answered"}, {"Unique-ID": "x"}, {"Unique-ID": ""}])
def test_a_channel_that_cannot_be_followed_is_rejected(change):
    """A leg that was answered before, and one without a UUID."""
    with pytest.raises(HandoffRejected):
        arrivals.read(DATA | change)


def test_a_sip_call_id_that_is_no_uuid_is_left_out():
    """Whatever else stands there may be anything."""
    assert arrivals.read(DATA | {"variable_sip_call_id": "+442079460999@x"}).sip_call is None


def test_an_agent_is_rung_and_a_queue_entered_by_name():
    """The dial string names the agent at the tenant's domain; a queue may have a domain of its own."""
    app, argument = dialstring.ring_agent("1001", "bank.example", ring_s=25)
    assert app == "bridge"
    assert argument.endswith("leg_timeout=25]user/1001@bank.example")
    assert dialstring.wait_in_queue("sales") == ("callcenter", "sales")
    assert dialstring.wait_in_queue("sales@bank.example") == ("callcenter", "sales@bank.example")


@pytest.mark.parametrize("bad", ["", "1001,1002", "a b", "1001]x", "${x}", "1001|x", "1001\n"])
def test_a_name_with_a_separator_is_never_sent(bad):
    """What could add a destination or an application is refused."""
    with pytest.raises(UnsafeArgument):
        dialstring.ring_agent(bad, "bank.example", ring_s=1)
    with pytest.raises(UnsafeArgument):
        dialstring.wait_in_queue(bad)


def test_the_customers_leg_shows_the_token_or_nobody():
    """Caller ID towards the agent is the token, else anonymous; nothing of the agent goes back."""
    shown = dialstring.customer_leg_variables(TOKEN, CHANNEL, domain="bank.example", ring_s=25)
    assert f"effective_caller_id_number={TOKEN};effective_caller_id_name={TOKEN}" in shown
    assert "ignore_display_updates=true" in shown
    hidden = dialstring.customer_leg_variables(None, CHANNEL, domain="bank.example", ring_s=25)
    assert "effective_caller_id_number=anonymous;effective_caller_id_name=anonymous" in hidden
