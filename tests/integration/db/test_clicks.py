"""Calls by click: the row that is the principal of the agent's leg, and what rings the agent, over a double."""

from __future__ import annotations

import hashlib
import threading
import uuid

import pytest
from event_socket_double import PASSWORD, EventSocketDouble
from ports import free_port
from shield_calls import TOKEN, reasons

from esl_shield.config.clicks import ClicksConfig
from esl_shield.config.values import Address
from esl_shield.errors import dialling as errors
from esl_shield.errors.freeswitch import FreeSwitchAway, FreeSwitchRefused
from esl_shield.service.clicks import Click, Clicks

ANSWERED = "+OK\n"


@pytest.fixture
def api(database, tenants):
    """Acme's dialler; clicks without limit worth speaking of."""
    database.query("SELECT shield_api.set_dialling('acme', NULL, NULL, 1000)")
    return database.open(database.login("dialler", ["acme"]))


@pytest.fixture
def password(tmp_path):
    """The event socket's password, in a file as a site keeps it."""
    path = tmp_path / "esl.password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return f"file:{path}"


@pytest.fixture
def ring(api, password):
    """Make clicks at a switch, or at an address."""

    def made(switch, **more):
        address = switch if isinstance(switch, Address) else switch.address
        return Clicks(api, ClicksConfig(address, password, timeout_s=2.0, **more))

    return made


def states(database):
    """State and cause of each click, oldest first."""
    return database.query("SELECT state, cause FROM dba.clicks ORDER BY asked_at")


def taken(worker, channel, domain="acme.example"):
    """Hand the agent's answered leg to the worker; the row that is answered."""
    permit = hashlib.sha256(uuid.uuid4().bytes).digest()
    call, customer = uuid.uuid4(), str(uuid.uuid4())
    return worker.call("authorize_click", call, domain, permit, "carrier", "edge", customer, channel)[0]


def test_the_phone_is_rung_with_the_rows_uuid_and_the_leg_is_taken_once(database, worker, api, ring):
    """FreeSWITCH is told UUID, agent and what to show; the worker learns token and business ID by the UUID, once."""
    database.query("SELECT shield_api.set_dialling('acme', NULL, '123456', NULL)")
    with EventSocketDouble({}, job=lambda _: ANSWERED) as switch:
        done = ring(switch).click("acme", Click("1001", alias="customer-1", ref="T-9"))
    assert (done.outcome, done.token, done.ref) == ("answered", TOKEN, "T-9")
    (command,) = switch.asked
    assert f"origination_uuid={done.channel}," in command
    assert "origination_caller_id_number=123456," in command
    assert command.endswith("user/1001@acme.example shield_clicks XML shield_clicks")
    assert TOKEN not in command
    answer = taken(worker, done.channel)
    assert (answer[0], answer[1], answer[2], answer[3], answer[7]) == ("ALLOWED", "T-9", "123456", "customer-1", TOKEN)
    assert taken(worker, done.channel)[0] == "NOT_FOUND"
    assert reasons(database, "call.refused") == ["click_unknown"]
    calls = database.query("SELECT agent, token, ref, channel::text, dialled_class FROM shield.calls")
    assert calls == [("1001", TOKEN, "T-9", str(done.channel), "click")]
    assert states(database) == [("TAKEN", None)]


@pytest.mark.parametrize(
    ("prepare", "domain"),
    [
        (None, "brick.example"),
        ("UPDATE shield.clicks SET asked_at = now() - interval '6 minutes'", "acme.example"),
        ("UPDATE shield.clicks SET state = 'VOID'", "acme.example"),
        ("UPDATE shield.clicks SET state = 'FAILED'", "acme.example"),
        ("DELETE FROM shield.clicks", "acme.example"),
    ],
    ids=["another-domain", "old", "void", "failed", "none"],
)
def test_a_leg_whose_click_does_not_stand_gets_no_call(database, worker, ring, prepare, domain):
    """It is answered like an unknown token and no permit is minted."""
    with EventSocketDouble({}, job=lambda _: None) as switch:
        done = ring(switch).click("acme", Click("1001", TOKEN), wait_s=0.05)
    assert done.outcome == "ringing"
    if prepare:
        database.query(prepare)
    assert taken(worker, done.channel, domain) == ("NOT_FOUND", *[None] * 7)
    assert database.query("SELECT 1 FROM shield.permits") == []


def test_one_key_is_one_call_even_at_the_same_moment(database, ring):
    """Ten clicks with one key ring one phone once; all are told of the same leg."""
    gate, done = threading.Barrier(10), []
    with EventSocketDouble({}, job=lambda _: ANSWERED) as switch:
        clicks = ring(switch)

        def click():
            gate.wait()
            done.append(clicks.click("acme", Click("1001", TOKEN, ref="T-1", key="k1")))

        threads = [threading.Thread(target=click) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for other in (Click("1002", TOKEN, ref="T-1", key="k1"), Click("1001", TOKEN, ref="T-2", key="k1")):
            with pytest.raises(errors.ClickConflict):
                clicks.click("acme", other)
    assert len(switch.asked) == 1
    assert len({each.channel for each in done}) == 1
    assert sorted(each.outcome for each in done) == ["answered"] + ["repeated"] * 9
    assert database.query("SELECT octet_length(key) FROM shield.clicks") == [(32,)]


def test_a_switch_that_is_away_makes_no_half_call_and_the_key_is_free(database, worker, ring):
    """The error says so, the row is void, and the same key makes the call once FreeSWITCH is back."""
    with pytest.raises(FreeSwitchAway):
        ring(Address("127.0.0.1", free_port())).click("acme", Click("1001", TOKEN, key="k1"))
    assert states(database) == [("VOID", None)]
    with EventSocketDouble({}, job=lambda _: ANSWERED) as switch:
        assert ring(switch).click("acme", Click("1001", TOKEN, key="k1")).outcome == "answered"
    assert states(database) == [("VOID", None), ("ASKED", None)]


def test_a_switch_that_refuses_us_makes_no_call(database, ring):
    """A wrong login, and a login without the right to originate, void the click."""
    with EventSocketDouble({}, login="auth other") as switch, pytest.raises(FreeSwitchRefused):
        ring(switch).click("acme", Click("1001", TOKEN))
    with EventSocketDouble({}) as switch, pytest.raises((FreeSwitchRefused, FreeSwitchAway)):
        ring(switch).click("acme", Click("1001", TOKEN))
    assert states(database) == [("VOID", None)] * 2


def test_a_login_of_the_directory_may_be_used(ring):
    """Userauth NAME@DOMAIN, whose rights are FreeSWITCH's to limit."""
    user = "clicks@acme.example"
    with EventSocketDouble({}, job=lambda _: ANSWERED, login=f"userauth {user}:{PASSWORD}") as switch:
        assert ring(switch, user=user).click("acme", Click("1001", TOKEN)).outcome == "answered"


def test_an_agent_who_is_not_there_is_told_at_once(database, worker, ring):
    """FreeSWITCH's cause is in the error and the row; the leg's UUID is good for nothing any more."""
    with EventSocketDouble({}, job=lambda _: "-ERR USER_NOT_REGISTERED\n") as switch:
        with pytest.raises(errors.AgentUnreachable) as caught:
            ring(switch).click("acme", Click("1001", TOKEN, key="k1"))
        assert ring(switch).click("acme", Click("1001", TOKEN, key="k1")).state == "FAILED"
    assert caught.value.fields["cause"] == "USER_NOT_REGISTERED"
    assert states(database) == [("FAILED", "USER_NOT_REGISTERED")]


def test_an_agents_clicks_of_a_minute_are_limited(database, ring):
    """Those beyond are refused and audited before FreeSWITCH is asked; another agent's go through."""
    database.query("SELECT shield_api.set_dialling('acme', NULL, NULL, 2)")
    with EventSocketDouble({}, job=lambda _: ANSWERED) as switch:
        clicks = ring(switch)
        for _ in range(2):
            clicks.click("acme", Click("1001", TOKEN))
        with pytest.raises(errors.ClickTooMany):
            clicks.click("acme", Click("1001", TOKEN))
        clicks.click("acme", Click("1002", TOKEN))
    assert len(switch.asked) == 3
    assert reasons(database, "click.refused") == ["too_many"]


@pytest.mark.parametrize(
    ("click", "error", "reason"),
    [
        (Click("1001", "91000000000026"), errors.ClickUnknown, "token_unknown"),
        (Click("1001", "92000000000014"), errors.ClickUnknown, "token_unknown"),
        (Click("1001", alias="nobody"), errors.ClickUnknown, "token_unknown"),
        (Click("1001", TOKEN), errors.ClickUnknown, "permission_missing"),
        (Click("1001 &park()", TOKEN), errors.ClickRejected, "refused"),
        (Click("1001", TOKEN, ref="+8613800138000"), errors.BusinessIdRejected, None),
        (Click("1001", TOKEN, ref="13800138000"), errors.BusinessIdRejected, None),
        (Click("1001", TOKEN, ref="a,b"), errors.BusinessIdRejected, None),
        (Click("1001", TOKEN, key="a b"), errors.ClickRejected, None),
        (Click("1001"), errors.ClickRejected, None),
        (Click("1001", TOKEN, alias="customer-1"), errors.ClickRejected, None),
    ],
    ids=["unknown", "another's", "no-alias", "no-permission", "agent", "number", "national", "comma", "key", "nobody",
         "both"],
)  # fmt: skip
def test_what_is_refused_rings_no_phone(database, ring, click, error, reason):
    """Each is one clear error; where the database was asked the reason stands in its event."""
    database.query("SELECT shield_api.set_dialling('acme', true, NULL, NULL)")
    with EventSocketDouble({}, job=lambda _: ANSWERED) as switch, pytest.raises(error) as caught:
        ring(switch).click("acme", click)
    assert switch.asked == []
    assert states(database) == []
    assert reasons(database, "click.refused") == ([reason] if reason else [])
    assert "138001" not in str(caught.value)


def test_a_click_takes_a_permissions_use_when_the_agent_has_answered(database, worker, api, ring):
    """Ringing uses nothing up; the answered leg does, and the permission's business ID gives way to the click's."""
    database.query("SELECT shield_api.set_dialling('acme', true, 'ref', NULL)")
    api.call("grant_permission", "acme", uuid.uuid4(), TOKEN, None, "1001", None, None, 1, None, "T-OLD")
    with EventSocketDouble({}, job=lambda _: ANSWERED) as switch:
        first = ring(switch).click("acme", Click("1001", TOKEN))
        second = ring(switch).click("acme", Click("1001", TOKEN, ref="T-NEW"))
    assert database.query("SELECT used FROM shield.dial_permissions") == [(0,)]
    assert "origination_caller_id_number=T-OLD," in switch.asked[0]
    assert taken(worker, second.channel)[:3] == ("ALLOWED", "T-NEW", "T-NEW")
    assert taken(worker, first.channel)[0] == "NOT_FOUND"
    assert reasons(database, "call.refused") == ["permission_used_up"]


def test_a_dead_workers_clicked_call_was_answered_when_the_customer_did(database, worker, ring):
    """FreeSWITCH's records: the agent's leg was answered before, so the customer's busy is what ended the call."""
    with EventSocketDouble({}, job=lambda _: ANSWERED) as switch:
        done = ring(switch).click("acme", Click("1001", TOKEN))
    assert taken(worker, done.channel)[0] == "ALLOWED"
    database.query(
        "INSERT INTO shield.cdr_legs (call, call_started_at, tenant_id, channel, state, cause, answered_at, ended_at)"
        " SELECT c.id, c.started_at, c.tenant_id, l.channel, l.state, l.cause, l.answered_at, now()"
        " FROM shield.calls c,"
        " LATERAL (VALUES (c.channel, 'NO_ANSWER', 'NORMAL_CLEARING', now()),"
        " (c.customer_channel, 'BUSY', 'USER_BUSY', NULL)) l (channel, state, cause, answered_at)"
    )
    settled = database.query("SELECT shield.settle_call(id, started_at, true, NULL) FROM shield.calls")
    assert settled == [("ENDED",)]
    calls = database.query("SELECT state, hangup_cause, answered_at FROM dba.calls")
    assert calls == [("BUSY", "USER_BUSY", None)]
