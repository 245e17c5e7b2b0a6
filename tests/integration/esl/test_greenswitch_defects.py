"""Each known defect of stock greenswitch 0.0.19, shown on stock and shown to be gone here.

Stock runs in a process of its own with a hard time limit, because some defects freeze the process. Ours meets the same
bytes: every test asserts both sides.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import time
from urllib.parse import quote

import esl_transcripts
import gevent
import pytest
from esl_worker import KEEP, Worker
from gevent import socket

from esl_shield.errors.freeswitch import FrameRejected, SessionGone, UnsafeArgument
from esl_shield.esl.double import Agent, Call, play
from esl_shield.esl.session import Execute, Session

CONNECTED = b"Event-Name: CHANNEL_DATA\nUnique-ID: u-1\nvariable_uuid: u-1\nCaller-Caller-ID-Number: 1001\n"
CONNECTED += b"Content-Type: command/reply\nReply-Text: %2BOK%0A\n\n"
OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"

PREAMBLE = """
    import json, logging, sys, time
    import gevent
    from gevent import socket
    from greenswitch.esl import ESLEvent, OutboundESLServer, OutboundSession
    CONNECTED, OK = {connected!r}, {ok!r}

    def pair():
        theirs, ours = socket.socketpair()
        return theirs, OutboundSession(("127.0.0.1", 1), ours)

    def within(seconds, function, *arguments):
        try:
            with gevent.Timeout(seconds):
                return repr(function(*arguments))
        except gevent.Timeout:
            return "hung"
        except Exception as error:
            return type(error).__name__

    def report(**values):
        print(json.dumps(values), flush=True)
        import os
        os._exit(0)

    print("begun", flush=True)
"""


def stock(script, timeout_s=20.0):
    """Run stock greenswitch; returns what it reported, or None when it froze and had to be killed."""
    code = textwrap.dedent(PREAMBLE).format(connected=CONNECTED, ok=OK) + textwrap.dedent(script)
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as expired:
        if expired.stdout != b"begun\n":
            raise
        return None
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode().splitlines()[-1])


@pytest.fixture
def ours():
    """Make sessions of ours over socket pairs: (peer, session)."""
    made = []

    def make(**options):
        theirs, mine = socket.socketpair()
        theirs.settimeout(5)
        session = Session(mine, None, **{"keep": KEEP, "command_timeout_s": 2.0} | options)
        made.append((theirs, session))
        return theirs, session

    yield make
    for theirs, session in made:
        session.close()
        theirs.close()


@pytest.mark.parametrize("separator", ["%0A", "%E2%80%A8"])
def test_a_line_end_inside_a_value_forges_headers(ours, separator):
    """Stock lets a phone's header name another user and another channel; here it stays one header's value."""
    frame = esl_transcripts.frames("agent-injects-headers")[0].replace(b"%0Avar", separator.encode() + b"var")
    frame = frame.replace(b"%0AUnique", separator.encode() + b"Unique")
    seen = stock(
        f"""
        peer, session = pair()
        peer.sendall({frame!r})
        session.connect()
        report(user=session.session_data["variable_user_name"], channel=session.session_data["Unique-ID"])
        """
    )
    assert seen == {"user": "supervisor", "channel": "deadbeef"}
    peer, session = ours()
    peer.sendall(frame)
    data = session.connect()
    assert (data["variable_user_name"], len(data["Unique-ID"])) == ("1001", 36)


def test_an_end_inside_a_body_freezes_the_process(ours):
    """Stock spins for ever, taking every other call with it; here that session ends."""
    frame = b"Content-Type: api/response\nContent-Length: 100\n\nabc"
    seen = stock(
        f"""
        logging.disable(logging.CRITICAL)
        peer, session = pair()
        gevent.spawn(session.send, "api status")
        peer.sendall({frame!r})
        peer.shutdown(socket.SHUT_WR)
        gevent.sleep(0.2)
        report(alive=True)
        """,
        timeout_s=4.0,
    )
    assert seen is None
    peer, session = ours()
    peer.sendall(frame)
    peer.shutdown(socket.SHUT_WR)
    with gevent.Timeout(10), pytest.raises(FrameRejected):
        session.send("api status")


def test_the_end_of_the_connection_leaves_a_command_waiting(ours):
    """Stock's pending command never learns of the end; here it raises at once."""
    seen = stock(
        """
        peer, session = pair()
        gevent.spawn_later(0.05, peer.close)
        report(outcome=within(2, session.send, "linger"))
        """
    )
    assert seen == {"outcome": "hung"}
    peer, session = ours()
    peer.close()
    with gevent.Timeout(10), pytest.raises(SessionGone):
        session.send("linger")


def test_aborted_calls_keep_their_slots(serve):
    """Stock counts fifty aborted calls as fifty active ones; here every slot is free again."""
    seen = stock(
        """
        class App:
            def __init__(self, session):
                self.session = session
            def run(self):
                self.session.send("linger")

        server = OutboundESLServer("127.0.0.1", list(range(28300, 28400)), App, max_connections=50)
        gevent.spawn(server.listen)
        gevent.sleep(0.1)
        socks = [socket.create_connection(("127.0.0.1", server.bound_port)) for _ in range(50)]
        for sock in socks:
            assert sock.recv(100) == b"connect\\n\\n"
            sock.sendall(CONNECTED)
        for sock in socks:
            sock.recv(100)
            sock.close()
        gevent.sleep(2.5)
        report(active=server.connection_count)
        """
    )
    assert seen == {"active": 50}

    def handle(session):
        session.connect()
        session.linger()

    server = serve(handle, max_calls=50)
    socks = [socket.create_connection(server.address) for _ in range(50)]
    for sock in socks:
        assert sock.recv(100) == b"connect\n\n"
        sock.sendall(CONNECTED)
    for sock in socks:
        sock.recv(100)
        sock.close()
    assert server.wait_idle(2) == 0
    assert server.active == 0


@pytest.mark.parametrize(
    "frame",
    [
        b"Reply-Text: +OK\n\n",
        b"Content-Type: text/event-plain\n\n",
        b"Content-Type: command/reply\nReply-Text: \xc4\xe3\n\n",
    ],
    ids=["no Content-Type", "no Content-Length", "not UTF-8"],
)
def test_a_malformed_frame_kills_the_reader_silently(ours, frame):
    """Stock's reader dies and nobody hears of it, so commands wait for ever; here the session ends with a reason."""
    seen = stock(
        f"""
        sys.stderr = open("/dev/null", "w")
        peer, session = pair()
        peer.sendall({frame!r})
        gevent.spawn_later(0.1, peer.sendall, OK)
        report(outcome=within(2, session.send, "linger"))
        """
    )
    assert seen == {"outcome": "hung"}
    peer, session = ours()
    peer.sendall(frame + OK)
    with gevent.Timeout(10), pytest.raises(FrameRejected):
        session.send("linger")
    assert not session.connected


def test_a_long_command_is_cut_short(ours):
    """Stock writes as much as the socket takes and forgets the rest; here everything arrives."""
    size = 4_000_000
    seen = stock(
        f"""
        peer, session = pair()
        session.sock.setblocking(False)
        gevent.spawn(session.send, "a" * {size})
        gevent.sleep(0.1)
        peer.settimeout(0.5)
        got = 0
        try:
            while data := peer.recv(65536):
                got += len(data)
        except TimeoutError:
            pass
        report(got=got)
        """
    )
    assert seen["got"] < size
    peer, session = ours()
    commands = [Execute("set", "a" * 8000, "e") for _ in range(500)]
    whole = sum(len(command.render()) + 2 for command in commands)
    sending = gevent.spawn(session.request, *commands)
    got = 0
    while got < whole:
        got += len(peer.recv(65536))
    assert (got, whole > size) == (whole, True)
    peer.close()
    with pytest.raises(SessionGone):
        sending.get(timeout=10)


def test_a_line_feed_in_an_argument_is_another_command(ours):
    """Stock sends a second command hidden in the first's argument; here nothing is sent."""
    argument = "/sounds/a.wav\\n\\nsendmsg\\ncall-command: hangup"
    seen = stock(
        f"""
        peer, session = pair()
        gevent.spawn(session.call_command, "playback", "{argument}")
        gevent.sleep(0.1)
        report(commands=peer.recv(4096).decode().split("\\n\\n")[:-1])
        """
    )
    assert len(seen["commands"]) == 2
    peer, session = ours()
    with pytest.raises(UnsafeArgument):
        session.call_command("playback", argument.replace("\\n", "\n"))
    session.close()
    assert peer.recv(4096) == b"exit\n\n"


HANDOFFS = """
    class App:
        entered = 0
        def __init__(self, session):
            self.session = session
        def run(self):
            App.entered += 1
            gevent.sleep(60)

    server = OutboundESLServer("127.0.0.1", list(range(28400, 28500)), App, max_connections=10)
    gevent.spawn(server.listen)
    gevent.sleep(0.1)
    address = ("127.0.0.1", server.bound_port)
"""


def test_accepting_is_polled(serve):
    """Stock looks for connections every 0.1 s; here one is answered at once."""
    delays = stock(
        HANDOFFS
        + """
    delays = []
    for count in range(10):
        gevent.sleep(0.013 * count)
        began = time.monotonic()
        sock = socket.create_connection(address)
        sock.recv(100)
        delays.append(time.monotonic() - began)
    report(delays=delays)
    """
    )["delays"]
    server = serve(Worker())
    ours_s = []
    for _ in delays:
        began = time.monotonic()
        sock = socket.create_connection(server.address)
        assert sock.recv(100) == b"connect\n\n"
        ours_s.append(time.monotonic() - began)
        sock.close()
    assert sorted(delays)[5] > 0.02
    assert sorted(ours_s)[5] < 0.02


def test_the_limit_is_counted_after_connect(serve):
    """Stock lets a hundred calls past a limit of ten; here ten are handled and ninety are answered otherwise."""
    seen = stock(
        HANDOFFS
        + """
    socks = [socket.create_connection(address) for _ in range(100)]
    for sock in socks:
        sock.recv(100)
    for sock in socks:
        sock.sendall(CONNECTED)
    gevent.sleep(0.5)
    report(entered=App.entered)
    """
    )
    assert seen["entered"] == 100
    entered = []

    def handle(session):
        session.connect()
        entered.append(session)
        session.next_event(5)

    server = serve(handle, max_calls=10)
    socks = [socket.create_connection(server.address) for _ in range(100)]
    for sock in socks:
        assert sock.recv(100) == b"connect\n\n"
        sock.sendall(CONNECTED)
    answers = [sock.recv(200) for sock in socks[10:]]
    assert (len(entered), server.active, server.counts["overflow"]) == (10, 10, 90)
    assert all(b"execute-app-arg: 503" in answer for answer in answers)
    for sock in socks:
        sock.close()


IDLE = """
    import gc
    def private_kib():
        gc.collect()
        with open("/proc/self/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(("Private_Clean", "Private_Dirty")))
    def greenlets():
        return sum(isinstance(o, gevent.Greenlet) and not o.dead for o in gc.get_objects())
    def idle(make, rest, count):
        pairs = []
        for _ in range(count):
            theirs, mine = socket.socketpair()
            session = make(mine)
            handling = gevent.spawn(lambda: (session.connect(), rest(session)))
            theirs.recv(100)
            theirs.sendall(CHANNEL_DATA)
            gevent.sleep(0.002)
            pairs.append((theirs, session, handling))
        return pairs
    def measure(make, rest):
        kept = idle(make, rest, 20)
        before, running = private_kib(), greenlets()
        kept += idle(make, rest, 300)
        report(kib=(private_kib() - before) / 300, greenlets=round((greenlets() - running) / 300))
"""


def test_every_call_costs_two_more_greenlets_and_all_its_headers():
    """Stock runs two polling greenlets beside each call's own and keeps every header; here there is the call's own."""
    script = f"    CHANNEL_DATA = {esl_transcripts.frames('bridge-answered')[0]!r}\n" + IDLE
    theirs = stock(script + "    measure(lambda s: OutboundSession(None, s), lambda session: gevent.sleep(1000))")
    ours = stock(
        script
        + """
    from esl_shield.esl.session import Session
    keep = frozenset(["Caller-Destination-Number", "variable_sip_auth_username", "variable_domain_name"])
    measure(lambda s: Session(s, None, keep=keep, command_timeout_s=5.0), lambda session: session.next_event(None))
    """
    )
    assert (theirs["greenlets"], ours["greenlets"]) == (3, 1)
    assert theirs["kib"] > 40
    assert ours["kib"] < 16


def test_a_failing_handler_logs_every_header(serve, caplog):
    """Stock writes all of an event's headers to the log; here only the exception's type and id."""
    event = b"Event-Name: CHANNEL_ANSWER\nvariable_secret: canary-in-a-header\n\n"
    frame = b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(event) + event
    seen = stock(
        f"""
        import io
        log = io.StringIO()
        logging.basicConfig(stream=log)
        peer, session = pair()
        def broken(event):
            raise ValueError
        session.register_handle("CHANNEL_ANSWER", broken)
        peer.sendall({frame!r})
        gevent.sleep(0.2)
        report(leaked="canary-in-a-header" in log.getvalue())
        """
    )
    assert seen == {"leaked": True}
    caplog.set_level(logging.DEBUG)

    def broken(session):
        raise ValueError(dict(session.connect()))

    agent = Agent(display="canary", headers={"X-Note": f"canary-in-a-header {quote(' ')}"})
    assert play(Call("70001234567893", agent=agent, max_s=5), serve(broken).address).status == 503
    assert "canary" not in caplog.text
    assert caplog.messages == ["a call's handler failed: ValueError -"]
