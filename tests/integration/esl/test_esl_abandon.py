"""What happens to the calls that a drain did not wait for."""

from __future__ import annotations

import gevent
from gevent import socket
from gevent.event import Event as Signal

from esl_shield.errors.freeswitch import SessionGone


class Told:
    """A handler that waits for events, or for anything else, and notes how it ended."""

    def __init__(self, wait):
        self.wait = wait
        self.endings = []

    def __call__(self, session):
        """Wait; note what ended the wait."""
        try:
            self.wait(session)
        except BaseException as error:
            self.endings.append(type(error))
            raise


def callers(server, count):
    """Connections whose handlers are waiting when this returns."""
    made = [socket.create_connection(server.address) for _ in range(count)]
    assert [sock.recv(64) for sock in made] == [b"connect\n\n"] * count
    return made


def test_every_handler_finds_out_that_its_session_is_closed(serve):
    """All calls that are left end as if FreeSWITCH had gone, which is told goodbye; nobody is left."""
    told = Told(lambda session: session.connect())
    server = serve(told, command_timeout_s=30.0)
    connections = callers(server, 5)
    assert server.drain(0.05) == 5
    assert server.abandon() == 0
    assert told.endings == [SessionGone] * 5
    for sock in connections:
        assert sock.recv(64) == b"exit\n\n"
        sock.close()


def test_a_handler_that_waits_for_something_else_is_ended(serve):
    """Whoever does not look at the socket within the time is stopped, and its ``finally`` runs."""
    never = Signal()

    def wait(session):
        gevent.spawn(session.connect)
        never.wait()

    told = Told(wait)
    server = serve(told, command_timeout_s=30.0)
    (connection,) = callers(server, 1)
    assert server.drain(0.05) == 1
    assert server.abandon(0.1) == 0
    assert told.endings == [gevent.GreenletExit]
    assert server.counts["ended"] == 1
    connection.close()


def test_without_calls_there_is_nothing_to_abandon(serve):
    """An idle server ends at once."""
    server = serve(Told(lambda session: session.connect()))
    assert server.drain(1) == 0
    assert server.abandon() == 0
