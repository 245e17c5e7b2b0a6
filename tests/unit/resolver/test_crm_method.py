"""The method crm against a real TLS server on loopback, well-behaved and not."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import traceback
import uuid
from pathlib import Path

import gevent
import pytest
from certificates import Authority
from crm_server import PATH, SECRET, CrmServer
from gevent import socket
from polling import at_most
from ports import free_port

from esl_shield.config.crm import CrmConfig
from esl_shield.errors.config import ConfigError
from esl_shield.errors.methods import MethodAway, MethodRefused
from esl_shield.resolver.methods import crmtalk
from esl_shield.resolver.methods.choice import Methods
from esl_shield.resolver.methods.crm import CrmMethod, CrmService
from esl_shield.resolver.methods.stored import StoredMethod
from esl_shield.resolver.permits import Redeemed
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.prefixes import TokenPrefix

TOKEN, FOREIGN, INVALID, UNKNOWN = (str(at) * 20 for at in (1, 2, 3, 4))
NUMBER = "+8613800138001"
PREFIX = TokenPrefix("bank", "1", "crm", 20, None, ("CN",))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("authority"))
    for name, host in (("crm", "DNS:localhost"), ("elsewhere", "DNS:elsewhere.example")):
        made.sign(name, host)
    made.sign("stranger", "DNS:localhost", authority="otherca")
    made.sign("resolver", "DNS:resolver")
    return made


@pytest.fixture
def start(authority):
    """Start servers; all stop at the end."""
    started = []

    def begin(certificate="crm", port=0, clients=None):
        context = authority.context(certificate)
        if clients:
            context.load_verify_locations(authority.folder / f"{clients}.pem")
            context.verify_mode = 2  # ssl.CERT_REQUIRED
        server = CrmServer(context, port)
        server.numbers = {TOKEN: NUMBER, FOREIGN: "+61491570006", INVALID: "+8611111"}
        started.append(server)
        return server

    yield begin
    for server in started:
        server.stop()


@pytest.fixture
def configured(authority):
    """Make a configuration for a server, with changes."""
    secret = authority.folder / "secret"
    if not secret.exists():
        secret.write_bytes(SECRET + b"\n")
        secret.chmod(0o400)

    def config(url, **changes):
        return CrmConfig(**{"tenant": "bank", "url": url, "secret": f"file:{secret}",
                            "ca": str(authority.folder / "ca.pem")} | changes)  # fmt: skip

    return config


@pytest.fixture
def service():
    """Make services' clients; all are closed at the end."""
    made = []

    def make(config):
        made.append(CrmService(config))
        return made[-1]

    yield make
    for client in made:
        client.close()


def asking(token=TOKEN):
    return Redeemed(uuid.uuid4(), 1, token, None, None)


def refused(asked, token=TOKEN, prefix=PREFIX):
    """What a request ends with that gives no number; nothing of the number is in it."""
    with pytest.raises((MethodAway, MethodRefused)) as caught:
        CrmMethod([asked]).number_of(asking(token), prefix)
    shown = "".join(traceback.format_exception(caught.value))
    assert NUMBER[3:] not in shown
    return caught.value.reason


def test_a_token_is_asked_for_and_its_number_given(start, configured, service):
    """The service is told token, call, tenant, time and a nonce, signed; two requests share one connection."""
    server = start()
    method = CrmMethod([service(configured(server.url))])
    calls = [asking(), asking()]
    assert [method.number_of(call, PREFIX) for call in calls] == [SubscriberNumber(NUMBER)] * 2
    assert server.connections == 1
    assert [(asked["token"], asked["tenant"], asked["call"]) for asked in server.asked] == [
        (TOKEN, "bank", str(call.call)) for call in calls
    ]
    assert {tuple(asked) for asked in server.asked} == {("call", "nonce", "tenant", "timestamp", "token")}
    assert len({asked["nonce"] for asked in server.asked}) == 2
    assert server.rejected == []


def test_the_documented_signatures():
    """The request and the answer printed in docs/methods.md carry the signatures we make."""
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    secret = b"0123456789abcdef0123456789abcdef"
    bodies = [line.encode() for line in page.splitlines() if line.startswith('{"')]
    asked = json.loads(bodies[0])
    request = crmtalk.sign(secret, "request", "POST", PATH, str(asked["timestamp"]), body=bodies[0])
    answer = crmtalk.sign(secret, "answer", "200", asked["nonce"], "1767225601", body=bodies[1])
    assert [page.count(f"X-Shield-Signature: {signature}\n") for signature in (request, answer)] == [1, 1]


def test_what_the_prefix_does_not_allow_is_refused(start, configured, service):
    """A number of another country, one that does not exist, and a token the service does not know are refused."""
    client = service(configured(start().url))
    reasons = [refused(client, token) for token in (FOREIGN, INVALID, UNKNOWN)]
    assert reasons == ["crm_not_allowed", "crm_not_allowed", "crm_unknown"]


MODES = {
    "unsigned": "signature", "other_secret": "signature", "replays": "signature", "other_question": "signature",
    "unsigned_unknown": "signature", "late": "clock", "redirects": "status", "error": "status", "text": "answer",
    "more": "answer", "national": "answer", "deep": "answer", "huge": "size", "endless": "size", "headers": "answer",
    "silent": "slow", "drips": "slow", "hangs_up": "away", "babbles": "answer",
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_exactly_right_is_no_answer(start, configured, service, mode):
    """Unsigned, replayed, late, oversized, slow or odd answers are none; afterwards a right one is taken again."""
    server = start()
    client = service(configured(server.url, timeout_s=0.8))
    assert client.ask(asking()) == SubscriberNumber(NUMBER)
    server.mode = mode
    with at_most(1):
        assert refused(client) == f"crm_{MODES[mode]}"
    server.mode = "well"
    assert client.ask(asking()) == SubscriberNumber(NUMBER)


def test_a_slow_service_holds_up_nobody_else(start, configured, service):
    """While an answer is waited for, other greenlets run, and the waiting ends after the time-out."""
    server = start()
    server.mode = "silent"
    ticks, began = [], time.monotonic()
    waiting = gevent.spawn(refused, service(configured(server.url)))
    with at_most(1):
        while not waiting.ready():
            gevent.sleep(0.01)
            ticks.append(1)
    assert waiting.get() == "crm_slow"
    assert time.monotonic() - began > 0.7
    assert len(ticks) > 10


def test_no_more_than_its_share_is_asked_at_once(start, configured, service):
    """Requests beyond max_requests are refused at once, so that a slow service takes no other's place."""
    server = start()
    server.mode = "silent"
    client = service(configured(server.url, max_requests=2, timeout_s=0.3))
    reasons = [job.get() for job in gevent.joinall([gevent.spawn(refused, client) for _ in range(5)])]
    assert sorted(reasons) == ["crm_busy"] * 3 + ["crm_slow"] * 2


@pytest.mark.parametrize(
    ("certificate", "reason"), [("elsewhere", "crm_certificate"), ("stranger", "crm_certificate")],
    ids=["another name", "another authority"],
)  # fmt: skip
def test_a_server_that_is_not_the_one_is_told_nothing(start, configured, service, certificate, reason):
    """A certificate of another name or authority ends the connection before the token is sent."""
    server = start(certificate)
    assert refused(service(configured(server.url))) == reason
    assert server.asked == []


def test_a_server_that_speaks_no_tls(configured, service):
    """Plain text where TLS should be is refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def speak():
        connection, _ = listener.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.recv(4096)
        connection.close()

    speaking = gevent.spawn(speak)
    try:
        assert refused(service(configured(f"https://localhost:{listener.getsockname()[1]}{PATH}"))) == "crm_tls"
    finally:
        speaking.kill()
        listener.close()


def test_a_client_certificate_is_shown_where_one_is_asked_for(start, configured, service, authority):
    """With certificate and key the service lets the resolver in, without it does not."""
    server = start(clients="ca")
    folder = authority.folder
    own = {"certificate": str(folder / "resolver.pem"), "key": f"file:{folder / 'resolver.key'}"}
    assert service(configured(server.url, **own)).ask(asking()) == SubscriberNumber(NUMBER)
    assert refused(service(configured(server.url))) in ("crm_tls", "crm_away")


def test_a_service_that_is_away_comes_back(start, configured, service):
    """Refused connections and a kept connection that was closed meanwhile are mended by the next request."""
    server = start()
    client = service(configured(server.url))
    assert client.ask(asking()) == SubscriberNumber(NUMBER)
    port = server.server_address[1]
    server.stop()
    assert refused(client) == "crm_away"
    again = start(port=port)
    again.mode = "then_closes"
    assert [client.ask(asking()) for _ in range(3)] == [SubscriberNumber(NUMBER)] * 3
    assert again.connections == 3


class OneToken:
    """The database as the choice of methods asks it."""

    def call(self, *_):
        return [("bank", "1", "crm", 20, None, ["CN"], [], ["mobile"])]


def test_a_breaker_spares_a_silent_service_and_lets_it_come_back(start, configured, service):
    """After five failures it is not asked for a while; then one request tries, and its success lets all through."""
    server = start()
    server.mode = "silent"
    method = CrmMethod([service(configured(server.url, timeout_s=0.5))])
    chosen = Methods(OneToken(), StoredMethod(None), [method], rest_s=1.0)
    reasons = []
    for _ in range(8):
        with pytest.raises(MethodAway) as caught:
            chosen.number_of(asking())
        reasons.append(caught.value.reason)
    assert reasons == ["crm_slow"] * 5 + ["method_open"] * 3
    asked, server.mode = len(server.asked), "well"
    deadline = time.monotonic() + 5
    while any(chosen.open_breakers.values()) and time.monotonic() < deadline:
        with contextlib.suppress(MethodAway):
            assert chosen.number_of(asking()) == SubscriberNumber(NUMBER)
    assert not any(chosen.open_breakers.values())
    assert len(server.asked) == asked + 1
    chosen.close()


def test_the_environments_proxies_are_not_used(start, configured, service, monkeypatch):
    """A proxy named in the environment sees no request."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert service(configured(start().url)).ask(asking()) == SubscriberNumber(NUMBER)


def test_nothing_is_logged(start, configured, service, caplog):
    """No log line is written by an answer, right or wrong: the resolver's own says enough."""
    caplog.set_level(logging.DEBUG)
    server = start()
    client = service(configured(server.url, timeout_s=0.4))
    for mode in ("well", "babbles", "text", "headers"):
        server.mode = mode
        with gevent.Timeout(10):
            try:
                client.ask(asking())
            except MethodAway:
                continue
    assert NUMBER[3:] not in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://localhost/x"}, {"url": "https://user:pw@localhost/x"}, {"url": "https://localhost/x?y"},
        {"url": "https:///x"}, {"url": "https://localhost"}, {"url": "https://localhost:x/y"}, {"secret": "plain"},
        {"secret": ""}, {"certificate": "x"}, {"key": "file:x"}, {"certificate": "x", "key": "x"}, {"timeout_s": 0.9},
        {"timeout_s": 0}, {"max_requests": 65},
    ],
    ids=[
        "no tls", "user", "query", "no host", "no path", "port", "secret in the file", "no secret", "no key",
        "no certificate", "key in the file", "slow", "no time", "many",
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_work_is_refused(configured, changes):
    """Each wrong value is one ValueError, which the file's reader turns into one sentence."""
    with pytest.raises(ValueError, match=r"\[?crm"):
        configured(**{"url": "https://localhost/x"} | changes)


def test_files_that_cannot_be_used_are_named(configured, authority):
    """A missing bundle, a key others can read and a foreign key are errors before anything is asked."""
    folder = authority.folder
    exposed = folder / "exposed.key"
    exposed.write_bytes((folder / "resolver.key").read_bytes())
    exposed.chmod(0o644)
    certificate = str(folder / "resolver.pem")
    for changes in (
        {"ca": str(folder / "nowhere.pem")},
        {"certificate": certificate, "key": f"file:{exposed}"},
        {"certificate": certificate, "key": f"file:{folder / 'crm.key'}"},
        {"secret": f"file:{folder / 'nowhere'}"},
    ):
        with pytest.raises(ConfigError, match=r"\[\[crm\]\]"):
            CrmService(configured("https://localhost/x", **changes))
