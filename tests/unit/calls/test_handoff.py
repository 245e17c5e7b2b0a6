"""Who dials what, read from channel data."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.calls import handoff
from esl_shield.config.calls import HandoffConfig
from esl_shield.errors.calls import HandoffRejected
from esl_shield.vault import tokens

CHANNEL = "dc41b3db-6a49-4bb0-a2ea-88fb1a73e162"
TOKEN = tokens.draw("70", 14)
MISTYPED = TOKEN[:-1] + str((int(TOKEN[-1]) + 1) % 10)
DATA = {
    "Unique-ID": CHANNEL,
    "Caller-Destination-Number": TOKEN,
    "Call-Direction": "inbound",
    "variable_sip_authorized": "true",
    "variable_sip_auth_username": "1001",
    "variable_domain_name": "bank.example",
}
PLAIN = HandoffConfig()
DUMMY = HandoffConfig(dummy_number="9000")


def read(config=PLAIN, **changes):
    data = {name: value for name, value in (DATA | changes).items() if value is not None}
    return handoff.read(data, config)


def test_an_authenticated_agent_who_dials_a_token():
    """Channel, agent, domain and token are read from what FreeSWITCH itself set."""
    parked = read(variable_domain_name="Bank.Example")
    assert parked == handoff.Handoff(UUID(CHANNEL), "1001", "bank.example", handoff.Dialled(TOKEN, "token", 14))


@pytest.mark.parametrize(
    "changes",
    [
        {"Call-Direction": "outbound"},
        {"Call-Direction": None},
        {"variable_sip_authorized": None},
        {"variable_sip_authorized": "false"},
        {"variable_sip_authorized": "True"},
        {"variable_sip_auth_username": None},
        {"variable_sip_auth_username": ""},
        {"variable_sip_auth_username": "1001\nvariable_x: y"},
        {"variable_sip_auth_username": "a" * 65},
        {"variable_domain_name": None},
        {"variable_domain_name": "bank example"},
    ],
)
def test_without_a_digest_there_is_no_agent(changes):
    """Neither agent nor domain is believed unless FreeSWITCH authenticated both on a leg that came in."""
    parked = read(**changes)
    assert parked.agent is None
    assert parked.domain is None


FORGEABLE = [
    "Caller-Username", "Caller-Caller-ID-Number", "Channel-Username", "Caller-ANI", "variable_user_name",
    "variable_sip_from_user", "variable_sip_req_user", "variable_sip_to_user", "variable_sip_h_X-Agent",
    "variable_sip_h_sip_auth_username", "variable_sip_h_X-variable_sip_auth_username",
]  # fmt: skip


@pytest.mark.parametrize("name", FORGEABLE)
def test_what_a_phone_can_forge_is_not_read(name):
    """A header a phone chose changes neither agent nor token."""
    assert read(**{name: "supervisor"}) == read()


def test_behind_the_dummy_number_the_header_holds_the_token():
    """The fixed number means: the token is in X-Shield-Token."""
    parked = read(DUMMY, **{"Caller-Destination-Number": "9000", handoff.TOKEN_HEADER: TOKEN})
    assert parked.dialled == handoff.Dialled(TOKEN, "token", 14)


def test_the_header_counts_behind_the_dummy_number_only():
    """A dialled token wins over a header, and without a dummy number the header is never read."""
    other = tokens.draw("70", 14)
    assert read(DUMMY, **{handoff.TOKEN_HEADER: other}).dialled.token == TOKEN
    parked = read(PLAIN, **{"Caller-Destination-Number": "9000", handoff.TOKEN_HEADER: other})
    assert parked.dialled.token is None


@pytest.mark.parametrize(
    "header", [None, "", "12", "+442079460123", MISTYPED], ids=["absent", "empty", "short", "a number", "mistyped"]
)
def test_a_dummy_call_without_a_token_has_none(header):
    """The dummy number with a missing or malformed header is a malformed token."""
    parked = read(DUMMY, **{"Caller-Destination-Number": "9000", handoff.TOKEN_HEADER: header})
    assert parked.dialled.token is None


@pytest.mark.parametrize("dialled", ["+442079460123", "02079460123", "*98", "supervisor", "", "９" * 14])
def test_what_is_not_a_token_is_kept_nowhere(dialled):
    """Only class and length of what failed the grammar survive, in no field and in no repr."""
    parked = read(**{"Caller-Destination-Number": dialled})
    assert parked.dialled.token is None
    assert parked.dialled.length == len(dialled)
    if dialled:
        assert dialled not in repr(parked)


@pytest.mark.parametrize("channel", [None, "", "deadbeef", CHANNEL + "\n", "every-one"])
def test_a_channel_without_a_uuid_is_rejected(channel):
    """A hand-off that names no channel is refused and its value is not repeated."""
    with pytest.raises(HandoffRejected) as caught:
        read(**{"Unique-ID": channel})
    assert not channel or channel not in str(caught.value)


def test_a_leg_that_was_answered_before_is_rejected():
    """A dialplan that answers before it hands over is told so; the call is not taken."""
    with pytest.raises(HandoffRejected, match="answered before"):
        read(**{"Answer-State": "answered"})
    assert read(**{"Answer-State": "ringing"}) == read(**{"Answer-State": "early"}) == read()


@given(st.dictionaries(st.sampled_from(sorted(handoff.HEADERS)), st.text(max_size=80)))
def test_any_channel_data_is_read_or_rejected(data):
    """Whatever a phone manages to put there ends in a Handoff or a HandoffRejected, never in another exception."""
    try:
        parked = handoff.read(data, DUMMY)
    except HandoffRejected:
        return
    assert parked.dialled.token is None or tokens.is_valid(parked.dialled.token)
    assert (parked.agent is None) == (parked.domain is None)


CUSTOMERS = {
    "Call-Direction": "outbound",
    "Answer-State": "answered",
    "variable_shield_side": "customer",
    "variable_shield_domain": "Bank.Example",
    "variable_sip_authorized": None,
    "variable_sip_auth_username": None,
    "variable_domain_name": None,
}


def test_a_transferred_customers_leg_has_a_domain_and_no_agent():
    """It is told by what we wrote on it and by having been called, not by anything a phone may say."""
    parked = read(**CUSTOMERS)
    assert (parked.agent, parked.domain, parked.transferred) == (None, "bank.example", True)
    assert parked.dialled.token == TOKEN


def test_a_customer_who_called_in_is_known_by_the_dialplans_mark():
    """Such a leg came in; the variable of its context, which no SIP message sets, stands in for its direction."""
    parked = read(**CUSTOMERS | {"Call-Direction": "inbound", "variable_esl_shield_inbound": "true"})
    assert (parked.agent, parked.domain, parked.transferred) == (None, "bank.example", True)


@pytest.mark.parametrize(
    "changes",
    [
        {"Call-Direction": "inbound"},
        {"Call-Direction": "inbound", "variable_esl_shield_inbound": "yes"},
        {"variable_esl_shield_inbound": "true", "variable_shield_side": None},
        {"Call-Direction": None},
        {"variable_shield_side": None},
        {"variable_shield_side": "phone"},
    ],
)
def test_what_is_not_a_customers_leg_is_refused_when_it_was_answered(changes):
    """Every other leg that was answered before is no hand-off."""
    with pytest.raises(HandoffRejected):
        read(**CUSTOMERS | changes)


@pytest.mark.parametrize("domain", [None, "", "bank example", "a" * 254])
def test_a_transferred_leg_without_a_domain_has_none(domain):
    """The database answers 404 to it."""
    parked = read(**CUSTOMERS | {"variable_shield_domain": domain})
    assert parked.transferred
    assert parked.domain is None


def test_a_transferred_leg_is_never_an_agents():
    """Whatever else its channel data claims."""
    claims = {"variable_sip_authorized": "true", "variable_sip_auth_username": "1001"}
    assert read(**CUSTOMERS | claims).agent is None


@pytest.mark.parametrize("text", ["C-20231", "TASK.99812", "C-2023123456", "812", "123456", "12-34-56", "a", "A" * 64])
def test_what_may_be_an_alias_is_handed_on(text):
    """Words and short digits may be a tenant's own handle; in the header behind the dummy number too."""
    assert read(**{"Caller-Destination-Number": text}).dialled.alias == text
    behind = read(DUMMY, **{"Caller-Destination-Number": "9000", handoff.TOKEN_HEADER: text})
    assert behind.dialled.alias == text


@pytest.mark.parametrize(
    "text",
    ["13800138000", "+8613800138000", "138-0013-8000", "138.0013.8000", "02160001111", "1234567", "60-00-11-1",
     "tel13800138000", "x138-0013-8000", "447700900123", "", "A" * 65, "a b", "a@b", "9000;x", "**9000"],
)  # fmt: skip
def test_what_may_be_a_number_is_no_alias(text):
    """A number dialled by mistake goes nowhere, however it is spelled: seven digits alone, or eleven beside letters."""
    dialled = read(**{"Caller-Destination-Number": text}).dialled
    assert dialled.token is None
    assert dialled.alias is None


CLICKED = {
    "Call-Direction": "outbound", "Answer-State": "answered", "variable_shield_side": "agent",
    "variable_shield_domain": "Bank.Example", "Caller-Destination-Number": "shield_clicks",
    "variable_sip_authorized": None, "variable_sip_auth_username": None, "variable_domain_name": None,
}  # fmt: skip


def test_an_agents_leg_that_we_made_has_no_agent_of_its_own():
    """The database says by its UUID whose it is and whom it is for."""
    parked = read(**CLICKED)
    assert (parked.agent, parked.domain, parked.clicked, parked.transferred) == (None, "bank.example", True, False)
    assert (parked.dialled.token, parked.dialled.alias, parked.was_answered) == (None, None, True)


@pytest.mark.parametrize(
    "changes",
    [{"Call-Direction": "inbound"}, {"Answer-State": "ringing"}, {"variable_shield_side": "Agent"}],
    ids=["a-phone's", "unanswered", "no-mark"],
)
def test_a_leg_a_phone_made_is_never_a_click(changes):
    """Only a leg made by FreeSWITCH, answered and marked is asked about as a click."""
    try:
        parked = read(**CLICKED | changes)
    except HandoffRejected:
        return
    assert not parked.clicked
    assert parked.agent is None
