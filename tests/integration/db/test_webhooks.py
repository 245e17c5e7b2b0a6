"""What happens to calls reaches a real receiver: all of it, signed, a call's events in order, whatever fails."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import defaultdict

import pytest
from shield_calls import TOKEN, Attempt
from standardwebhooks import Webhook
from webhook_lab import MASTER, Lab
from webhook_receiver import TAKEN, Receiver

from esl_shield.errors.tenants import TenantUnknown
from esl_shield.errors.webhooks import WebhookEventUnknown, WebhookRejected, WebhookUnknown
from esl_shield.service.webhooks import admin, signing
from esl_shield.service.webhooks.dispatcher import MOST_REFUSALS, Sent
from esl_shield.vault.tokens import damm_digit

DOWN = (503, {}, b"")
UNWANTED = (400, {}, b"")


@pytest.fixture
def lab(database):
    """Acme, its worker and its webhooks."""
    return Lab(database)


def call(lab, *, token=TOKEN):
    """A whole call; its id."""
    attempt = Attempt(token=token)
    if attempt.authorize(lab.worker) == ("ALLOWED",):
        lab.worker.call("call_answered", attempt.call, "carrier")
        assert attempt.finish(lab.worker)
    return str(attempt.call)


def guess(lab, **who):
    """Wrong tokens enough to lock an agent; what was dialled."""
    wrong = [body + damm_digit(body) for body in (f"91{number * 7_654_321:011d}" for number in range(1, 12))]
    for token in wrong:
        Attempt(token=token, **who).authorize(lab.worker)
    return wrong


def told(receiver):
    """What a receiver was told: type and data of each request, in order."""
    return [(body["type"], body["data"]) for body in (json.loads(body) for _, body in receiver.requests)]


def test_a_calls_events_arrive_signed_and_in_order(lab):
    """Started, answered, ended: each once, with the record as it was then, and a signature that verifies."""
    with Receiver() as receiver:
        assert lab.add(receiver) == "created"
        id_ = call(lab)
        assert lab.dispatch() == Sent(taken=3)
    assert [(kind, data["id"], data["state"]) for kind, data in told(receiver)] == [
        ("call.started", id_, "AUTHORIZED"), ("call.answered", id_, "ANSWERED"), ("call.ended", id_, "COMPLETED"),
    ]  # fmt: skip
    last = told(receiver)[-1][1]
    known = {
        "agent": "1001", "agents": ["1001"], "token": "91000000000018", "alias": "customer-1", "gateway": "carrier",
        "hangup_cause": "NORMAL_CLEARING", "ended_by": "worker",
    }  # fmt: skip
    assert last | known == last
    secret = signing.spell(signing.derive(MASTER, "acme", "crm", 1))
    for headers, body in receiver.requests:
        assert Webhook(secret).verify(body, headers)["tenant"] == "acme"
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 3
    assert lab.waiting() == []


def test_who_guesses_tokens_is_told_of_and_who_is_let_go_on(lab):
    """A lock and an unlock are events of their own; what was dialled, and why it was unlocked, are not in them."""
    with Receiver() as receiver:
        lab.add(receiver, kinds=("agent.locked", "agent.unlocked"))
        wrong = guess(lab)
        steward = lab.database.open(lab.database.login("steward", ["acme"]))
        assert steward.call("unlock_agent", "acme", "1001", "an old list") == [("UNLOCKED",)]
        assert lab.dispatch() == Sent(taken=2)
    (first, locked), (second, unlocked) = told(receiver)
    assert (first, locked["agent"], locked["reason"], locked["wrong"]) == ("agent.locked", "1001", "wrong_tokens", 10)
    assert (second, unlocked["agent"], unlocked["reason"]) == ("agent.unlocked", "1001", "wrong_tokens")
    heard = str(receiver.requests)
    assert not [text for text in (*wrong, "an old list") if text in heard]


def test_an_agents_unlock_waits_for_their_lock(lab):
    """While a lock is not taken its end is not told; other agents' events go on."""
    with Receiver(lambda _headers, body: UNWANTED if b'"1001"' in body else TAKEN) as receiver:
        lab.add(receiver, kinds=("agent.locked", "agent.unlocked"))
        steward = lab.database.open(lab.database.login("steward", ["acme"]))
        for agent in ("1001", "1002"):
            guess(lab, agent=agent)
            assert steward.call("unlock_agent", "acme", agent, "an old list") == [("UNLOCKED",)]
        assert lab.dispatch() == Sent(taken=2, failed=1)
        assert lab.waiting() == ["agent.locked", "agent.unlocked"]
        receiver.answer = lambda *_: TAKEN
        receiver.requests.clear()
        lab.later(3600)
        assert lab.dispatch() == Sent(taken=2)
    assert [(kind, data["agent"]) for kind, data in told(receiver)] == [
        ("agent.locked", "1001"), ("agent.unlocked", "1001"),
    ]  # fmt: skip


def test_a_refused_call_does_not_say_why(lab):
    """A refusal is told; its reason stays in the audit trail."""
    with Receiver() as receiver:
        lab.add(receiver)
        call(lab, token="91999999999999")
        lab.dispatch()
    ((kind, data),) = told(receiver)
    assert (kind, data["state"]) == ("call.refused", "REFUSED")
    assert "token_unknown" not in json.dumps(data)
    assert "token" not in data


def test_only_what_was_asked_for_is_noted(lab):
    """A webhook is told its kinds only; without one, disabled or of another tenant nothing is noted at all."""
    call(lab)
    assert lab.waiting() == []
    with Receiver() as receiver:
        lab.add(receiver, kinds=("call.ended",))
        lab.database.tenant("brick", prefix="92")
        admin.set_webhook(lab.admin, "brick", "crm", receiver.url, list(admin.KINDS))
        call(lab)
        assert lab.waiting() == ["call.ended"]
        admin.change_webhook(lab.admin, "acme", "crm", "disable")
        call(lab)
        assert lab.waiting() == ["call.ended"]
        assert lab.dispatch() == Sent()
        admin.change_webhook(lab.admin, "acme", "crm", "enable")
        assert lab.dispatch() == Sent(taken=1)


def test_a_receiver_down_for_an_hour_loses_nothing(lab):
    """Every event of an hour arrives when the receiver is back, a call's in order; meanwhile it is asked rarely."""
    up = threading.Event()
    with Receiver(lambda *_: TAKEN if up.is_set() else DOWN) as receiver:
        lab.add(receiver)
        calls = []
        for _ in range(6):
            calls += [call(lab) for _ in range(5)]
            lab.dispatch()
            lab.later(600)
        asked = len(receiver.requests)
        assert 6 <= asked <= 12
        up.set()
        receiver.requests.clear()
        assert lab.dispatch().taken == 90
    by_call = defaultdict(list)
    for kind, data in told(receiver):
        by_call[data["id"]].append(kind)
    assert by_call == {id_: ["call.started", "call.answered", "call.ended"] for id_ in calls}


def test_an_event_its_receiver_does_not_want_holds_up_its_own_call_only(lab):
    """A refused event is tried again by itself; other calls' events go on, later ones of its call wait for it."""
    with Receiver() as receiver:
        lab.add(receiver)
        unwanted = call(lab)
        receiver.answer = lambda _headers, body: UNWANTED if unwanted.encode() in body else TAKEN
        other = call(lab)
        sent = lab.dispatch()
        assert (sent.taken, sent.failed) == (3, 1)
        assert {data["id"] for _, data in told(receiver)[1:]} <= {other, unwanted}
        assert lab.waiting("call::text") == [unwanted] * 3
        receiver.answer = lambda *_: TAKEN
        lab.later(3600)
        assert lab.dispatch().taken == 3
    assert [kind for kind, data in told(receiver) if data["id"] == unwanted][1:] == [
        "call.started", "call.answered", "call.ended",
    ]  # fmt: skip


def test_what_is_refused_for_good_is_given_up_and_can_be_replayed(lab):
    """After the last attempt an event is dead, the next of its call goes on; a replay posts it again."""
    with Receiver(lambda _headers, body: UNWANTED if b"call.started" in body else TAKEN) as receiver:
        lab.add(receiver)
        call(lab)
        sent = Sent()
        for _ in range(MOST_REFUSALS):
            sent = lab.dispatch()
            lab.later(3600 * 2)
        assert sent == Sent(taken=2, failed=1, given_up=1)
        ((id_, problem),) = lab.database.query(
            "SELECT id, last_problem FROM dba.webhook_events WHERE dead_at IS NOT NULL"
        )
        assert problem == "client_error"
        receiver.answer = lambda *_: TAKEN
        receiver.requests.clear()
        with pytest.raises(WebhookEventUnknown):
            admin.replay(lab.admin, "acme", "crm", id_ + 1)
        assert admin.replay(lab.admin, "acme", "crm", id_) == 1
        assert lab.dispatch().taken == 1
    assert [kind for kind, _ in told(receiver)] == ["call.started"]


def test_what_nobody_takes_for_days_is_given_up_and_forgotten_a_month_later(lab):
    """Events older than the limit are dead, countable and replayable; a month later they are gone."""
    with Receiver(lambda *_: DOWN) as receiver:
        lab.add(receiver)
        call(lab)
        lab.dispatch()
        lab.later(73 * 3600)
        assert lab.dispatch().given_up == 3
        view = lab.database.query("SELECT waiting, dead FROM dba.webhooks")
        assert view == [(0, 3)]
        lab.later(31 * 86400)
        lab.dispatch()
        assert lab.database.query("SELECT count(*) FROM shield.webhook_events") == [(0,)]


def test_a_dispatcher_that_dies_leaves_its_events_to_another(lab):
    """Events taken by a dispatcher that never settled them are posted again when its lease is over, not before."""
    with Receiver() as receiver:
        lab.add(receiver, kinds=("call.ended",))
        call(lab)
        dead = lab.database.open(lab.database.login("dispatcher", ["acme"]))
        assert len(dead.call("take_webhook_events", 16, 64, [], 60.0)) == 1
        assert lab.dispatch() == Sent()
        lab.later(61)
        assert lab.dispatch() == Sent(taken=1)


def test_two_dispatchers_share_what_is_due(lab):
    """Two that take at once never get the same event, nor two of one call."""
    with Receiver() as receiver:
        lab.add(receiver)
        for _ in range(20):
            call(lab)
        logins = [lab.database.open(lab.database.login("dispatcher", ["acme"])) for _ in range(2)]
        taken = [[], []]
        start = threading.Barrier(2)

        def take(which):
            start.wait()
            for _ in range(5):
                taken[which] += [row[0] for row in logins[which].call("take_webhook_events", 3, 64, [], 60.0)]

        threads = [threading.Thread(target=take, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ids = taken[0] + taken[1]
    assert len(ids) == len(set(ids)) == 20
    kinds = lab.database.query("SELECT DISTINCT kind FROM shield.webhook_events WHERE id = ANY (%s)", ids)
    assert kinds == [("call.started",)]


def test_a_slow_receiver_holds_up_nobody_else(lab):
    """While one receiver says nothing until it is timed out, another's events arrive."""
    with Receiver() as well, socket.create_server(("127.0.0.1", 0)) as silent:
        lab.add(well, kinds=("call.ended",))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        admin.set_webhook(lab.admin, "acme", "slow", url, ["call.ended"])
        for _ in range(5):
            call(lab)
        with lab.dispatcher(timeout_s=30.0) as made:
            deadline = time.monotonic() + 20
            while made.sent.taken < 5 and time.monotonic() < deadline:
                made.step(take=True)
            assert made.sent.taken == 5
    assert len(told(well)) == 5


def test_after_a_rotation_both_secrets_hold_for_a_day(lab):
    """Requests are signed with the new and the old secret, a day later with the new one alone."""
    secrets = [signing.derive(MASTER, "acme", "crm", version) for version in (1, 2)]
    with Receiver() as receiver:
        lab.add(receiver, kinds=("call.ended",))
        admin.change_webhook(lab.admin, "acme", "crm", "rotate")
        call(lab)
        lab.dispatch()
        ((headers, body),) = receiver.requests
        for secret in secrets:
            Webhook(signing.spell(secret)).verify(body, headers)
        lab.database.query("UPDATE shield.webhooks SET rotated_at = rotated_at - interval '25 hours'")
        call(lab)
        lab.dispatch()
    assert " " in receiver.requests[0][0]["webhook-signature"]
    assert " " not in receiver.requests[1][0]["webhook-signature"]
    assert admin.secret_version(lab.admin, "acme", "crm") == 2


def test_a_test_event_is_posted_on_demand(lab):
    """`webhook test` posts one event that says so."""
    with Receiver() as receiver:
        lab.add(receiver)
        admin.change_webhook(lab.admin, "acme", "crm", "test")
        lab.dispatch()
    assert told(receiver) == [("webhook.test", {"webhook": "crm"})]


def test_no_number_is_posted(lab):
    """Of a call whose dialled text was a number nothing of it is posted."""
    with Receiver() as receiver:
        lab.add(receiver)
        Attempt(token=None, dialled_class="number", dialled_length=11).authorize(lab.worker)
        lab.dispatch()
    ((kind, data),) = told(receiver)
    assert (kind, set(data)) == (
        "call.refused",
        {"id", "agents", "agent", "channel", "ended_by", "direction", "state", "attempts", "started_at", "ended_at"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://crm.example/", "https://"),
        ("ftp://crm.example/", "https://"),
        ("https://user:pass@crm.example/", "no user name"),
        ("https://crm.example/#x", "fragment"),
        ("https:///x", "visible ASCII"),
        ("https://crm.example/a b", "visible ASCII"),
        ("https://crm.example:99999/", "no URL"),
        ("https://crm.example/" + "x" * 500, "500"),
    ],
    ids=["plain http", "ftp", "password", "fragment", "no host", "blank", "port", "long"],
)
def test_an_address_that_is_not_taken(url, says):
    """Addresses are https or loopback, without secrets in them."""
    with pytest.raises(WebhookRejected) as caught:
        admin.check_url(url)
    assert says in str(caught.value)


def test_what_is_not_there_is_said(lab):
    """An unknown tenant, webhook or kind, and a bad name, each have their error; the same again changes nothing."""
    with Receiver() as receiver:
        for error, given in (
            (TenantUnknown, ("nobody", "crm", receiver.url, ["call.ended"])),
            (WebhookRejected, ("acme", "CRM", receiver.url, ["call.ended"])),
            (WebhookRejected, ("acme", "crm", receiver.url, ["call.begun"])),
            (WebhookRejected, ("acme", "crm", receiver.url, [])),
        ):
            with pytest.raises(error):
                admin.set_webhook(lab.admin, *given)
        for what in ("enable", "rotate", "remove", "test"):
            with pytest.raises(WebhookUnknown):
                admin.change_webhook(lab.admin, "acme", "crm", what)
        with pytest.raises(WebhookUnknown):
            admin.replay(lab.admin, "acme", "crm", None)
        with pytest.raises(WebhookUnknown):
            admin.secret_version(lab.admin, "acme", "crm")
        outcomes = [lab.add(receiver), lab.add(receiver), lab.add(receiver, kinds=("call.ended",))]
        assert outcomes == ["created", "unchanged", "changed"]
        assert admin.change_webhook(lab.admin, "acme", "crm", "enable") == "unchanged"
        assert admin.change_webhook(lab.admin, "acme", "crm", "remove") == "done"
    kinds = lab.database.query("SELECT kind FROM shield.audit_events WHERE kind LIKE 'webhook.%%' ORDER BY id")
    assert [kind for (kind,) in kinds] == ["webhook.created", "webhook.changed", "webhook.remove"]
