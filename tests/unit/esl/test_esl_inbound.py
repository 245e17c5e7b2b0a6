"""The client of FreeSWITCH's own event socket."""

from __future__ import annotations

import socket
import time

import pytest
from event_socket_double import PASSWORD, EventSocketDouble

from esl_shield.config.values import Address
from esl_shield.errors.freeswitch import FreeSwitchAway, FreeSwitchRefused, UnsafeArgument
from esl_shield.esl import inbound
from esl_shield.esl.inbound import InboundSocket

TIMEOUT_S = 0.3


def test_commands_are_answered_in_turn():
    """After the login each command has its own answer, an unknown one is not ok."""
    with EventSocketDouble({"status": "UP\n", "strange": "x" * 400_000}) as double:
        with InboundSocket(double.address, PASSWORD) as connection:
            assert connection.api("status").body == "UP\n"
            assert len(connection.api("strange").body) == 400_000
            assert not connection.api("nonsense").ok
        assert double.asked == ["status", "strange", "nonsense"]


def test_a_wrong_password_is_refused_and_not_repeated():
    """FreeSWITCH's -ERR invalid."""
    with EventSocketDouble({}) as double, pytest.raises(FreeSwitchRefused) as caught:
        InboundSocket(double.address, "hush-hush")
    assert "hush-hush" not in str(caught.value)


def test_a_machine_that_is_not_let_in_is_told():
    """FreeSWITCH answers text/rude-rejection to addresses outside of its list."""
    rude = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"
    with EventSocketDouble({}, greeting=rude) as double, pytest.raises(FreeSwitchRefused, match="apply-inbound-acl"):
        InboundSocket(double.address, PASSWORD)


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"Content-Type: text/plain\nContent-Length: 99999999\n\n",
        b"\n\n\n\n\n",
    ],
    ids=["silence", "another protocol", "too long", "no header"],
)
def test_what_is_no_event_socket_is_away(greeting):
    """Silence, another protocol and more than the limits end within the time-out."""
    began = time.monotonic()
    with EventSocketDouble({}, greeting=greeting) as double, pytest.raises(FreeSwitchAway):
        InboundSocket(double.address, PASSWORD, timeout_s=TIMEOUT_S)
    assert time.monotonic() - began < 10 * TIMEOUT_S


def test_a_command_that_is_never_answered_is_away():
    """Each answer has the time-out."""
    with (
        EventSocketDouble({}, mute=True) as double,
        InboundSocket(double.address, PASSWORD, timeout_s=TIMEOUT_S) as connection,
        pytest.raises(FreeSwitchAway, match="no answer within"),
    ):
        connection.api("status")


def test_nobody_listening_is_away():
    """A port that is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
    with pytest.raises(FreeSwitchAway, match="refused"):
        InboundSocket(address, PASSWORD)


def test_an_answer_longer_than_allowed_is_away(monkeypatch):
    """The reader is bounded."""
    monkeypatch.setattr(inbound, "MAX_ANSWER_BYTES", 1000)
    with (
        EventSocketDouble({"status": "x" * 1001}) as double,
        InboundSocket(double.address, PASSWORD) as connection,
        pytest.raises(FreeSwitchAway, match="longer than allowed"),
    ):
        connection.api("status")


@pytest.mark.parametrize("command", ["status\n\napi originate x", "a\0b", "x" * 9000])
def test_a_command_cannot_hold_another(command):
    """Control characters and overlong text are refused before anything is sent."""
    with EventSocketDouble({}) as double, InboundSocket(double.address, PASSWORD) as connection:
        with pytest.raises(UnsafeArgument):
            connection.api(command)
        assert double.asked == []
