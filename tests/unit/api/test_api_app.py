"""The application's own refusals: bodies that come broken, parameters of the wrong form, callers that guess keys."""

from __future__ import annotations

import contextlib
import json
import logging
import time

import falcon.testing
import gevent
import pytest
from gevent import socket

from esl_shield.api import handlers
from esl_shield.api.app import Answer, application
from esl_shield.api.callers import new_key
from esl_shield.api.checking import Checker
from esl_shield.api.limits import Limits
from esl_shield.api.operations import OPERATIONS
from esl_shield.api.server import Server
from esl_shield.config.api import ApiConfig
from esl_shield.config.values import Address
from esl_shield.errors.api import ApiInvalid

CALL = "00000000-0000-4000-8000-000000000001"


def _application(handlers, limits=None):
    return application(
        handlers, limits=limits or Limits(1000, 1000), tokens=None, max_body_bytes=1000,
        reading=lambda: gevent.Timeout(0.2, TimeoutError()), observe=lambda *_: None,
    )  # fmt: skip


@pytest.fixture
def served():
    """A server whose tokeniser takes whatever body has the right form; and what reached it."""
    reached = []

    def tokenise(asked):
        reached.append(asked.raw)
        return Answer(201, {"token": "12345678", "created": True})

    server = Server(ApiConfig(listen=Address("127.0.0.1", 0)), _application({"tokenise": tokenise}))
    server.start()
    yield server, reached
    server.drain(1.0)


HEAD = (
    f"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {new_key()[0]}\r\nContent-Type: application/json\r\n"
).encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"number": "+442079460123"}'
BROKEN = {
    "minus": CHUNKED + b"-1\r\n\r\n", "hexadecimal": CHUNKED + b"0x0\r\n\r\n", "underscore": CHUNKED + b"0_0\r\n\r\n",
    "no-size": CHUNKED + b"\r\n\r\n", "extension-alone": CHUNKED + b";a=b\r\n\r\n", "letters": CHUNKED + b"zz\r\n\r\n",
    "huge": CHUNKED + b"1" * 20 + b"\r\n\r\n", "longer-than-said": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "bare-lf": CHUNKED + b"2\n{}\r\n0\r\n\r\n", "bad-trailer": CHUNKED + b"0\r\n: a\r\n\r\n",
    "second-chunk": CHUNKED + b"1b\r\n" + BODY + b"\r\n-1\r\n\r\n",
    "never-comes": HEAD + b"Content-Length: 9\r\n\r\n{}",
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_body_that_comes_broken_is_one_400_and_the_end(served, case, caplog):
    """No mistake of ours is logged, and what follows such a body is no request."""
    caplog.set_level(logging.DEBUG)
    server, reached = served
    with socket.create_connection((server.where.host, server.where.port)) as sock, gevent.Timeout(5.0):
        sock.sendall(BROKEN[case])
        got = b""
        while data := sock.recv(65536):
            got += data
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400"), got
    assert (json.loads(body)["error_id"], json.loads(body)["status"]) == ("api.bad_request", 400)
    assert got.count(b"HTTP/1.1 ") == 1
    assert not reached
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_chunked_body_is_read(served):
    """Chunks, an extension and a trailer make one body."""
    server, reached = served
    with socket.create_connection((server.where.host, server.where.port)) as sock, gevent.Timeout(5.0):
        sock.sendall(CHUNKED + b"5;a=b\r\n" + BODY[:5] + b"\r\n16\r\n" + BODY[5:] + b"\r\n0\r\nX-A: b\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 201")
    assert reached == [BODY]


PATHS = {
    "call": f"/v1/calls/{CALL}", "token": "/v1/tokens/12345678", "alias": "/v1/tokens/by-alias/C-1",
    "agent-filter": "/v1/calls?agent=1001", "token-filter": "/v1/calls?token=12345678",
    "alias-filter": "/v1/calls?alias=C-1", "cursor": "/v1/calls?cursor=abc", "state": "/v1/calls?state=LOST",
}  # fmt: skip


@pytest.mark.parametrize("more", ["%0A", "%00", "%0D%0A"], ids=["lf", "nul", "crlf"])
@pytest.mark.parametrize("case", PATHS, ids=str)
def test_a_parameter_is_all_of_its_form(case, more):
    """A value that goes on behind its form is refused before any handler is asked; without it, one is."""
    reached = []

    def handler(asked):
        reached.append(asked)
        return Answer(body={})

    handlers = dict.fromkeys(("call", "token", "token_by_alias", "calls"), handler)
    client = falcon.testing.TestClient(_application(handlers))
    headers = {"Authorization": f"Bearer {new_key()[0]}"}

    def ask(target):
        path, _, query = target.partition("?")
        return client.simulate_get(path, query_string=query, headers=headers)

    assert ask(PATHS[case]).status_code == 200
    refused = ask(PATHS[case] + more)
    assert (refused.status_code, refused.json["error_id"]) == (422, "api.invalid")
    assert len(reached) == 1


def test_an_export_that_takes_too_long_is_broken_off():
    """After its time an export ends without its last chunk: no reader holds a connection for as long as it likes."""
    now = iter(range(100))

    class Database:
        def call(self, *_):
            page = [{"id": CALL, "started_at": "2026-03-01T10:00:00Z"}] * handlers.EXPORT_PAGE
            return [("OK", page)]

    made = handlers.handlers(Database(), export_timeout_s=50.0, clock=lambda: next(now))
    server = Server(ApiConfig(listen=Address("127.0.0.1", 0)), _application(made))
    server.start()
    with contextlib.closing(socket.create_connection(tuple(server.address))) as caller:
        key = new_key()[0]
        caller.sendall(f"GET /v1/calls:export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        with gevent.Timeout(10):
            said = b"".join(iter(lambda: caller.recv(65536), b""))
    server.drain(1.0)
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.count(CALL.encode()) == 50
    assert not said.endswith(b"0\r\n\r\n")


def test_a_list_too_long_is_refused_before_its_items_are_looked_at():
    """A body of 60,000 rows costs no sixty times as much as one of the 1,000 that are allowed."""
    checker = Checker(next(operation for operation in OPERATIONS if operation.id == "tokenise_batch"))

    def cost(rows):
        raw = json.dumps({"rows": [{"number": "1"}] * rows}).encode()
        begun = time.process_time()
        with contextlib.suppress(ApiInvalid):
            checker.body(raw)
        return time.process_time() - begun

    assert min(cost(60_000) for _ in range(3)) < 20 * min(cost(1000) for _ in range(3))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_broken_off_export_never_looks_whole(version):
    """With HTTP/1.0, as an nginx asks by default, an end is all that says so: it is a reset there, no ordinary end."""
    now = iter(range(100))

    class Database:
        def call(self, *_):
            return [("OK", [{"id": CALL, "started_at": "2026-03-01T10:00:00Z"}] * handlers.EXPORT_PAGE)]

    made = handlers.handlers(Database(), export_timeout_s=5.0, clock=lambda: next(now))
    server = Server(ApiConfig(listen=Address("127.0.0.1", 0)), _application(made))
    server.start()
    head = f"GET /v1/calls:export HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {new_key()[0]}\r\n\r\n"
    said, ended = b"", "by the last chunk"
    with (
        contextlib.closing(socket.create_connection((server.where.host, server.where.port))) as caller,
        gevent.Timeout(10),
    ):
        caller.sendall(head.encode())
        try:
            said = b"".join(iter(lambda: caller.recv(65536), b""))
            ended = "by the last chunk" if version == "1.0" or said.endswith(b"0\r\n\r\n") else "broken off"
        except ConnectionResetError:
            ended = "broken off"
    server.drain(1.0)
    assert ended == "broken off"
