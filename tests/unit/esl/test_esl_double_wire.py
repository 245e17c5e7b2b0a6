"""The double's own grammar: encoding as FreeSWITCH encodes, commands as FreeSWITCH reads them."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.esl.double.wire import CommandReader, url_encode
from esl_shield.esl.frames import FrameReader


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("Agent 1001", "Agent%201001"),
        ("sofia/internal/1001@127.0.0.1:5099", "sofia/internal/1001%40127.0.0.1%3A5099"),
        ("a%0Avariable_user_name: x", "a%0Avariable_user_name%3A%20x"),
        ("100%", "100%25"),
        ("%0a", "%250a"),
        ("INVITE, ACK", "INVITE,%20ACK"),
        ("你", "%E4%BD%A0"),
        ("+OK\n", "%2BOK%0A"),
    ],
)
def test_values_are_encoded_as_recorded(value, encoded):
    """What looks encoded already, in capitals, is left alone; all else unsafe is encoded."""
    assert url_encode(value) == encoded


@given(st.text(alphabet=st.characters(exclude_characters="%\0", exclude_categories=["Cs"]), max_size=200))
def test_a_value_comes_through_serialisation_unchanged(value):
    """Whatever a value holds, it is one line on the wire and the same value behind our reader."""
    encoded = url_encode(value)
    assert encoded.isascii()
    assert "\n" not in encoded
    assert unquote(encoded) == value
    reader = FrameReader(frozenset({"variable_x"}))
    reader.feed(b"Event-Name: A\nContent-Type: command/reply\nvariable_x: " + encoded.encode() + b"\n\n")
    assert reader.next().event["variable_x"] == value


COMMANDS = (
    b"connect\n\nlinger 5\n\nsendmsg\nEvent-UUID: e\ncall-command: execute\nexecute-app-name: set\n\n\n\nexit\n\n"
)


@given(st.lists(st.integers(1, 20), max_size=20))
def test_commands_are_read_whatever_the_chunks(sizes):
    """Commands cut into any chunks are the same commands."""
    reader, commands, start = CommandReader(), [], 0
    for size in [*sizes, len(COMMANDS)]:
        commands += reader.feed(COMMANDS[start : start + size])
        start += size
    assert [command.name for command in commands] == ["connect", "linger", "sendmsg", "exit"]
    assert commands[1].argument == "5"
    assert commands[2].headers == {"event-uuid": "e", "call-command": "execute", "execute-app-name": "set"}
