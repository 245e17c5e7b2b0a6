"""Forms, signatures and secrets."""

from __future__ import annotations

import hashlib
import hmac
import os

import pytest

from esl_shield import config
from esl_shield.config.resolver import ResolverConfig
from esl_shield.errors.config import ConfigError
from esl_shield.errors.resolver import CallerRejected, RequestRejected
from esl_shield.resolver.callers import Callers
from esl_shield.resolver.forms import RedeemForm

PERMIT = "0123456789abcdef0123456789abcdef"
FORM = RedeemForm(PERMIT, "10000000000007", "carrier")
EDGE, LUA = b"edge-secret-0123456789", b"lua-secret-9876543210"
NOW = 1_800_000_000


def callers(**changes) -> Callers:
    return Callers(**{"edge": EDGE, "lua": LUA, "clock_skew_s": 30, "clock": lambda: NOW + 0.5} | changes)


def signature(seconds: int = NOW, secret: bytes = LUA, message: str = f"{PERMIT}|10000000000007|carrier") -> str:
    return f"{seconds}.{hmac.new(secret, f'{seconds}|{message}'.encode(), hashlib.sha256).hexdigest()}"


def test_a_form_is_read_with_and_without_a_call():
    """The four fields arrive in any order; a Call-ID is optional and may be percent-encoded."""
    form = RedeemForm.parse(f"call=a%40b&token=10000000000007&gateway=carrier-1&permit={PERMIT}".encode())
    assert (form.permit, form.token, form.gateway, form.call) == (PERMIT, "10000000000007", "carrier-1", "a@b")
    assert RedeemForm.parse(f"permit={PERMIT}&token=10000000000007&gateway=g&call=".encode()).call == ""
    assert form.permit_hash == hashlib.sha256(bytes.fromhex(PERMIT)).digest()
    assert PERMIT not in repr(form)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"permit",
        f"permit={PERMIT}&token=10000000000007".encode(),
        f"permit={PERMIT.upper()}&token=10000000000007&gateway=g".encode(),
        f"permit={PERMIT}0&token=10000000000007&gateway=g".encode(),
        f"permit={PERMIT}%0a&token=10000000000007&gateway=g".encode(),
        f"permit={PERMIT}&token=1000&gateway=g".encode(),
        f"permit={PERMIT}&token=%D9%A1000000000000&gateway=g".encode(),
        f"permit={PERMIT}&token=10000000000007&gateway=".encode(),
        f"permit={PERMIT}&token=10000000000007&gateway=a%7Cb".encode(),
        f"permit={PERMIT}&token=10000000000007&gateway=g&gateway=g".encode(),
        f"permit={PERMIT}&token=10000000000007&gateway=g&extra=1".encode(),
        f"permit={PERMIT}&token=10000000000007&gateway=g&call=a+b".encode(),
        f"permit={PERMIT}&token=10000000000007&gateway=g&call={'a' * 129}".encode(),
        f"permit={PERMIT}&token=10000000000007&gateway=g&call=%ff".encode(),
        f"permit={PERMIT}&token=10000000000007&gateway=g&".encode(),
        b"permit=1&" * 100,
    ],
)
def test_a_form_that_is_not_exactly_right_is_rejected_without_its_content(body):
    """Missing, repeated, unknown and misspelt fields are one rejection that quotes nothing."""
    with pytest.raises(RequestRejected) as caught:
        RedeemForm.parse(body)
    assert caught.value.reason == "form"
    assert caught.value.__cause__ is None
    assert PERMIT not in str(caught.value)


def test_each_caller_stands_for_one_delivery():
    """The edge's secret means edge delivery, the script's signature direct delivery."""
    assert callers().delivery_of({"authorization": f"Bearer {EDGE.decode()}"}, FORM) == "edge"
    assert callers().delivery_of({"authorization": f"bearer {EDGE.decode()}"}, FORM) == "edge"
    assert callers().delivery_of({"x-shield-signature": signature()}, FORM) == "direct"
    assert callers().deliveries == {"edge", "direct"}
    assert callers(lua=None).deliveries == {"edge"}


@pytest.mark.parametrize("skew_s", [-30, 0, 30])
def test_clocks_may_differ_a_little(skew_s):
    """A signature is taken within the allowed skew on either side."""
    assert callers(clock=lambda: float(NOW + skew_s)).delivery_of({"x-shield-signature": signature()}, FORM) == "direct"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "unauthenticated"),
        ({"authorization": "Bearer wrong-secret-0123456"}, "bad_secret"),
        ({"authorization": f"Bearer {EDGE.decode()}x"}, "bad_secret"),
        ({"authorization": f"Bearer {EDGE.decode()[:-1]}"}, "bad_secret"),
        ({"authorization": f"Bearer {LUA.decode()}"}, "bad_secret"),
        ({"authorization": f"Basic {EDGE.decode()}"}, "bad_secret"),
        ({"authorization": EDGE.decode()}, "bad_secret"),
        ({"authorization": "Bearer "}, "bad_secret"),
        ({"authorization": "Bearer \xfc" + "x" * 20}, "bad_secret"),
        ({"authorization": f"Bearer {EDGE.decode()}", "x-shield-signature": signature()}, "ambiguous"),
        ({"x-shield-signature": signature(secret=EDGE)}, "bad_signature"),
        ({"x-shield-signature": signature(message=f"{PERMIT}|10000000000007|other")}, "bad_signature"),
        ({"x-shield-signature": signature(message=f"{PERMIT}|20000000000004|carrier")}, "bad_signature"),
        ({"x-shield-signature": signature(message=f"{'f' * 32}|10000000000007|carrier")}, "bad_signature"),
        ({"x-shield-signature": signature().replace(f"{NOW}.", f"{NOW + 1}.")}, "bad_signature"),
        ({"x-shield-signature": signature().upper()}, "bad_signature"),
        ({"x-shield-signature": signature()[:-1]}, "bad_signature"),
        ({"x-shield-signature": LUA.decode()}, "bad_signature"),
        ({"x-shield-signature": "9" * 400}, "bad_signature"),
        ({"x-shield-signature": signature(NOW - 31)}, "stale_signature"),
        ({"x-shield-signature": signature(NOW + 32)}, "stale_signature"),
    ],
)
def test_an_unproven_caller_is_rejected_by_class(headers, reason):
    """Missing, wrong, ambiguous, forged and old proofs are told apart for the metric only."""
    with pytest.raises(CallerRejected) as caught:
        callers().delivery_of(headers, FORM)
    assert caught.value.reason == reason


def test_a_caller_without_a_configured_secret_is_refused():
    """An empty configuration knows nobody, not even a caller with an empty secret."""
    nobody = callers(edge=None, lua=None)
    for headers in ({"authorization": "Bearer x"}, {"x-shield-signature": signature(secret=b"")}):
        with pytest.raises(CallerRejected):
            nobody.delivery_of(headers, FORM)


@pytest.fixture
def secret_file(tmp_path):
    def write(content: bytes, mode: int = 0o400, name: str = "secret") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(mode)
        return f"file:{path}"

    return write


def read(**secrets: str) -> Callers:
    return Callers.from_config(ResolverConfig(secrets=secrets))


@pytest.mark.parametrize("content", [EDGE, EDGE + b"\n", EDGE + b"\r\n"])
def test_a_secret_is_the_first_line_of_its_file(secret_file, content):
    """One line end is no part of the secret."""
    edge = read(edge=secret_file(content, 0o600))
    assert edge.delivery_of({"authorization": f"Bearer {EDGE.decode()}"}, FORM) == "edge"


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (EDGE, 0o440, "mode 0440"),
        (EDGE, 0o404, "mode 0404"),
        (EDGE, 0o620, "mode 0620"),
        (b"", 0o400, "16 to 512"),
        (b"fifteen-letters\n", 0o400, "16 to 512"),
        (b"x" * 513, 0o400, "16 to 512"),
        (b"two words are no secret", 0o400, "without spaces"),
        (EDGE + b"\n\n", 0o400, "without spaces"),
        (b"\xff" * 32, 0o400, "without spaces"),
    ],
)
def test_a_secret_others_know_or_nobody_can_send_is_an_error(secret_file, content, mode, says):
    """Rights, length and alphabet are checked, and the error quotes the path and not the content."""
    with pytest.raises(ConfigError) as caught:
        read(lua=secret_file(content, mode))
    assert says in str(caught.value)
    assert "[resolver] secrets.lua" in str(caught.value)
    assert EDGE.decode() not in str(caught.value)


def test_a_secret_that_is_not_a_file_is_an_error(tmp_path):
    """A missing file, a folder and a FIFO are refused at once, not waited for."""
    os.mkfifo(tmp_path / "fifo", 0o400)
    for path in ("absent", ".", "fifo"):
        with pytest.raises(ConfigError):
            read(edge=f"file:{tmp_path / path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_another_users_secret_is_an_error(secret_file):
    """A file its owner could change behind our back is refused."""
    source = secret_file(EDGE)
    os.chown(source.removeprefix("file:"), 65534, 65534)
    with pytest.raises(ConfigError, match="another user"):
        read(edge=source)


def test_two_callers_never_share_a_secret(secret_file):
    """The script's secret must not open the edge's door."""
    source = secret_file(EDGE)
    with pytest.raises(ConfigError, match="same secret"):
        read(edge=source, lua=source)


def test_the_configuration_names_the_secrets_by_file(secret_file):
    """What the TOML names is what is read."""
    text = f'[database]\nurl = "postgresql+psycopg2://r@/s"\n[resolver]\nsecrets = {{ edge = "{secret_file(EDGE)}" }}\n'
    assert Callers.from_config(config.loads(text).resolver).deliveries == {"edge"}
