"""The API's server before callers that are slow, wrong or too many; over real sockets."""

from __future__ import annotations

import logging

import gevent
import pytest
from gevent import socket

from esl_shield.api.server import MAX_HEAD_BYTES, Server
from esl_shield.config.api import ApiConfig
from esl_shield.config.values import Address

SECRET = b"+8613800138777"


def application(environ, start_response):
    """Echo how long a body is, fail at /fail, stream at /stream and break off at /break."""
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError(SECRET)
    if path == "/unread":
        start_response("200 OK", [("Content-Length", "0")])
        return []
    body = environ["wsgi.input"].read(5000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/break":
        return broken()
    return [str(len(body)).encode()]


def broken():
    """Begin an answer and fail."""
    yield b"begun"
    raise RuntimeError(SECRET)


@pytest.fixture
def serve():
    """Start servers; they are drained at the end."""
    servers = []

    def start(**limits):
        wanted = {"listen": Address("127.0.0.1", 0), "read_timeout_s": 5.0, "max_connections": 8} | limits
        server = Server(ApiConfig(**wanted), application)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.drain(1.0)


def say(server, data, *, end=False):
    """Everything a server answers to bytes until it closes, or is silent for a moment."""
    with socket.create_connection((server.where.host, server.where.port)) as sock:
        sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        got = b""
        with gevent.Timeout(5.0):
            while data := sock.recv(65536):
                got += data
    return got


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
REFUSED = {
    "no-request": SECRET + b"\r\n\r\n", "http-0.9": b"GET /\r\n\r\n", "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case": b"get / HTTP/1.1\r\n\r\n", "no-colon": GET + SECRET + b"\r\nContent-Length: 3\r\n\r\nabc",
    "folded": GET + b"X-A: b\r\n c\r\n\r\n", "two-lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "length-and-coding": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "other-coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "negative": POST + b"Content-Length: -1\r\n\r\n", "no-digits": POST + b"Content-Length: 3x\r\n\r\nabc",
    "plus": POST + b"Content-Length: +3\r\n\r\nabc", "underscore": POST + b"Content-Length: 1_0\r\n\r\nabc",
    "two-keys": GET + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "long-head": GET + b"X-A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "many-headers": GET + b"X-A: b\r\n" * 200 + b"\r\n", "long-target": b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
    "bare-cr": POST + b"X-A: a\rContent-Length: 3\r\n\r\nabc", "cr-cr-lf": POST + b"X-A: a\r\r\n\r\n",
    "cr-at-target": b"GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", "nul": GET + b"X-A: a\0b\r\n\r\n",
    "nul-in-name": GET + b"X-\0A: b\r\n\r\n",
    "bad-chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + SECRET + b"\r\n0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_no_plain_request_is_refused_and_closed(serve, case, capfd, caplog):
    """One 400 (414 for a long line), the connection ends, and nothing of it is written anywhere."""
    caplog.set_level(logging.DEBUG)
    got = say(serve(), REFUSED[case])
    assert got.split(b" ")[1] in (b"400", b"414"), got
    assert got.count(b"HTTP/1.1 ") == 1
    written = got.decode() + "".join(capfd.readouterr()) + caplog.text
    assert SECRET.decode() not in written
    assert "Traceback" not in written


def test_requests_on_one_connection_are_answered_in_order(serve):
    """Bodies with a length and chunked ones are told apart from what follows."""
    chunked = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    got = say(serve(), chunked + b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" + POST + b"\r\n")
    assert got.count(b"HTTP/1.1 200 OK") == 3
    assert got.rstrip(b"\r\n0").endswith(b"1\r\n") or b"3" in got


def test_a_body_nobody_read_is_not_taken_for_a_request(serve):
    """What follows an unread body is not looked at: the connection ends."""
    hidden = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    got = say(serve(), b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + hidden)
    assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("sent", [b"GET / HT", GET, b"P"], ids=["line", "head", "byte"])
def test_a_head_that_does_not_come_is_waited_for_no_longer_than_allowed(serve, sent):
    """A caller that sends a byte and no more is cut off, however it began."""
    assert say(serve(read_timeout_s=0.1), sent) == b""


def test_a_caller_too_many_is_told_so_and_of_twice_as_many_none_is_heard(serve):
    """Beyond the connections there is room for the answer is 503, then nothing."""
    server = serve(max_connections=2, read_timeout_s=30.0)
    held = [socket.create_connection((server.where.host, server.where.port)) for _ in range(2)]
    gevent.sleep(0)
    assert say(server, GET + b"\r\n").startswith(b"HTTP/1.1 503")
    for sock in held:
        sock.close()


def test_who_is_not_on_the_list_is_not_heard(serve):
    """A connection from another address than allowed is closed unread."""
    server = serve(allow=("192.0.2.0/24",))
    try:
        got = say(server, GET + b"\r\n")
    except ConnectionResetError:
        got = b""
    assert got == b""


@pytest.mark.parametrize("path", [b"/fail", b"/break"], ids=["before", "midway"])
def test_a_failure_shows_its_place_and_nothing_else(serve, path, capfd):
    """Before the answer began it is a 500 of ours; midway the connection breaks off without the last chunk."""
    got = say(serve(), b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    if path == b"/fail":
        assert got.startswith(b"HTTP/1.1 500")
        assert b"api.unexpected" in got
    else:
        assert b"begun" in got
        assert not got.endswith(b"0\r\n\r\n")
    assert SECRET not in got
    assert SECRET.decode() not in "".join(capfd.readouterr())


def test_a_drain_ends_idle_connections_at_once_and_lets_others_finish(serve):
    """A kept connection is closed; nobody new is accepted."""
    server = serve()
    with socket.create_connection((server.where.host, server.where.port)) as kept:
        kept.sendall(GET + b"\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        gevent.sleep(0)
        with gevent.Timeout(3.0):
            server.drain(60.0)
            while kept.recv(4096):
                pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.where.host, server.where.port))


def test_a_listener_that_was_handed_over_is_used():
    """A supervisor's socket, bound before, is the one callers reach."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    server = Server(ApiConfig(listen=Address("127.0.0.1", 0)), application, listener=listener)
    server.start()
    try:
        assert server.where.port == listener.getsockname()[1]
        assert say(server, POST + b"Content-Length: 0\r\n\r\n").startswith(b"HTTP/1.1 200")
    finally:
        server.drain(1.0)
