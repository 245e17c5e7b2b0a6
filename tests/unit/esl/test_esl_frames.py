"""The frame reader against recordings, forgeries, limits and noise."""

from __future__ import annotations

import copy
import re
import tracemalloc

import esl_transcripts
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.errors.freeswitch import FrameRejected
from esl_shield.esl import blocks
from esl_shield.esl.frames import Frame, FrameReader, Limits

KEEP = frozenset(
    {"variable_user_name", "variable_sip_h_X-Note", "Application", "Hangup-Cause", "Caller-Caller-ID-Name"}
)
SMALL = Limits(max_header_bytes=4096, max_body_bytes=4096, max_line_bytes=512, max_headers=32)
REPLY = b"Content-Type: command/reply\nReply-Text: +OK\n\n"


def read(data, *, keep=KEEP, limits=None):
    """Return every frame in the bytes, and say that they ended."""
    reader = FrameReader(keep, limits)
    found = []
    for start in range(0, len(data), 4096):
        reader.feed(data[start : start + 4096])
        found += drain(reader)
    reader.eof()
    return found


def drain(reader):
    found = []
    while (frame := reader.next()) is not None:
        found.append(frame)
    return found


def event_frame(headers, body=b""):
    inner = headers + (b"Content-Length: %d\n\n" % len(body) + body if body else b"\n")
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(inner) + inner


@pytest.mark.parametrize("name", esl_transcripts.NAMES)
def test_recordings_give_one_frame_per_message(name):
    """Every recorded message is read as one frame of its own type and event name."""
    recorded = esl_transcripts.frames(name)
    frames = read(b"".join(recorded))
    assert [frame.content_type.encode() for frame in frames] == [
        re.search(rb"^Content-Type: (.*)$", data, re.MULTILINE)[1] for data in recorded
    ]
    for data, frame in zip(recorded, frames, strict=True):
        event_name = re.search(rb"^Event-Name: (.*)$", data, re.MULTILINE)
        assert (frame.event.name.encode() if frame.event else None) == (event_name and event_name[1])


QUICK = ("agent-injects-headers", "bridge-no-such-gateway")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in esl_transcripts.NAMES]
)
def test_recordings_byte_by_byte_and_cut_at_every_offset(name):
    """Fed byte by byte a recording gives the same frames, and its end anywhere inside a frame is refused."""
    recorded = esl_transcripts.frames(name)
    data = b"".join(recorded)
    boundaries = {sum(map(len, recorded[:count])) for count in range(len(recorded) + 1)}
    reader = FrameReader(KEEP)
    frames = []
    for offset in range(len(data)):
        reader.feed(data[offset : offset + 1])
        frames += drain(reader)
        assert ends_inside_a_frame(copy.copy(reader)) == (offset + 1 not in boundaries)
    assert frames == read(data)


def ends_inside_a_frame(reader):
    try:
        reader.eof()
    except FrameRejected:
        return True
    return False


def test_values_are_decoded_once_and_only_in_events():
    """An event's value is percent-decoded, a plain reply's is literal."""
    frames = read(
        event_frame(b"Event-Name: A\nApplication: a%20b%2525\n") + b"Content-Type: command/reply\nReply-Text: %20\n\n"
    )
    assert frames[0].event["Application"] == "a b%25"
    assert frames[1].headers["Reply-Text"] == "%20"


@pytest.mark.parametrize("separator", ["%0A", "%0D%0A", "%E2%80%A8", "%C2%85", "%0B", "%0C", "%1E"])
def test_an_encoded_line_end_stays_data(separator):
    """A line end inside a value never begins a header."""
    note = f"a{separator}variable_user_name: supervisor{separator}Unique-ID: deadbeef".encode()
    frame = read(event_frame(b"Event-Name: A\nvariable_sip_h_X-Note: " + note + b"\nvariable_user_name: 1001\n"))[0]
    assert frame.event["variable_user_name"] == "1001"
    assert "Unique-ID" not in frame.event
    assert frame.event["variable_sip_h_X-Note"].endswith("Unique-ID: deadbeef")


def test_the_first_value_of_a_repeated_header_wins():
    """A later header of the same name changes nothing."""
    frame = read(event_frame(b"Event-Name: A\nUnique-ID: one\nUnique-ID: two\n"))[0]
    assert frame.event["Unique-ID"] == "one"


def test_a_name_may_hold_colons():
    """`export nolocal:x` names a variable with a colon: it is read past, and is no variable of a shorter name."""
    headers = b"Event-Name: A\nvariable_user_name:x: 1001\nvariable_user_name: 1002\nHangup-Cause:\n"
    (frame,) = read(event_frame(headers))
    assert frame.event.get("variable_user_name") == "1002"
    assert frame.event.get("Hangup-Cause") == ""


def test_only_named_headers_are_kept():
    """What ``keep`` does not name is not stored."""
    frame = read(event_frame(b"Event-Name: A\nvariable_secret: x\nApplication: lua\n"))[0]
    assert dict(frame.event) == {"Event-Name": "A", "Application": "lua"}


def test_an_event_shows_no_value_and_cannot_be_changed():
    """The repr of what was read shows no value and the mapping takes none."""
    frame = read(event_frame(b"Event-Name: A\nUnique-ID: canary\n"))[0]
    assert "canary" not in repr(frame) + repr(frame.event) + str(frame.event)
    with pytest.raises(TypeError):
        frame.event["Unique-ID"] = "other"


def test_a_display_name_in_another_encoding_does_not_end_the_call():
    """A value that is not UTF-8 once decoded is read with replacement characters."""
    frame = read(event_frame(b"Event-Name: A\nCaller-Caller-ID-Name: %C4%E3\n"))[0]
    assert frame.event["Caller-Caller-ID-Name"] == "\ufffd\ufffd"


def test_an_event_may_carry_a_body_of_its_own():
    """An event's inner body is skipped by its own Content-Length."""
    data = event_frame(b"Event-Name: BACKGROUND_JOB\nApplication: x\n", b"+OK\n\nvariable_user_name: forged\n")
    frame = read(data + REPLY)[0]
    assert dict(frame.event) == {"Event-Name": "BACKGROUND_JOB", "Application": "x"}


@pytest.mark.parametrize(
    "content_type", ["api/response", "log/data", "text/rude-rejection", "text/disconnect-notice", "x/new"]
)
def test_bodies_are_handed_over_whole(content_type):
    """A body is cut by its length, whatever it looks like."""
    data = f"Content-Type: {content_type}\nContent-Length: {len(REPLY)}\n\n".encode() + REPLY
    frames = read(data + REPLY)
    assert [frame.body for frame in frames] == [REPLY, b""]


REFUSED = {
    "no Content-Type": b"Reply-Text: +OK\n\n",
    "two Content-Types": b"Content-Type: command/reply\nContent-Type: api/response\n\n",
    "no Content-Length": b"Content-Type: api/response\n\n",
    "no Content-Length of an event": b"Content-Type: text/event-plain\n\n",
    "Content-Length empty": b"Content-Type: api/response\nContent-Length: \n\n",
    "Content-Length negative": b"Content-Type: api/response\nContent-Length: -1\n\n",
    "Content-Length with plus": b"Content-Type: api/response\nContent-Length: +1\n\nx",
    "Content-Length hexadecimal": b"Content-Type: api/response\nContent-Length: 0x1\n\nx",
    "Content-Length in other digits": "Content-Type: api/response\nContent-Length: \u0661\n\nx".encode(),
    "Content-Length contradictory": b"Content-Type: api/response\nContent-Length: 1\nContent-Length: 2\n\nxx",
    "Content-Length oversized": b"Content-Type: api/response\nContent-Length: 4097\n\n",
    "Content-Length endless": b"Content-Type: api/response\nContent-Length: " + b"9" * 400 + b"\n\n",
    "not UTF-8": b"Content-Type: command/reply\nReply-Text: \xc4\xe3\n\n",
    "NUL": b"Content-Type: command/reply\nReply-Text: a\0b\n\n",
    "NUL in a name": b"Content-Type: command/reply\nReply\0Text: a\n\n",
    "NUL encoded": event_frame(b"Event-Name: A\nUnique-ID: a%00b\n"),
    "carriage return": b"Content-Type: command/reply\r\n\r\nReply-Text: x\n\n",
    "name empty": b": x\nContent-Type: command/reply\n\n",
    "name with leading space": b"Content-Type: command/reply\n Reply-Text: x\n\n",
    "no colon": b"Content-Type: command/reply\nReply-Text\n\n",
    "no space": b"Content-Type:command/reply\n\n",
    "too many headers": b"Content-Type: command/reply\n" + b"A: b\n" * 32 + b"\n",
    "line too long": b"Content-Type: command/reply\nA: " + b"b" * 512 + b"\n\n",
    "headers too long": b"Content-Type: command/reply\n" + (b"A: " + b"b" * 400 + b"\n") * 12 + b"\n",
    "headers without end": b"A: b\n" * 1000,
    "line without end": b"A" * 5000,
    "empty blocks": b"\n" * 64 + REPLY,
    "event without name": event_frame(b"Unique-ID: x\n"),
    "event without end": b"Content-Type: text/event-plain\nContent-Length: 14\n\nEvent-Name: A\n",
    "event empty": b"Content-Type: text/event-plain\nContent-Length: 0\n\n",
    "event with a short body": event_frame(b"Event-Name: A\nContent-Length: 5\n\nabc"),
    "event with a long body": event_frame(b"Event-Name: A\nContent-Length: 1\n\nabc"),
    "event with data after it": event_frame(b"Event-Name: A\n\nContent-Type: command/reply\n"),
    "event with a malformed header": event_frame(b"Event-Name: A\nUnique-ID\n"),
    "ends in a header": REPLY + b"Content-Ty",
    "ends in a body": b"Content-Type: api/response\nContent-Length: 10\n\nabc",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_the_grammar_is_refused(data):
    """A malformed frame raises FrameRejected, again and again, and the error quotes nothing."""
    reader = FrameReader(KEEP, SMALL)
    with pytest.raises(FrameRejected) as refused:
        feed_all(reader, data)
    assert refused.value.error_id == "esl.bad_frame"
    assert "x" not in refused.value.fields["reason"].replace("exp", "")
    for use in (lambda: reader.feed(REPLY), reader.next, reader.eof):
        with pytest.raises(FrameRejected):
            use()
    assert not reader._buffer


def feed_all(reader, data, step=1024):
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        drain(reader)
    reader.eof()


def test_a_refusal_never_takes_back_what_was_whole():
    """Frames before the malformed one are still handed over."""
    reader = FrameReader(KEEP)
    reader.feed(REPLY + b"Content-Type\n\n")
    assert reader.next().content_type == "command/reply"
    with pytest.raises(FrameRejected):
        reader.next()


def test_ten_megabytes_of_headers_are_refused_early_in_bounded_memory():
    """An endless header block is refused at its limit, not when memory runs out."""
    reader = FrameReader(KEEP)
    chunk = b"X-Filler: " + b"a" * 90 + b"\n"
    chunk *= 64 * 1024 // len(chunk)
    fed = 0
    tracemalloc.start()
    try:
        with pytest.raises(FrameRejected):  # noqa: PT012 - which of the feeds raises is the point
            while fed < 10_000_000:
                reader.feed(chunk)
                fed += len(chunk)
                reader.next()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fed < 400_000
    assert peak < 2_000_000


def test_one_huge_feed_is_refused_without_being_copied():
    """More bytes at once than a frame may hold are refused before they are stored."""
    reader = FrameReader(KEEP)
    data = b"A" * 10_000_000
    tracemalloc.start()
    try:
        with pytest.raises(FrameRejected):
            reader.feed(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_drained_reader_holds_no_buffer():
    """Between frames no byte is held."""
    reader = FrameReader(KEEP)
    reader.feed(b"".join(esl_transcripts.frames("customer-busy")))
    drain(reader)
    assert not reader._buffer


@given(st.binary(max_size=3000))
def test_noise_is_refused_or_read_but_never_breaks(data):
    """Random bytes give frames or FrameRejected, never another error."""
    outcome(data)


FIELDS = st.sampled_from(
    [
        *(b"Content-Type: command/reply", b"Content-Type: text/event-plain", b"Content-Type: api/response"),
        *(b"Content-Length: 0", b"Content-Length: 14", b"Content-Length: 99", b"Event-Name: A", b"Unique-ID: %0A"),
        *(b"\n", b"", b"x", b": ", b"\xff"),
    ]
)


@given(st.lists(FIELDS, max_size=40), st.integers(1, 40))
def test_pieces_of_the_grammar_in_any_order_never_break(fields, step):
    """Shuffled pieces of real frames give frames or FrameRejected, the same whatever the chunks."""
    data = b"\n".join(fields)
    assert outcome(data) == outcome(data, step)


LINE = st.lists(st.sampled_from([b"a", b":", b": ", b" ", b"\t", b"\x7f", b"\xc3\xa9", b"\0"]), max_size=5).map(
    b"".join
)


@given(st.lists(LINE, max_size=4))
def test_the_quick_look_at_a_block_accepts_nothing_the_grammar_refuses(lines):
    """What is taken for plain lines is as many lines of the grammar."""
    block = b"".join(line + b"\n" for line in lines)
    if plain := blocks.plain_lines(block):
        assert blocks.is_well_formed(block)
        assert plain == len(lines)


def test_events_keep_their_own_headers():
    """An event stores what ``keep_events`` names, the answer to ``connect`` what ``keep`` names."""
    reader = FrameReader(frozenset({"A"}), keep_events=frozenset({"B"}))
    reader.feed(event_frame(b"Event-Name: X\nA: 1\nB: 2\n"))
    reader.feed(b"Event-Name: CHANNEL_DATA\nA: 1\nB: 2\nContent-Type: command/reply\n\n")
    event, data = (dict(frame.event) for frame in drain(reader))
    assert event == {"Event-Name": "X", "B": "2"}
    assert data == {"Event-Name": "CHANNEL_DATA", "A": "1"}


def test_a_header_whose_name_only_begins_like_a_kept_one_is_another():
    """A name ends at the colon that a blank follows: what stands before the kept header hides nothing of it."""
    event = read(event_frame(b"Event-Name: X\nHangup-Cause:x: 1\nHangup-Cause: 2\nApplication:x: 3\n"))[0].event
    assert dict(event) == {"Event-Name": "X", "Hangup-Cause": "2"}


@given(st.sampled_from(esl_transcripts.NAMES), st.lists(st.integers(1, 20_000), max_size=30))
def test_chunks_make_no_difference(name, sizes):
    """A recording cut into any chunks gives the same frames."""
    data = b"".join(esl_transcripts.frames(name))
    reader = FrameReader(KEEP)
    frames: list[Frame] = []
    start = 0
    for size in [*sizes, len(data)]:
        for part in range(start, min(start + size, len(data)), 4096):
            reader.feed(data[part : min(part + 4096, start + size)])
            frames += drain(reader)
        start += size
    assert frames == read(data)


@given(st.sampled_from(esl_transcripts.NAMES), st.data())
def test_a_damaged_recording_never_breaks(name, data):
    """A recording with bytes replaced, removed or added gives frames or FrameRejected."""
    recorded = bytearray(b"".join(esl_transcripts.frames(name))[:20_000])
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(recorded)))
        recorded[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    outcome(bytes(recorded))


def outcome(data, step=512):
    """Return the frames and whether the rest was refused."""
    reader = FrameReader(KEEP, Limits(max_header_bytes=16_384, max_body_bytes=16_384))
    frames = []
    try:
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
            while (frame := reader.next()) is not None:
                frames.append(frame)
        reader.eof()
    except FrameRejected as refused:
        return frames, refused.fields["reason"]
    return frames, None
