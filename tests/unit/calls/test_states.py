"""The table of states, transitions and causes."""

from __future__ import annotations

import pytest

from esl_shield.calls import states
from esl_shield.calls.states import CAUSES, TRANSITIONS, Elsewhere, State, advance, cause_of, ending
from esl_shield.errors.calls import IllegalTransition


def test_nothing_leaves_a_terminal_state():
    """A call that is over stays as it ended."""
    for state in State:
        assert bool(TRANSITIONS[state]) is not state.is_terminal


@pytest.mark.parametrize("following", list(State))
def test_only_an_answered_call_completes(following):
    """COMPLETED is reached from ANSWERED and from nowhere else."""
    assert (State.COMPLETED in TRANSITIONS[following]) is (following is State.ANSWERED)


def test_what_the_table_does_not_list_is_an_error():
    """A call cannot be refused after it was answered."""
    with pytest.raises(IllegalTransition, match="ANSWERED to REFUSED"):
        advance(State.ANSWERED, State.REFUSED)


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_each_cause_ends_a_call_and_has_a_final_status(name):
    """Every row ends an unanswered call in a terminal state the table allows and answers the phone finally."""
    cause = CAUSES[name]
    assert cause.state in TRANSITIONS[State.BRIDGING]
    assert cause.state in TRANSITIONS[State.RINGING]
    assert cause.state.is_terminal
    assert 400 <= cause.sip < 700
    assert 1 <= cause.q850 <= 127


@pytest.mark.parametrize(
    ("name", "state", "goes_elsewhere"),
    [
        ("USER_BUSY", State.BUSY, False),
        ("NO_ANSWER", State.NO_ANSWER, False),
        ("CALL_REJECTED", State.REJECTED, False),
        ("UNALLOCATED_NUMBER", State.UNREACHABLE, False),
        ("ORIGINATOR_CANCEL", State.CANCELLED, False),
        ("NORMAL_TEMPORARY_FAILURE", State.FAILED, True),
        ("NO_ROUTE_DESTINATION", State.UNREACHABLE, True),
        ("GATEWAY_DOWN", State.FAILED, True),
        ("INVALID_GATEWAY", State.FAILED, True),
        (states.RESOLVER_AWAY, State.FAILED, False),
        (states.DESTINATION_REFUSED, State.REFUSED, False),
        (states.PERMIT_REFUSED, State.FAILED, False),
    ],
)
def test_only_a_gateways_fault_goes_elsewhere(name, state, goes_elsewhere):
    """Failover is for gateways that failed, never for a customer who answered for himself."""
    cause = cause_of(name)
    assert cause.state is state
    assert cause.may_go_elsewhere(rang=False) is goes_elsewhere


def test_a_silent_gateway_is_left_only_before_it_rang():
    """A timer that ran out after ringing is a customer who did not answer."""
    cause = cause_of("RECOVERY_ON_TIMER_EXPIRE")
    assert cause.elsewhere is Elsewhere.UNTIL_RINGING
    assert cause.may_go_elsewhere(rang=False)
    assert not cause.may_go_elsewhere(rang=True)


def test_an_unlisted_cause_keeps_its_name_and_costs_no_second_attempt():
    """Whatever FreeSWITCH may invent ends the call as a plain failure."""
    cause = cause_of("CRASH")
    assert cause.name == "CRASH"
    assert cause.state is State.FAILED
    assert not cause.may_go_elsewhere(rang=False)
    assert cause.hangup_as == "NORMAL_UNSPECIFIED"


def test_an_answered_call_completes_whatever_ended_it():
    """The cause of an answered call does not change its state."""
    assert ending(State.ANSWERED, cause_of("MEDIA_TIMEOUT")) is State.COMPLETED
    assert ending(State.RINGING, cause_of("USER_BUSY")) is State.BUSY
