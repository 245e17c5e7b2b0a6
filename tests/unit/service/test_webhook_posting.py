"""One post to a real receiver that answers, dawdles, breaks off or is not there."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from webhook_receiver import TAKEN, Receiver

from esl_shield.service.webhooks import posting
from esl_shield.service.webhooks.posting import Outcome, Post

BODY = b'{"type":"call.ended"}'
NEVER_S = 30.0


def receiver_of(url, timeout_s=5.0):
    return posting.Receiver(url, ssl.create_default_context(), timeout_s)


def post(url, headers=None, timeout_s=5.0, ca=None):
    made = posting.Receiver(url, ssl.create_default_context(cafile=ca), timeout_s)
    with contextlib.closing(made):
        return Post(made, BODY, headers or {}).run()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (TAKEN, Outcome()),
        ((200, {}, b"x" * 100_000), Outcome()),
        ((301, {"Location": "http://127.0.0.1:9/"}, b""), Outcome("redirect")),
        ((400, {}, b"no"), Outcome("client_error")),
        ((404, {}, b""), Outcome("not_found")),
        ((410, {}, b""), Outcome("gone")),
        ((401, {}, b""), Outcome("unauthorized")),
        ((429, {"Retry-After": "7"}, b""), Outcome("too_many_requests", unwell=True, retry_after_s=7.0)),
        ((429, {"Retry-After": "9" * 40}, b""), Outcome("too_many_requests", unwell=True)),
        ((503, {"Retry-After": "soon"}, b""), Outcome("server_error", unwell=True)),
        ((500, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b""), Outcome("server_error", unwell=True)),
    ],
    ids=["204", "200 long", "301", "400", "404", "410", "401", "429", "429 absurd", "503 words", "500 long ago"],
)
def test_every_answer_has_its_outcome(answer, outcome):
    """2xx is taken; what is the receiver's own trouble is told from an event it does not want; nothing is followed."""
    with Receiver(lambda *_: answer) as receiver:
        assert post(receiver.url, {"webhook-id": "evt_1"}) == outcome
    ((headers, body),) = receiver.requests
    assert (body, headers["webhook-id"], headers["content-type"]) == (BODY, "evt_1", "application/json")


def test_a_connection_is_kept_and_replaced_when_the_receiver_closed_it():
    """Two posts use one connection; after the receiver closed it the next is posted over a new one."""
    with Receiver() as receiver, contextlib.closing(receiver_of(receiver.url)) as kept:
        outcomes = [Post(kept, BODY, {}).run() for _ in range(3)]
        assert (outcomes, receiver.connections) == ([Outcome()] * 3, 1)
        (connection,) = kept._idle
        connection._handle.shutdown(socket.SHUT_RDWR)
        assert (Post(kept, BODY, {}).run(), receiver.connections) == (Outcome(), 2)


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        (b"", "answer_malformed"),
        (b"nonsense\r\n\r\n", "answer_malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "answer_malformed"),
    ],
    ids=["closes", "no HTTP", "200 headers"],
)
def test_what_is_no_answer_is_the_receivers_trouble(says, problem):
    """A receiver that closes, talks nonsense or breaks off is tried again later."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        outcome = post(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    assert outcome.unwell
    assert outcome.problem in (problem, "connection_broken")


def test_nobody_there():
    """A refused connection and a name nobody knows have a word each."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/") == Outcome("connection_refused", unwell=True)
    assert post("https://nobody.invalid/") == Outcome("name_unknown", unwell=True)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_dawdles_is_ended_from_outside(scheme):
    """One that accepts and sends nothing, not even its part of a handshake, is left when the attempt is aborted."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attempt = Post(receiver_of(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/", NEVER_S), BODY, {})
        outcomes = []
        thread = threading.Thread(target=lambda: outcomes.append(attempt.run()), daemon=True)
        began = time.monotonic()
        thread.start()
        client, _ = listener.accept()
        with client:
            client.recv(1)
            attempt.abort()
            thread.join(NEVER_S)
        assert outcomes == [Outcome("timeout", unwell=True)]
        assert time.monotonic() - began < NEVER_S / 2


def test_the_time_out_holds_while_nothing_comes():
    """Without an abort a silent receiver costs the time-out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert post(url, timeout_s=0.2) == Outcome("timeout", unwell=True)


def test_a_certificate_that_does_not_hold_is_refused(tmp_path):
    """To a receiver whose certificate nobody vouches for nothing is posted."""
    chain = certificate(tmp_path)
    with Receiver(tls=chain) as receiver:
        assert post(receiver.url) == Outcome("tls_failed", unwell=True)
        assert receiver.requests == []
        assert post(receiver.url, ca=chain[0]) == Outcome()
        assert post(receiver.url.replace("127.0.0.1", "localhost"), ca=chain[0]) == Outcome("tls_failed", unwell=True)


def certificate(folder):
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(paths[0]), str(paths[1])
