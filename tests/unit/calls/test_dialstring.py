"""What FreeSWITCH is told to dial."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from esl_shield.calls import dialstring, routing
from esl_shield.calls.permits import Permit
from esl_shield.calls.records import Allowed
from esl_shield.config.gateways import Gateway
from esl_shield.errors.freeswitch import UnsafeArgument

EDGE = Gateway("edge-1", "edge", caller_id=("+862100000000",))
DIRECT = Gateway("carrier", "direct", proxy="127.0.0.1:5080")
CALL_ID = UUID("7b0a1c1e-0000-4000-8000-00000000abcd")
TOKEN = "70001234567893"
OF = {"call": CALL_ID, "allowed": Allowed("ALLOWED", token=TOKEN)}


def execution(gateway, token=TOKEN, permit=None, domain="bank.example", disarms=None, shown=""):
    return dialstring.execution(
        routing.Route(gateway, ""), token=token, domain=domain, permit=permit or Permit(), sip_call_id=CALL_ID,
        answer_timeout_s=45, disarms=disarms, shown=shown,
    )  # fmt: skip


def test_edge_delivery_bridges_the_token_with_the_permit_in_a_header():
    """The edge is given permit, gateway and a Call-ID the permit is bound to; the dialled user is the token."""
    permit = Permit()
    app, argument = execution(EDGE, permit=permit)
    assert app == "bridge"
    assert argument.startswith("[")
    assert argument.endswith(f"]sofia/gateway/edge-1/{TOKEN}")
    leg = dict(pair.split("=", 1) for pair in argument[1 : argument.index("]")].split(","))
    assert leg["sip_h_X-Shield-Permit"] == permit.text
    assert leg["sip_h_X-Shield-Gateway"] == "edge-1"
    assert leg["sip_invite_call_id"] == str(CALL_ID)
    assert leg["leg_timeout"] == "45"
    assert leg["origination_callee_id_number"] == TOKEN


def test_behind_the_edge_a_customers_leg_can_be_recognised_when_it_is_transferred():
    """Its UUID, its side, its tenant's domain and the only context it may be transferred to."""
    argument = execution(EDGE).argument
    leg = dict(pair.split("=", 1) for pair in argument[1 : argument.index("]")].split(","))
    assert leg["origination_uuid"] == str(CALL_ID)
    assert leg["shield_side"] == "customer"
    assert leg["shield_domain"] == "bank.example"
    assert leg["force_transfer_context"] == "shield_transfers"


def test_a_customers_own_leg_is_recognised_in_the_same_way():
    """The leg of a customer who called in has the same marks, is shown as the token and is found by supervisors."""
    text = dialstring.customer_leg_variables(TOKEN, CALL_ID, domain="bank.example", ring_s=20)
    leg = dict(pair.split("=", 1) for pair in text.split(";"))
    assert (leg["shield_side"], leg["shield_domain"]) == ("customer", "bank.example")
    assert (leg["force_transfer_context"], leg["eavesdrop_group"]) == ("shield_transfers", "bank.example")
    assert leg["effective_caller_id_number"] == leg["effective_caller_id_name"] == TOKEN
    anonymous = dialstring.customer_leg_variables(None, CALL_ID, domain="[2001:db8::1]", ring_s=20)
    assert "effective_caller_id_number=anonymous" in anonymous
    assert "shield_domain" not in anonymous


def test_what_rings_can_be_picked_up_until_it_is_answered():
    """The notes are those the dialplan's pickup and supervision read; nobody known leaves none."""
    assert dialstring.note_ringing("1001", "bank.example", CALL_ID) == (
        f"api hash insert/shield_ringing/1001@bank.example/{CALL_ID}"
    )
    assert dialstring.note_answer("1001", "1003", "bank.example", CALL_ID) == [
        "api hash delete/shield_ringing/1001@bank.example",
        f"api hash insert/shield_calls/1003@bank.example/{CALL_ID}",
    ]
    assert dialstring.note_answer("", "", "bank.example", CALL_ID) == []
    with pytest.raises(UnsafeArgument):
        dialstring.note_ringing("1001/x", "bank.example", CALL_ID)


def test_a_domain_that_cannot_be_written_stays_out_of_the_dial_string():
    """An address in brackets can be called from; its transfers reach no token."""
    argument = execution(EDGE, domain="[2001:db8::1]").argument
    assert "shield_domain" not in argument
    assert argument.count("[") == 1


def test_the_second_customers_answer_disarms_the_alarm_of_a_transferred_leg():
    """A leg that was answered before is not answered again, so the leg it calls disarms it."""
    argument = execution(EDGE, disarms=CALL_ID).argument
    assert f",api_on_answer='sched_del {CALL_ID}']" in argument


def test_a_transferred_leg_never_calls_as_its_own_token():
    """Without a caller ID of the gateway's the second customer sees none."""
    text = dialstring.parked_leg_variables(
        routing.Route(EDGE, ""), CALL_ID, answer_timeout_s=45, was_answered=True, **OF
    )
    assert "effective_caller_id_number=anonymous;effective_caller_id_name=anonymous" in text


def test_direct_delivery_runs_the_script_with_permit_token_and_gateway():
    """The script is given three words and nothing else."""
    permit = Permit()
    assert execution(DIRECT, permit=permit) == ("lua", f"esl_shield.lua {permit.text} {TOKEN} carrier")


def test_the_agents_leg_is_dressed_before_any_attempt():
    """Display updates, copied headers and Reason texts are off; a failed attempt leaves the leg to us."""
    text = dialstring.parked_leg_variables(routing.Route(EDGE, "+862100000000"), CALL_ID, answer_timeout_s=45, **OF)
    variables = dict(pair.split("=", 1) for pair in text.split(";"))
    left_behind = {name for name, value in variables.items() if not value}
    assert left_behind == {
        "last_bridge_proto_specific_hangup_cause",
        "last_bridge_hangup_cause",
        "bridge_hangup_cause",
        "shield_result",
        "shield_cause",
    }
    assert {name: value for name, value in variables.items() if value} == {
        "api_on_answer": f"sched_del {CALL_ID}",
        "sip_ignore_remote_cause": "true",
        "bridge_answer_timeout": "45",
        "ignore_display_updates": "true",
        "disable_q850_reason": "true",
        "sip_copy_custom_headers": "false",
        "hangup_after_bridge": "true",
        "continue_on_fail": "true",
        "call_timeout": "45",
        "effective_caller_id_number": "+862100000000",
        "effective_caller_id_name": "+862100000000",
        "shield_recording": f"{TOKEN}_{CALL_ID}",
        "shield_shown": TOKEN,
    }


@pytest.mark.parametrize("bad", ["", "1,2", "1|2", "1]x", "1 2", "1\n2", "1;a=b", "${x}", "1^2", "^^:1", "é"])
@pytest.mark.parametrize("gateway", [EDGE, DIRECT], ids=["edge", "direct"])
def test_a_value_with_a_separator_is_never_sent(gateway, bad):
    """What could add a variable, a destination or a command is refused before anything is sent."""
    with pytest.raises(UnsafeArgument):
        execution(gateway, token=bad)


def test_a_permit_shows_itself_nowhere():
    """Neither repr nor str of a permit holds its text."""
    permit = Permit()
    assert permit.text not in f"{permit!r}{permit}"
    assert len(permit.text) == 32
    assert len(permit.digest) == 32


def test_routes_keep_the_configured_order_and_the_tenants_gateways():
    """A tenant's call takes its own and the common gateways, in order, at most so many."""
    gateways = [Gateway("a", "edge"), Gateway("b", "edge", domains=("bank.example",)), Gateway("c", "edge")]

    def names(domain, most):
        ways = routing.routes(gateways, domain=domain, token=TOKEN, max_attempts=most)
        return [way.gateway.name for way in ways]

    assert names("bank.example", 3) == ["a", "b", "c"]
    assert names("bank.example", 2) == ["a", "b"]
    assert names("shop.example", 3) == ["a", "c"]


def test_one_token_is_always_shown_the_same_caller_id():
    """A customer sees one number of a gateway's several, whoever calls and whenever."""
    gateway = Gateway("a", "edge", caller_id=("+862100000000", "+862100000001", "+862100000002"))
    shown = {
        token: {routing.routes([gateway], domain="x", token=token, max_attempts=1)[0].caller_id for _ in range(3)}
        for token in map(str, range(70000000, 70000040))
    }
    assert all(len(ids) == 1 for ids in shown.values())
    assert len(set.union(*shown.values())) == 3


def dressed(allowed, **more):
    text = dialstring.parked_leg_variables(
        routing.Route(EDGE, ""), CALL_ID, answer_timeout_s=45, call=CALL_ID, allowed=allowed, **more
    )
    return dict(pair.split("=", 1) for pair in text.split(";"))


def test_recordings_and_the_phone_know_a_call_by_its_business_id():
    """The parked leg says what is shown, what a recording is called and, in answers, the business ID."""
    leg = dressed(Allowed("ALLOWED", "TASK-812", "123456", token=TOKEN))
    assert leg["shield_recording"] == f"TASK-812_{CALL_ID}"
    assert (leg["shield_ref"], leg["shield_shown"]) == ("TASK-812", "123456")
    assert leg["sip_ph_X-Shield-Ref"] == leg["sip_rh_X-Shield-Ref"] == "TASK-812"


def test_without_a_business_id_a_recording_is_called_by_the_token():
    """No header is sent, and what is shown is the token."""
    leg = dressed(Allowed("ALLOWED", None, TOKEN, token=TOKEN))
    assert leg["shield_recording"] == f"{TOKEN}_{CALL_ID}"
    assert leg["shield_shown"] == TOKEN
    assert not [name for name in leg if "Ref" in name or name == "shield_ref"]


@pytest.mark.parametrize("bad", ["a;b=c", "a,b", "a b", "a]b", "a|b", "${x}"])
def test_an_alias_of_old_that_is_no_word_is_not_shown(bad):
    """What could end a variable in a dial string is shown as the token."""
    assert dressed(Allowed("ALLOWED", bad, bad, token=TOKEN))["shield_shown"] == TOKEN
    assert f"origination_callee_id_number={TOKEN}," in execution(EDGE, shown=bad).argument


def test_the_customers_leg_carries_no_business_id():
    """What goes to the edge names permit, gateway and token alone; what is shown stands on it as callee ID."""
    argument = execution(EDGE, shown="TASK-812").argument
    headers = re.findall(r"sip_h_([A-Za-z-]+)=", argument)
    assert headers == ["X-Shield-Permit", "X-Shield-Gateway"]
    assert "origination_callee_id_number=TASK-812" in argument
    assert argument.endswith(f"/{TOKEN}")
    assert execution(DIRECT, shown="123456").argument.endswith(f" {TOKEN} carrier 123456")


def test_an_agents_phone_is_rung_showing_what_the_tenant_chose():
    """The leg has the click's UUID, is an agent's, waits for the answer and goes to the clicks' own context."""
    command = dialstring.ring_for_click("1001", "bank.example", CALL_ID, shown="123456", ref="TASK-812", ring_s=20)
    variables, _, rest = command.removeprefix("originate {").partition("}")
    leg = dict(pair.split("=", 1) for pair in variables.split(","))
    assert rest == "user/1001@bank.example shield_clicks XML shield_clicks"
    assert (leg["origination_uuid"], leg["shield_side"], leg["shield_domain"]) == (
        str(CALL_ID),
        "agent",
        "bank.example",
    )
    assert leg["origination_caller_id_number"] == leg["origination_caller_id_name"] == "123456"
    assert (leg["ignore_early_media"], leg["originate_timeout"], leg["sip_copy_custom_headers"]) == (
        "true",
        "20",
        "false",
    )
    assert leg["sip_h_X-Shield-Ref"] == "TASK-812"


@pytest.mark.parametrize("agent", ["1001 &park()", "1001,x", "10}01", "", "1001@x"])
def test_an_agents_name_adds_nothing_to_the_command_that_rings(agent):
    """No destination, variable or application can be put into the agent's name."""
    with pytest.raises(UnsafeArgument):
        dialstring.ring_for_click(agent, "bank.example", CALL_ID, shown=TOKEN, ref=None, ring_s=20)


def test_a_customer_is_shown_a_number_of_their_own_place():
    """Where the gateway has numbers of that place, always the same of them; elsewhere one of the pool."""
    beijing = ("+861000000001", "+861000000002")
    gateway = Gateway("g", "edge", caller_id=("+862100000000",), caller_id_in={"Beijing": beijing})

    def shown(region, token=TOKEN):
        return routing.routes([gateway], domain="x", token=token, max_attempts=1, region=region)[0].caller_id

    assert {shown("Beijing", f"7{number:013d}") for number in range(40)} == set(beijing)
    assert {shown("Beijing") for _ in range(3)} == {shown("Beijing")}
    assert shown("Shanghai") == shown("") == "+862100000000"
    with pytest.raises(ValueError, match="caller_id"):
        Gateway("g", "edge", caller_id_in={"Beijing": ("12 34",)})


def test_a_notice_to_the_customer_prolongs_no_ringing():
    """The agent's leg waits for ringing and notice, the customer's rings as long as ever; nothing changes without."""
    told = [
        dialstring.parked_leg_variables(
            routing.Route(DIRECT, ""), CALL_ID, answer_timeout_s=45, notice_s=notice_s, **OF
        )
        for notice_s in (0, 120)
    ]
    assert "call_timeout=45;" in told[0]
    assert "shield_ring_s" not in told[0]
    assert "call_timeout=165;" in told[1]
    assert "shield_ring_s=45" in told[1]
