"""Calls between the double and a worker on real sockets: every way a call can go, and every way it can go wrong."""

from __future__ import annotations

import logging
import time

import gevent
import pytest
from esl_worker import PERMIT, Worker
from gevent import socket

from esl_shield.esl.double import Agent, Call, Carrier, Fault, Gateway, HttpRedeem, play
from esl_shield.esl.double.redeem import AWAY

TOKEN = "70001234567893"
NUMBER = "+8613800138042"


def number(redemption):
    """Redeem anything."""
    return 200, NUMBER if redemption.delivery == "edge" else f"sip:{NUMBER}@127.0.0.1:5080"


def one(carrier=None, **options):
    return Call(TOKEN, **{"gateways": {"carrier": Gateway(carrier or Carrier())}, "max_s": 5.0} | options)


@pytest.mark.parametrize("delivery", ["edge", "direct"])
def test_an_answered_call(serve, delivery):
    """The phone is answered, the carrier's wire holds the number, FreeSWITCH was told only token and permit."""
    worker = Worker(delivery=delivery)
    result = play(one(), serve(worker).address, redeem=number)
    assert (result.statuses[-1], result.bridged, result.hangup_cause) == (200, True, "NORMAL_CLEARING")
    assert [entry.request_uri for entry in result.wire] == [f"sip:{NUMBER}@127.0.0.1:5080"]
    assert NUMBER not in "".join(result.told)
    assert NUMBER not in repr(worker.seen)
    assert worker.names[-1] == "CHANNEL_HANGUP_COMPLETE"


def test_the_carrier_sees_the_token_only_in_direct_deliverys_to(serve):
    """In direct delivery the To header stays the token; behind the edge it is the number."""
    to = {
        delivery: play(one(), serve(Worker(delivery=delivery)).address, redeem=number).wire[0].to
        for delivery in ("edge", "direct")
    }
    assert to == {"edge": f"sip:{NUMBER}@127.0.0.1:5080", "direct": f"sip:{TOKEN}@127.0.0.1:5080"}


@pytest.mark.parametrize(
    ("carrier", "cause"),
    [
        (Carrier(status=486, phrase="Busy Here"), "USER_BUSY"),
        (Carrier(status=404, phrase="Not Found"), "UNALLOCATED_NUMBER"),
        (Carrier(status=603, phrase="Decline"), "CALL_REJECTED"),
        (Carrier(status=503, phrase="Service Unavailable"), "NORMAL_TEMPORARY_FAILURE"),
        (Carrier(after_s=None), "NO_ANSWER"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("delivery", ["edge", "direct"])
def test_a_refusal_leaves_the_leg_to_the_worker(serve, carrier, cause, delivery):
    """A failed attempt is reported with its cause and the phone hears what the worker decides."""
    worker = Worker(delivery=delivery)
    result = play(one(carrier, timeout_scale=0.001), serve(worker).address, redeem=number)
    assert result.status == 503
    ended = next(headers for name, headers in worker.seen if name == "CHANNEL_EXECUTE_COMPLETE")
    assert ended["variable_shield_cause" if delivery == "direct" else "variable_originate_disposition"] == cause


@pytest.mark.parametrize(
    ("gateways", "cause"), [({}, "INVALID_GATEWAY"), ({"carrier": Gateway(up=False)}, "GATEWAY_DOWN")]
)
def test_a_gateway_that_is_not_there(serve, gateways, cause):
    """An unknown gateway and one that is down fail without an INVITE."""
    worker = Worker()
    result = play(one(gateways=gateways), serve(worker).address, redeem=number)
    assert result.wire == []
    assert worker.seen[0][1]["variable_originate_disposition"] == cause


@pytest.mark.parametrize("status", [200, 486])
def test_a_leg_answered_before_enters_active_again_whatever_the_carrier_says(serve, status):
    """For such a leg the call state ACTIVE says that the attempt is over, not that the customer answered."""
    states = []

    def answers_first(session):
        session.connect()
        session.request(f"filter Unique-ID {session.uuid}", "event plain CHANNEL_CALLSTATE", "linger")
        session.execute("answer")
        session.execute("bridge", f"sofia/gateway/carrier/{TOKEN}")
        states.extend(session.next_event(5)["Channel-Call-State"] for _ in range(4))
        session.hangup("NORMAL_CLEARING")

    play(one(Carrier(status=status), hangs_up_after_s=None), serve(answers_first).address, redeem=number)
    assert states == ["EARLY", "ACTIVE", "RING_WAIT", "ACTIVE"]


def test_a_second_gateway(serve):
    """After one gateway's refusal the next is tried on the same leg."""
    gateways = {"a": Gateway(Carrier(status=503, rings=False)), "b": Gateway(host="127.0.0.1:5081")}
    result = play(one(gateways=gateways), serve(Worker("a", "b")).address, redeem=number)
    assert [entry.request_uri for entry in result.wire] == [f"sip:{NUMBER}@127.0.0.1:{p}" for p in (5080, 5081)]
    assert result.bridged


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("delivery", ["edge", "direct"])
def test_the_agent_cancels(serve, delivery, early):
    """A CANCEL while it rings, early media or not, ends the leg with 487."""
    worker = Worker(delivery=delivery)
    carrier = Carrier(after_s=None, early_media=early)
    result = play(one(carrier, cancels_after_s=0.02), serve(worker).address, redeem=number)
    assert (result.status, worker.last["Hangup-Cause"]) == (487, "ORIGINATOR_CANCEL")


def test_the_agent_cancels_while_the_worker_decides(serve):
    """A CANCEL before any gateway was tried ends the leg too."""
    worker = Worker()

    def slow(session):
        session.connect()
        gevent.sleep(0.1)
        worker(session)

    server = serve(slow)
    result = play(one(cancels_after_s=0.02, cancels_when="parked"), server.address, redeem=number)
    assert (result.status, result.wire) == (487, [])
    assert server.wait_idle(2) == 0
    assert server.counts["gone"] == 1


def test_the_customer_hangs_up(serve):
    """The customer's BYE ends the agent's leg as well."""
    worker = Worker()
    result = play(one(Carrier(hangs_up_after_s=0.02), hangs_up_after_s=None), serve(worker).address, redeem=number)
    assert (result.statuses[-1], result.bridged) == (200, True)
    assert worker.last["variable_bridge_hangup_cause"] == "NORMAL_CLEARING"


def test_early_media_then_failure(serve):
    """A failure after early media shows in the bridge's cause, not in the originate's."""
    worker = Worker()
    carrier = Carrier(status=486, rings=False, early_media=True)
    result = play(one(carrier), serve(worker).address, redeem=number)
    ended = next(headers for name, headers in worker.seen if name == "CHANNEL_EXECUTE_COMPLETE")
    assert (ended["variable_originate_disposition"], ended["variable_bridge_hangup_cause"]) == ("SUCCESS", "USER_BUSY")
    assert 183 in result.statuses


REFUSED, DESTINATION = (404, "refused"), (403, "destination")


@pytest.mark.parametrize(
    ("answer", "shield_result"), [(REFUSED, "refused"), (DESTINATION, "destination"), (AWAY, "away")]
)
def test_the_script_says_why_it_was_refused(serve, answer, shield_result):
    """A permit that is not redeemed reaches no wire and leaves the reason on the leg."""
    worker = Worker(delivery="direct")
    result = play(one(), serve(worker).address, redeem=lambda _: answer)
    assert worker.seen[0][1]["variable_shield_result"] == shield_result
    assert (result.wire, result.bridged) == ([], False)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [(REFUSED, "UNALLOCATED_NUMBER"), (DESTINATION, "CALL_REJECTED"), (AWAY, "NORMAL_TEMPORARY_FAILURE")],
)
def test_the_edge_refuses_with_the_resolvers_status(serve, answer, cause):
    """A permit the edge cannot redeem ends the b-leg with the resolver's status."""
    worker = Worker()
    result = play(one(), serve(worker).address, redeem=lambda _: answer)
    assert worker.seen[0][1]["variable_originate_disposition"] == cause
    assert result.wire == []


def test_a_permit_is_redeemed_over_http(serve):
    """The edge and the script ask the resolver as they do in production; nobody there counts as away."""
    requests = []
    resolver = socket.socket()
    resolver.bind(("127.0.0.1", 0))
    resolver.listen()

    def answer():
        while True:
            sock, _ = resolver.accept()
            requests.append(sock.recv(65536).decode())
            body = NUMBER if "Bearer" in requests[-1] else f"sip:{NUMBER}@127.0.0.1:5080"
            sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            sock.close()

    answering = gevent.spawn(answer)
    host, port = resolver.getsockname()
    redeem = HttpRedeem(f"http://{host}:{port}/redeem", edge_secret=b"edge-secret-edge", lua_secret=b"lua-secret-lua")
    for delivery in ("edge", "direct"):
        assert play(one(), serve(Worker(delivery=delivery)).address, redeem=redeem).wire
    answering.kill()
    resolver.close()
    assert "Authorization: Bearer edge-secret-edge" in requests[0]
    assert f"permit={PERMIT}&token={TOKEN}&gateway=carrier&call=" in requests[1]
    assert "X-Shield-Signature: " in requests[1]
    assert "lua-secret" not in requests[1]
    worker = Worker(delivery="direct")
    play(one(), serve(worker).address, redeem=redeem)
    assert worker.seen[0][1]["variable_shield_result"] == "away"


def test_a_forged_header_stays_data(serve):
    """What a phone hides in a header is read as that header's value and nothing else."""
    seen = {}

    def handle(session):
        seen.update(session.connect())
        session.hangup("CALL_REJECTED")

    forged = Agent(headers={"X-Note": "a%0Avariable_user_name: supervisor%0AUnique-ID: deadbeef"})
    result = play(one(agent=forged), serve(handle).address)
    assert (seen["variable_user_name"], seen["Unique-ID"]) == ("1001", result.uuid)
    assert seen["variable_sip_h_X-Note"] == "a\nvariable_user_name: supervisor\nUnique-ID: deadbeef"


def test_an_agent_without_a_digest_is_not_authorized(serve):
    """An agent that did not authenticate has no principal in the channel data."""
    seen = {}

    def handle(session):
        seen.update(session.connect())
        session.execute("respond", "403 Forbidden")

    result = play(one(agent=Agent(authorized=False)), serve(handle).address)
    assert not {"variable_sip_authorized", "variable_sip_auth_username"} & seen.keys()
    assert result.status == 403


def test_a_hostile_carrier_gets_through_to_direct_delivery_only(serve):
    """What a carrier writes about the number appears on the leg in direct delivery, never behind the edge."""
    carrier = Carrier(final_headers={"X-Called": "{called}"}, progress_headers={"X-Called": "{called}"})
    leaks = {}
    for delivery in ("edge", "direct"):
        worker, bytes_read = Worker(delivery=delivery), []
        server = serve(lambda session, w=worker, b=bytes_read: _tap(session, w, b))
        play(one(carrier), server.address, redeem=number)
        leaks[delivery] = NUMBER.encode()[1:] in b"".join(bytes_read)
    assert leaks == {"edge": False, "direct": True}


def _tap(session, worker, bytes_read):
    receive = session._receive
    session._receive = lambda deadline: (data := receive(deadline)) and (bytes_read.append(data) or data)
    worker(session)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_stand_by_is_tried_only_when_the_connection_is_refused(serve):
    """The second worker gets the call when nobody listens at the first."""
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    nobody = closed.getsockname()
    closed.close()
    assert play(one(), nobody, serve(Worker()).address, redeem=number).connected_to == 1
    assert play(one(), nobody).statuses == [503]


@pytest.mark.parametrize("behaviour", ["silent", "closes"])
def test_a_worker_that_takes_the_connection_and_fails(behaviour):
    """A silent worker, or one that closes, leaves the call to sched_hangup: 503, and no stand-by."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    taken = []

    def take():
        while True:
            taken.append(listener.accept()[0])
            if behaviour == "closes":
                taken.pop().close()

    taking = gevent.spawn(take)
    result = play(one(sched_hangup_s=0.05), listener.getsockname(), listener.getsockname())
    assert (result.status, result.hangup_cause, result.connected_to) == (503, "NORMAL_TEMPORARY_FAILURE", 0)
    assert play(one(sched_hangup_s=None, max_s=0.1), listener.getsockname()).status == 0
    taking.kill()
    for sock in (*taken, listener):
        sock.close()


def test_a_worker_that_dies_mid_bridge_does_not_end_the_call(serve):
    """When the worker's socket goes while agent and customer talk, the call goes to its natural end."""

    def handle(session):
        worker = Worker()
        number = session.connect()["Unique-ID"]
        session.request(f"api uuid_setvar_multi {number} hangup_after_bridge=true", f"api sched_del {number}")
        session.request(worker.attempt(TOKEN, "carrier")[0], "event plain CHANNEL_BRIDGE")
        while session.next_event(2).name != "CHANNEL_BRIDGE":
            pass
        session.sock.close()

    result = play(one(hangs_up_after_s=0.1), serve(handle).address, redeem=number)
    assert (result.statuses[-1], result.bridged) == (200, True)


POINTS = ["accept", "command:connect", "command:linger", "command:event", "command:sendmsg", "event:CHANNEL_PROGRESS"]


@pytest.mark.parametrize("at", [*POINTS, "event:CHANNEL_EXECUTE_COMPLETE"])
@pytest.mark.parametrize("kind", ["close", "truncate", "reset", "malformed", "oversized", "stall"])
def test_a_broken_freeswitch_ends_that_call_and_nothing_else(serve, kind, at, caplog):
    """However the socket breaks, the handler ends, the server goes on, and the log holds no value of the call."""
    caplog.set_level(logging.DEBUG)
    server = serve(Worker(), command_timeout_s=0.5)
    canary = Agent(username="canary", display="Canary 1001")
    with gevent.Timeout(10):
        play(one(Carrier(after_s=0.01), agent=canary, fault=Fault(kind, at), max_s=0.3), server.address, redeem=number)
        assert server.wait_idle(5) == 0
    assert "anary" not in caplog.text
    assert TOKEN not in caplog.text
    assert play(one(), server.address, redeem=number).bridged


def test_bytes_in_trickles_make_no_difference(serve):
    """A socket that delivers byte by byte gives the same call."""
    worker = Worker()
    result = play(one(fault=Fault("trickle", "accept"), max_s=20), serve(worker).address, redeem=number)
    assert result.bridged
    assert worker.names[-1] == "CHANNEL_HANGUP_COMPLETE"


def test_commands_before_connect_are_not_answered(serve):
    """FreeSWITCH gives the first command no reply unless it is connect: ours always connects first."""

    def handle(session):
        session.request("linger")

    server = serve(handle, command_timeout_s=0.1)
    result = play(one(sched_hangup_s=0.3), server.address)
    assert result.told[0] == "linger"
    assert result.status == 503


def test_two_hundred_calls_at_once(serve):
    """Two hundred doubles and their worker share one process and all calls end well."""
    worker = Worker()
    server = serve(worker, command_timeout_s=60, admission_timeout_s=60)  # a busy machine ends no call
    started = time.monotonic()
    calls = [gevent.spawn(play, one(max_s=70, sched_hangup_s=65), server.address, redeem=number) for _ in range(200)]
    results = [call.get(timeout=80) for call in calls]
    assert all(result.bridged and result.statuses[-1] == 200 for result in results)
    assert len({result.uuid for result in results}) == 200
    assert server.counts["accepted"] == 200
    assert time.monotonic() - started < 25
