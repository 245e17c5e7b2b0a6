"""One session against a scripted peer over a real socket pair."""

from __future__ import annotations

import inspect

import esl_transcripts
import gevent
import pytest
from gevent import socket
from greenswitch.esl import OutboundSession

from esl_shield.errors import ShieldError
from esl_shield.errors.freeswitch import (
    CommandRefused,
    EslTimeout,
    FrameRejected,
    SessionGone,
    UnsafeArgument,
    UnsafeMethod,
)
from esl_shield.esl import conversation
from esl_shield.esl.session import Execute, Hangup, Session

KEEP = frozenset({"Application", "Hangup-Cause", "Caller-Caller-ID-Number", "variable_call_uuid"})
CONNECTED = b"Event-Name: CHANNEL_DATA\nUnique-ID: u-1\nvariable_call_uuid: c-1\nCaller-Caller-ID-Number: 1001\n"
CONNECTED += b"Content-Type: command/reply\nReply-Text: %2BOK%0A\n\n"
OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
ERR = b"Content-Type: command/reply\nReply-Text: -ERR command not found\n\n"
LINGER = b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nContent-Length: 0\n\n"
GOODBYE = b"Content-Type: text/disconnect-notice\nContent-Disposition: disconnect\nContent-Length: 5\n\nbye!\n"


def event(name, **headers):
    lines = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in {"Event_Name": name, **headers}.items())
    return f"Content-Length: {len(lines) + 1}\nContent-Type: text/event-plain\n\n{lines}\n".encode()


class Peer:
    """FreeSWITCH's end of a socket pair, played by the test."""

    def __init__(self, **options):
        self.sock, ours = socket.socketpair()
        self.sock.settimeout(5)
        options = {"keep": KEEP, "command_timeout_s": 5.0} | options
        self.session = Session(ours, ("127.0.0.1", 1), **options)
        self.heard = b""

    def says(self, *data):
        self.sock.sendall(b"".join(data))

    def hears(self, count=1):
        """Return the next commands the session sent."""
        while self.heard.count(b"\n\n") < count:
            data = self.sock.recv(4096)
            if not data:
                break
            self.heard += data
        *commands, self.heard = self.heard.split(b"\n\n", count)
        return [command.decode() for command in commands]


@pytest.fixture
def make_peer():
    """Make sessions that were never connected, with their other ends; closes them all."""
    made = []

    def make(**options):
        made.append(Peer(**options))
        return made[-1]

    yield make
    for peer in made:
        peer.session.close()
        peer.sock.close()


@pytest.fixture
def peer(make_peer):
    """A session that was never connected, and its other end."""
    return make_peer()


@pytest.fixture
def connected(peer):
    """A connected session and its other end."""
    peer.says(CONNECTED)
    peer.session.connect()
    assert peer.hears() == ["connect"]
    return peer


def test_connect_returns_the_channel_data(connected):
    """Connecting returns the kept headers, and a second time sends nothing."""
    assert connected.session.connect()["Unique-ID"] == "u-1"
    assert (connected.session.uuid, connected.session.call_uuid) == ("u-1", "c-1")
    assert connected.session.caller_id_number == "1001"
    assert connected.session.connected
    connected.session.raise_if_disconnected()
    with connected.session.while_connected():
        pass


def test_before_connect_there_is_no_call(peer):
    """What needs the channel's data says so before ``connect``."""
    for use in (lambda: peer.session.uuid, lambda: peer.session.call_uuid, peer.session.raise_if_disconnected):
        with pytest.raises(SessionGone):
            use()


@pytest.mark.parametrize("answer", [OK, ERR])
def test_a_connect_without_channel_data_is_refused(peer, answer):
    """A reply to ``connect`` that holds no channel is a refusal."""
    peer.says(answer)
    with pytest.raises(CommandRefused):
        peer.session.connect()


def test_pipelined_commands_are_one_write_with_replies_in_order(connected):
    """Several commands leave in one write; their replies come back in order."""
    api = b"Content-Type: api/response\nContent-Length: 13\n\n-ERR no such\n"
    connected.says(OK, ERR, api, OK)
    commands = ("linger", "filter Unique-ID u-1", "api sched_del u-1", Execute("bridge", "x", "e-1"))
    replies = connected.session.request(*commands)
    assert [reply.ok for reply in replies] == [True, False, False, True]
    assert replies[1].text == "-ERR command not found"
    assert replies[2].body == "-ERR no such\n"
    assert connected.hears(4)[3] == (
        "sendmsg\nEvent-UUID: e-1\ncall-command: execute\nexecute-app-name: bridge\nexecute-app-arg: x"
    )


def test_events_before_a_reply_wait_their_turn(connected):
    """Events that arrive while a reply is awaited are returned afterwards, in order."""
    connected.says(event("CHANNEL_PROGRESS"), event("CHANNEL_ANSWER"), OK)
    assert connected.session.send("linger").ok
    assert [connected.session.next_event(1).name for _ in range(2)] == ["CHANNEL_PROGRESS", "CHANNEL_ANSWER"]


def test_a_flood_of_events_ends_the_session(connected):
    """More waiting events than allowed are refused."""
    connected.says(event("CHANNEL_STATE") * (conversation.MAX_WAITING_EVENTS + 1), OK)
    with pytest.raises(FrameRejected):
        connected.session.send("linger")
    assert not connected.session.connected


def test_execute_is_matched_by_its_uuid(connected):
    """An application's end is found by its uuid; other events stay in order."""
    connected.says(OK)
    first = connected.session.execute("playback", "/a")
    sent = connected.hears()[0]
    assert f"Event-UUID: {first}\n" in sent
    connected.says(
        event("CHANNEL_PROGRESS"),
        event("CHANNEL_EXECUTE_COMPLETE", Application="playback", Application_UUID="other"),
        event("CHANNEL_EXECUTE_COMPLETE", Application="playback", Application_UUID=first),
        event("CHANNEL_ANSWER"),
    )
    assert connected.session.wait_complete(first, 1)["Application"] == "playback"
    left = [connected.session.next_event(1).name for _ in range(3)]
    assert left == ["CHANNEL_PROGRESS", "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_ANSWER"]


def test_waiting_for_an_application_has_an_end(connected):
    """An application that does not end in time raises and loses no event."""
    connected.says(event("CHANNEL_PROGRESS"))
    with pytest.raises(EslTimeout):
        connected.session.wait_complete("e-1", 0.05)
    assert connected.session.next_event(0).name == "CHANNEL_PROGRESS"


def test_a_refused_execute_raises(connected):
    """A command FreeSWITCH answers with -ERR raises and names only the command."""
    connected.says(ERR)
    with pytest.raises(CommandRefused) as refused:
        connected.session.execute("bridge", "canary")
    assert "canary" not in str(refused.value)


def test_next_event_returns_none_in_time(connected):
    """Waiting for an event ends after its time-out."""
    with gevent.Timeout(10):
        assert connected.session.next_event(0.02) is None
        assert connected.session.next_event(0) is None


def test_a_silent_peer_times_out_and_late_replies_are_skipped(make_peer):
    """A reply that comes after its time-out is never taken for a later command's."""
    peer = make_peer(command_timeout_s=0.05)
    with pytest.raises(EslTimeout):
        peer.session.request("linger", "myevents")
    peer.says(OK, ERR, b"Content-Type: command/reply\nReply-Text: +OK third\n\n")
    assert peer.session.send("event plain ALL").text == "+OK third"


def test_the_callers_own_timeout_keeps_replies_in_step(connected):
    """A gevent.Timeout of the caller ends a wait and keeps the conversation in step."""
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
        connected.session.send("linger")
    connected.says(ERR, OK)
    assert connected.session.send("linger").ok


def test_a_peer_that_does_not_read_times_out(make_peer):
    """A command that cannot be written in time ends the session."""
    peer = make_peer(command_timeout_s=0.1)
    peer.session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with pytest.raises(EslTimeout):
        peer.session.request(*(Execute("set", "a" * 8000) for _ in range(500)))
    assert not peer.session.connected
    with pytest.raises(SessionGone):
        peer.session.send("linger")


@pytest.mark.parametrize("ends", [b"", GOODBYE])
def test_the_end_of_the_connection_wakes_every_wait(connected, ends):
    """At the end of the connection queued events are returned first, then every call raises SessionGone."""
    connected.says(event("CHANNEL_HANGUP_COMPLETE", Hangup_Cause="USER_BUSY"), ends)
    connected.sock.shutdown(socket.SHUT_WR)
    with gevent.Timeout(10):
        assert connected.session.next_event(None)["Hangup-Cause"] == "USER_BUSY"
        for use in (
            lambda: connected.session.next_event(None),
            lambda: connected.session.send("linger"),
            lambda: connected.session.execute("bridge", "x"),
            lambda: connected.session.wait_complete("e-1", 5),
            lambda: connected.session.hangup("USER_BUSY"),
        ):
            with pytest.raises(SessionGone):
                use()


def test_the_end_inside_a_frame_is_refused(connected):
    """A connection that ends inside a frame raises FrameRejected, not a spin."""
    connected.says(b"Content-Type: api/response\nContent-Length: 100\n\nabc")
    connected.sock.shutdown(socket.SHUT_WR)
    with gevent.Timeout(10), pytest.raises(FrameRejected):
        connected.session.send("api status")


def test_a_reset_connection_is_gone(connected):
    """A connection the peer resets raises SessionGone."""
    connected.sock.close()
    with pytest.raises(SessionGone):
        connected.session.request("linger")


def test_what_was_received_outlives_a_failed_write(connected):
    """When FreeSWITCH closed while we write, the events it had sent are still returned."""
    connected.says(event("CHANNEL_HANGUP_COMPLETE", Hangup_Cause="USER_BUSY"))
    connected.sock.close()
    with pytest.raises(SessionGone):
        connected.session.send("linger")
    assert not connected.session.connected
    assert connected.session.next_event(1)["Hangup-Cause"] == "USER_BUSY"
    with pytest.raises(SessionGone):
        connected.session.next_event(1)


def test_linger_lets_events_come_and_refuses_commands(connected):
    """After the linger notice events still come, and no application is sent any more."""
    connected.says(LINGER, event("CHANNEL_HANGUP_COMPLETE"), GOODBYE)
    assert connected.session.next_event(1).name == "CHANNEL_HANGUP_COMPLETE"
    assert connected.session.lingering
    for use in (
        lambda: connected.session.execute("bridge", "x"),
        connected.session.hangup,
        connected.session.uuid_break,
    ):
        with pytest.raises(SessionGone):
            use()
    with pytest.raises(SessionGone):
        connected.session.raise_if_disconnected()


def test_close_wakes_a_waiting_greenlet(connected):
    """Closing from another greenlet ends a wait with SessionGone."""
    waiting = gevent.spawn(connected.session.next_event, None)
    gevent.sleep(0)
    connected.session.close()
    with pytest.raises(SessionGone):
        waiting.get(timeout=10)
    connected.session.close()
    assert connected.hears() == ["exit"]


UNSAFE = ["a\nb", "a\rb", "a\0b", "a\x7fb", "\n", " ", "a" * 9000, "\ud800"]


@pytest.mark.parametrize("text", UNSAFE, ids=ascii)
def test_unsafe_arguments_are_never_sent(connected, text):
    """A control character, an overlong or an unencodable argument is refused before a byte leaves."""
    session = connected.session
    for use in (
        lambda: session.execute("bridge", text),
        lambda: session.execute(text),
        lambda: session.hangup(text),
        lambda: session.send(text),
        lambda: session.request("linger", text),
        lambda: session.request(Execute("bridge", "x", text)),
        lambda: session.request(Hangup(text)),
        lambda: session.call_command("bridge", text),
        lambda: session.call_command(text),
        lambda: session.bridge(text),
        lambda: session.playback(text),
    ):
        with pytest.raises(UnsafeArgument) as refused:
            use()
        assert text.strip() == "" or text not in str(refused.value)
    assert not session.commanded
    session.close()
    assert connected.hears() == ["exit"]


def test_a_reply_that_is_not_encoded_is_never_asked_for(connected):
    """``getvar``, whose reply could hold a forged frame, is refused."""
    with pytest.raises(UnsafeArgument):
        connected.session.send("getvar sip_h_X-Note")


def test_every_public_name_of_the_base_class_is_accounted_for(peer):
    """Each public name of stock OutboundSession is safe here or raises UnsafeMethod; a new one fails this test."""
    public = {name for name in dir(OutboundSession) if not name.startswith("_")}
    inherited = {name for name in public if getattr(Session, name) is getattr(OutboundSession, name)}
    assert inherited == {"while_connected"}  # built on raise_if_disconnected, which is ours
    raising = set()
    session = peer.session
    for name in public - inherited:
        member = inspect.getattr_static(Session, name)
        if getattr(member, "__qualname__", "").startswith("_unsafe"):
            with pytest.raises(UnsafeMethod):
                getattr(session, name)("x")
            raising.add(name)
    assert raising == {
        *("start_event_handlers", "register_handle", "unregister_handle", "receive_events", "process_events"),
        *("handle_event", "on_event", "on_hangup", "on_disconnect", "register_expected_event"),
        *("play_and_get_digits", "say"),
    }


COMMANDS = {
    "linger": (lambda s: s.linger(), "linger"),
    "linger 5": (lambda s: s.linger(5), "linger 5"),
    "myevents": (lambda s: s.myevents(), "myevents"),
    "uuid_break": (lambda s: s.uuid_break(), "api uuid_break u-1"),
    "hangup": (lambda s: s.hangup("USER_BUSY"), "sendmsg\ncall-command: hangup\nhangup-cause: USER_BUSY"),
    "send": (lambda s: s.send("nolinger"), "nolinger"),
}


@pytest.mark.parametrize(("use", "sent"), COMMANDS.values(), ids=COMMANDS.keys())
def test_the_base_classes_commands(connected, use, sent):
    """The names greenswitch offers send what they say."""
    connected.says(OK)
    use(connected.session)
    assert connected.hears() == [sent]


@pytest.mark.parametrize("app", ["answer", "park", "bridge", "playback"])
def test_the_base_classes_applications(connected, app):
    """The applications greenswitch offers are executed, and waited for within bounds."""
    session = connected.session
    connected.says(OK)
    uses = {
        "answer": session.answer,
        "park": session.park,
        "bridge": lambda: session.bridge("x", block=False),
        "playback": lambda: session.playback("x", block=False),
    }
    uses[app]()
    assert f"execute-app-name: {app}" in connected.hears()[0]
    assert session.commanded


def test_a_blocking_bridge_returns_its_end(connected):
    """A blocking bridge returns the completion event of that very bridge."""

    def answer():
        sent = connected.hears()[0]
        event_uuid = sent.split("Event-UUID: ")[1].split("\n")[0]
        connected.says(OK, event("CHANNEL_EXECUTE_COMPLETE", Application="bridge", Application_UUID=event_uuid))

    answering = gevent.spawn(answer)
    assert connected.session.bridge("x", response_timeout=2)["Application"] == "bridge"
    answering.get()


@pytest.mark.parametrize("name", esl_transcripts.NAMES)
def test_a_recorded_conversation_ends_with_its_cause(peer, name):
    """Replayed recordings end in HANGUP_COMPLETE with a cause and then SessionGone."""
    replay = gevent.spawn(peer.says, *esl_transcripts.frames(name))
    replay.link(lambda _: peer.sock.shutdown(socket.SHUT_WR))
    peer.session.connect()
    events = []
    with gevent.Timeout(5), pytest.raises(SessionGone):  # noqa: PT012 - the last of many reads raises
        while True:
            events.append(peer.session.next_event(None))
    assert events[-1].name == "CHANNEL_HANGUP_COMPLETE"
    assert events[-1]["Hangup-Cause"]


def test_every_error_of_the_room_is_ours():
    """Whatever a session raises is a ShieldError with an id."""
    for error in (SessionGone, FrameRejected, CommandRefused, EslTimeout, UnsafeArgument, UnsafeMethod):
        assert issubclass(error, ShieldError)
        assert error.error_id.startswith("esl.")
