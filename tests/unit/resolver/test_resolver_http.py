"""Bounded reading of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.errors.resolver import RequestRejected
from esl_shield.http.messages import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, RequestReader, reply

BODY = b"permit=00&token=1"
POST = (
    b"POST /redeem HTTP/1.1\r\nHost: 127.0.0.1:8090\r\nAuthorization: Bearer abc\r\nUser-Agent: curl/8\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 17\r\n\r\n" + BODY
)


def read(data: bytes):
    reader = RequestReader()
    reader.feed(data)
    return reader.next_request()


def test_a_request_arrives_whole_however_it_was_cut():
    """At every offset of the cut the same request comes out, once, and not before its last byte."""
    for cut in range(1, len(POST)):
        reader = RequestReader()
        reader.feed(POST[:cut])
        assert reader.next_request() is None
        reader.feed(POST[cut:])
        request = reader.next_request()
        assert (request.method, request.target, request.body) == ("POST", "/redeem", BODY)
        assert request.headers["authorization"] == "Bearer abc"
        assert "user-agent" not in request.headers
        assert request.keep_alive
        assert reader.is_empty


def test_requests_sent_together_come_one_by_one():
    """Two requests in one write are two requests."""
    reader = RequestReader()
    reader.feed(POST + POST)
    assert reader.next_request().body == BODY
    assert reader.next_request().body == BODY
    assert reader.next_request() is None


def test_nothing_of_a_request_shows_in_its_representation():
    """What a caller sent is not in the request's repr."""
    assert "permit" not in repr(read(POST))
    assert "abc" not in repr(read(POST))


@pytest.mark.parametrize(
    ("request_line", "header", "keeps"),
    [
        (b"GET / HTTP/1.1", b"", True),
        (b"GET / HTTP/1.1", b"Connection: close\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: Keep-Alive, Close\r\n", False),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: keep-alive\r\n", False),
    ],
)
def test_a_connection_is_kept_only_when_both_want_it(request_line, header, keeps):
    """HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 never does."""
    assert read(request_line + b"\r\n" + header + b"\r\n").keep_alive is keeps


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET /\r\n\r\n", "malformed"),
        (b"GET / HTTP/2.0\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1 \r\n\r\n", "malformed"),
        (b"get / HTTP/1.1\r\n\r\n", "malformed"),
        (b"GET /\xc3\xbc HTTP/1.1\r\n\r\n", "malformed"),
        (b"GET  / HTTP/1.1\r\n\r\n", "malformed"),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nNo colon\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nSpace : x\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nFolded: x\r\n y\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nBare: x\ny\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nNul: \x00\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nAuthorization: a\r\nauthorization: b\r\n\r\n", "malformed"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "malformed"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "malformed"),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "malformed"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", "malformed"),
        (b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", "malformed"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed"),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), "body_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n", "head_too_large"),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD_BYTES, "head_too_large"),
        (b"A" * MAX_HEAD_BYTES, "head_too_large"),
    ],
)
def test_what_is_not_plainly_a_request_is_rejected(data, reason):
    """Nothing is guessed: two parsers must not disagree about where a request ends."""
    with pytest.raises(RequestRejected) as caught:
        read(data)
    assert caught.value.reason == reason


@given(st.lists(st.binary(max_size=200), max_size=60))
def test_random_bytes_never_grow_the_reader_or_break_it(pieces):
    """Whatever comes, the reader rejects it, waits, or reads a request; it never holds more than its bounds."""
    reader = RequestReader()
    for piece in pieces:
        reader.feed(piece)
        assert len(reader._buffer) < MAX_HEAD_BYTES + MAX_BODY_BYTES + 200
        try:
            while reader.next_request():
                pass
        except RequestRejected:
            return


@given(st.binary(max_size=MAX_BODY_BYTES))
def test_a_body_within_bounds_comes_out_as_it_was_sent(body):
    """Every byte value may be in a body; the form's grammar is checked later."""
    assert read(b"POST /redeem HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)).body == body


def test_a_reply_holds_nothing_that_changes():
    """No date, no server, no version: equal answers are equal bytes, and none may be stored on the way."""
    assert reply("404 Not Found", b"refused", close=True) == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n"
        b"Cache-Control: no-store\r\nConnection: close\r\n\r\nrefused"
    )
