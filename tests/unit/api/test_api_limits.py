"""How often a key may ask, and an address that tries keys."""

from __future__ import annotations

from contextlib import nullcontext

import falcon.testing
import pytest

from esl_shield.api import limits as limits_
from esl_shield.api.app import Answer, application
from esl_shield.api.callers import key_hash, new_key
from esl_shield.api.limits import MOST_KEYS, Limits
from esl_shield.errors.api import ApiForbidden, ApiNotFound, ApiTooMany, ApiUnauthorized

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
KNOWN = new_key()[0]


class Api:
    """An API that knows one key, with a clock of its own; ``asked`` counts what reached the database's place."""

    def __init__(self, rate=1.0, burst=2):
        self.now, self.asked, self.revoked = 0.0, 0, False
        handlers = {"token": self._show, "calls": self._show}
        self.limits = Limits(rate, burst, clock=lambda: self.now)
        app = application(
            handlers, limits=self.limits, tokens=None, max_body_bytes=100, reading=nullcontext,
            observe=lambda *_: None,
        )  # fmt: skip
        self._client = falcon.testing.TestClient(app)

    def _show(self, asked):
        self.asked += 1
        if asked.caller.key != key_hash(KNOWN) or self.revoked:
            raise ApiUnauthorized
        raised = {"40300000": ApiForbidden(scope="x"), "40400000": ApiNotFound(what="x")}.get(
            asked.parameters.get("token")
        )
        if raised:
            raise raised
        return Answer(body={})

    def ask(self, key=KNOWN, host=HERE, token="12345678"):  # noqa: S107 - no password
        """The status of one request."""
        headers = {"Authorization": f"Bearer {key}"}
        return self._client.simulate_get(f"/v1/tokens/{token}", headers=headers, remote_addr=host).status_code


@pytest.fixture
def api():
    """An API."""
    return Api()


@pytest.mark.parametrize("token", ["12345678", "x"], ids=["sound", "bad-parameter"])
def test_guesses_push_out_no_keys_bucket(api, token, monkeypatch):
    """However many random keys are tried, from however many addresses, an empty bucket stays empty."""
    monkeypatch.setattr(limits_, "MOST_KEYS", 50)
    assert [api.ask() for _ in range(3)] == [200, 200, 429]
    for number in range(60):
        api.ask(new_key()[0], f"198.51.100.{number}", token)
    assert api.ask() == 429


def test_guesses_cost_no_more_queries_than_an_address_may_ask(api):
    """From one address strangers' keys reach the database at the rate of a key; another address is not held up."""
    answers = [api.ask(new_key()[0]) for _ in range(20)]
    assert answers == [401, 401] + [429] * 18
    assert api.asked == 2
    assert api.ask(new_key()[0], ELSEWHERE) == 401
    api.now = 1.0
    assert [api.ask(new_key()[0]) for _ in range(2)] == [401, 429]


def test_a_key_in_use_is_not_held_up_by_guesses_from_its_address(api):
    """Behind a proxy all have one address: a key that has a bucket goes on; a new one waits until guesses slow down."""
    assert api.ask() == 200
    for _ in range(5):
        api.ask(new_key()[0])
    assert api.ask() == 200
    late = Api()
    for _ in range(5):
        late.ask(new_key()[0])
    assert late.ask() == 429
    late.now = 1.0
    assert late.ask() == 200


@pytest.mark.parametrize(("token", "status"), [("12345678", 200), ("40300000", 403), ("40400000", 404)])
def test_a_known_key_costs_its_address_nothing(token, status):
    """What a key gets from the database makes it known, a refusal too; its address may still guess a full burst."""
    api = Api(burst=3)
    assert [api.ask(token=token) for _ in range(4)] == [status, status, status, 429]
    assert [api.ask(new_key()[0]) for _ in range(4)] == [401, 401, 401, 429]


def test_a_revoked_key_is_a_strangers(api):
    """From its next request on it keeps no bucket and its address pays."""
    assert api.ask() == 200
    api.revoked = True
    assert [api.ask() for _ in range(3)] == [401, 401, 429]
    assert api.asked == 3


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("2001:db8::1", "2001:db8::2", True), ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True), ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)  # fmt: skip
def test_an_address_is_what_a_network_hands_out(one, other, alike):
    """Of IPv6 a whole /64 is one place, or changing addresses would be free."""
    limits = Limits(1.0, 1, clock=lambda: 0.0)
    limits.take(b"a", one)
    if alike:
        with pytest.raises(ApiTooMany):
            limits.take(b"b", other)
    else:
        limits.take(b"b", other)


def test_requests_under_way_together_are_each_charged_once():
    """Two first requests of a new key at the same moment leave the address whole and the key with both taken."""
    limits = Limits(1.0, 2, clock=lambda: 0.0)
    for charge in [limits.take(b"k", HERE), limits.take(b"k", HERE)]:
        charge.settle(200)
    with pytest.raises(ApiTooMany):
        limits.take(b"k", HERE)
    for _ in range(2):
        limits.take(b"other", HERE)


def test_memory_is_bounded():
    """Known keys and addresses are each remembered up to a number."""
    limits = Limits(1.0, 2, clock=lambda: 0.0)
    for number in range(MOST_KEYS + 10):
        limits.take(b"%d" % number, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}").settle(200)
    assert [len(buckets._buckets) for buckets in (limits._keys, limits._addresses)] == [MOST_KEYS, MOST_KEYS]


def test_large_bodies_of_unknown_keys_cost_their_address_more():
    """Reading a megabyte for a key nobody made is charged as many requests; a key that is one gets them back."""
    limits = Limits(1.0, 10, clock=lambda: 0.0)
    size = 5 * limits_.HEAVY_BYTES
    known, unknown, other = b"known", b"unknown", b"other"
    charge = limits.take(known, HERE)
    charge.weigh(size)
    charge.settle(200, size)
    for key in (unknown, other):
        limits.take(key, HERE).weigh(size)
    with pytest.raises(ApiTooMany):
        limits.take(b"more", HERE)
    limits.take(b"more", ELSEWHERE)
    for _ in range(9):  # the first was charged to it
        limits.take(known, HERE).weigh(size)
