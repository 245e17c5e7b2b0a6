"""A real worker is killed in each state of a call; the real intake and the reaper end the call once and truthfully."""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import gevent
import pytest
from event_socket_double import PASSWORD, EventSocketDouble, LegAnswers
from fix_site import DEADLINE_S, SHOP, eventually

from esl_shield.config.database import DatabaseConfig
from esl_shield.config.endings import ReaperConfig, SwitchConfig
from esl_shield.db.engine import Database
from esl_shield.errors.freeswitch import FreeSwitchAway
from esl_shield.errors.process import SiteFailed
from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway
from esl_shield.service.reaper import Reaper, Switch

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
BACK_WITHIN_S = 5.0
NUMBER = "+12025550142"


class Ends:
    """One killed worker's call, and those who end it."""

    def __init__(self, centre, folder, intake):
        self.centre, self.intake, self.answers = centre, intake, LegAnswers()
        self.socket = EventSocketDouble(self.answers)
        secret = folder / "esl.secret"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o400)
        config = SwitchConfig(self.socket.address, f"file:{secret}")
        self.database = Database(DatabaseConfig(centre.site.url("reaper")), application_name="tests")
        settings = ReaperConfig((config,), record_wait_s=0.2)
        self.reaper = Reaper(self.database, settings, [Switch(config, 2.0)])

    def kill(self, worker, position, **call):
        """Have an agent call, wait until the call is in its state, and kill the worker."""
        state = call.pop("state")
        redeem = call.pop("redeem", self.centre.redeem)
        wanted = {"hangs_up_after_s": None, "max_s": 60.0} | call
        self.call = Call(
            dialled=self.centre.token(SHOP, position), agent=Agent(domain=SHOP.domain), uuid=str(uuid4()), **wanted
        )
        address = (worker.address.host, worker.address.port)
        self.playing = gevent.spawn(double.play, self.call, address, redeem=redeem)
        eventually(lambda: (r := self.record()) and r["state"] == state and r)
        if state == "AUTHORIZED":
            until = "permit.redeemed" if redeem is self.centre.redeem else "call.authorized"
            eventually(lambda: self.events(until))
        self.far = str(self.record()["customer_channel"])
        self.answers.up = {self.call.uuid, self.far}
        worker.popen.kill()
        worker.popen.wait()
        self.killed_at = time.monotonic()

    def record(self):
        rows = self.centre.query("SELECT * FROM dba.calls WHERE channel = %s", self.call.uuid)
        assert len(rows) <= 1
        return rows[0] if rows else None

    def events(self, kind):
        return self.centre.query(
            "SELECT * FROM dba.audit_events WHERE kind = %s AND call = %s", kind, self.record()["id"]
        )

    def permits(self):
        return self.centre.query("SELECT * FROM dba.permits_unredeemed WHERE call = %s", self.record()["id"])

    def ended(self):
        """Look as the reaper does until the call is over; its record."""
        return eventually(
            lambda: (self.reaper.look(), r := self.record(), r["state"] not in ("AUTHORIZED", "ANSWERED"))[2] and r
        )

    def post(self, leg, *, answered=None, ended=None, secret=SECRET, **more):
        """Post a leg's record as mod_json_cdr does; the status and the text."""
        stamp = lambda at: str(int(at.timestamp() * 1e6)) if at else "0"  # noqa: E731
        ended = ended or datetime.now(UTC)
        variables = {
            "uuid": leg, "end_uepoch": stamp(ended), "answer_uepoch": stamp(answered), "bridge_uepoch": stamp(answered),
            "hangup_cause": "NORMAL_CLEARING", "sip_to_user": NUMBER, **more,
        }  # fmt: skip
        return post(self.intake, json.dumps({"variables": variables}).encode(), secret=secret)

    def close(self):
        self.playing.kill()
        self.reaper.close()
        self.database.close()


def post(address, body, *, secret=SECRET, path="/cdr?uuid=x", **headers):
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    basic = base64.b64encode(f"freeswitch:{secret}".encode()).decode()
    try:
        connection.request("POST", path, body, {"Authorization": f"Basic {basic}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def intake(call_centre):
    """The site's intake, a process of its own."""
    site = call_centre.site
    (site.folder / "intake.secret").write_text(SECRET + "\n")
    (site.folder / "intake.secret").chmod(0o400)
    for role in ("intake", "reaper"):
        password = site.postgres.password(f"site_{role}") + "\n"
        site.run("admin", "db", "login", f"site_{role}", "--role", role, "--all-tenants", stdin=password)
    config = site.config("intake")
    config.write_text(
        f'[database]\nurl = "{site.url("intake")}"\n'
        f'[intake]\nlisten = "127.0.0.1:0"\nsecret = "file:{site.folder}/intake.secret"\n'
    )
    config.chmod(0o600)
    process = site.start("intake")
    yield process
    assert NUMBER[1:] not in process.log.read_text()
    site.stop("intake")


@pytest.fixture
def ends(call_centre, intake, tmp_path):
    """What ends a killed worker's call."""
    made = Ends(call_centre, tmp_path, intake.address)
    with made.socket:
        yield made
        made.close()


@pytest.fixture
def doomed(call_centre):
    """A worker of this test's own."""
    process = call_centre.site.start("worker", name="doomed")
    yield process
    call_centre.site.stop("doomed")


def hold(_redemption):
    gevent.sleep(60)


MOMENTS = {
    "authorized": {"state": "AUTHORIZED", "gateways": {"edge-a": Gateway()}, "redeem": hold},
    "ringing": {"state": "AUTHORIZED", "gateways": {"edge-a": Gateway(Carrier(after_s=None))}},
    "answered": {"state": "ANSWERED", "gateways": {"edge-a": Gateway(Carrier(after_s=0.0))}},
}  # fmt: skip
POSITION = {name: 40 + i for i, name in enumerate(MOMENTS)}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_workers_call_is_ended_by_freeswitchs_records(ends, doomed, moment):
    """While a leg is up nothing changes; its records end the call once, in the state and with the times they say."""
    ends.kill(doomed, POSITION[moment], **MOMENTS[moment])
    eventually(lambda: ends.reaper.look().up)
    assert ends.record()["state"] == MOMENTS[moment]["state"]
    began = datetime.now(UTC) - timedelta(seconds=5)
    answered = None if moment == "authorized" else began
    assert ends.post(ends.far, answered=answered, originator=ends.call.uuid)[0] == 200
    assert ends.post(ends.call.uuid, answered=answered)[0] == 200
    record = eventually(lambda: (r := ends.record())["ended_by"] and r)
    assert record["state"] == ("COMPLETED" if answered else "NO_ANSWER")
    assert (record["ended_by"], record["cdr"], record["answered_at"]) == ("cdr", "ended", answered)
    assert ends.post(ends.call.uuid, answered=answered)[0] == 200
    assert len(ends.events("call.completed")) == 1
    assert ends.permits() == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_workers_call_without_a_record_is_lost(ends, doomed, moment):
    """Its permit is gone within five seconds of the worker's death, and its end is one nobody knows."""
    ends.kill(doomed, POSITION[moment], **MOMENTS[moment])
    ends.answers.up = set()
    eventually(lambda: ends.reaper.look().verdicts and not ends.permits())
    assert time.monotonic() - ends.killed_at < BACK_WITHIN_S
    record = ends.ended()
    assert (record["state"], record["ended_by"], record["ended_at"]) == ("LOST", "reaper", None)
    assert record["ended_before"] is not None
    (event,) = ends.events("call.lost")
    assert event["detail"]["reason"] == "leg_gone"


def test_a_restarted_freeswitch_loses_its_calls_at_once(ends, doomed):
    """Another core UUID means that the call is over, whatever the worker knew; nothing is waited for."""
    ends.kill(doomed, 43, **MOMENTS["answered"])
    eventually(lambda: ends.reaper.look().up)
    ends.answers.up, ends.answers.core, ends.answers.uptime_s = set(), "core-2", 0
    record = ends.ended()
    assert (record["state"], record["ended_by"]) == ("LOST", "reaper")
    assert [event["detail"]["reason"] for event in ends.events("call.lost")] == ["switch_restarted"]


def test_while_freeswitch_is_away_nothing_changes(ends, doomed):
    """No answer is no absence."""
    ends.kill(doomed, 44, **MOMENTS["answered"])
    eventually(lambda: ends.reaper.look().up)
    ends.answers.get = lambda command, default="": "-ERR\n"
    with pytest.raises(FreeSwitchAway):
        ends.reaper.look()
    assert ends.record()["state"] == "ANSWERED"


def test_a_living_workers_call_is_not_touched(ends, call_centre):
    """A record that comes before the worker's own end waits for it and then agrees."""
    ends.playing = gevent.spawn(lambda: None)
    result = call_centre.place(
        Call(
            dialled=call_centre.token(SHOP, 45),
            agent=Agent(domain=SHOP.domain),
            gateways={"edge-a": Gateway(Carrier())},
        )
    )
    ends.call = Call(dialled="", uuid=result.uuid)
    record = call_centre.record(SHOP, result)
    assert record["state"] == "COMPLETED"
    times = {"answered": record["answered_at"], "ended": record["ended_at"]}
    ends.post(str(record["customer_channel"]), originator=result.uuid, **times)
    assert eventually(lambda: (r := ends.record())["cdr"] and r) == record | {"cdr": "agrees"}


def test_the_commands_do_the_same_once(ends, doomed, call_centre, tmp_path):
    """`reaper --once` says what it found; `intake --spool` takes the files of a folder, sets aside what is none."""
    site, folder = call_centre.site, tmp_path / "spool"
    ends.kill(doomed, 46, **MOMENTS["answered"])
    config = site.config("reaper")
    config.write_text(
        f'[database]\nurl = "{site.url("reaper")}"\n[reaper]\n'
        f'[[reaper.switches]]\naddress = "{ends.socket.address}"\npassword = "file:{tmp_path}/esl.secret"\n'
    )
    config.chmod(0o600)
    once = ("reaper", "reaper", "--once", "--format", "json")
    looked = eventually(lambda: (r := json.loads(site.run(*once)))["up"] and r)
    assert (looked["up"], ends.record()["state"]) == (1, "ANSWERED")
    folder.mkdir()
    stamp = str(int(time.time() * 1e6))
    variables = {"uuid": ends.far, "originator": ends.call.uuid, "end_uepoch": stamp, "answer_uepoch": stamp}
    (folder / f"{ends.far}.cdr.json").write_text(json.dumps({"variables": variables | {"sip_to_user": NUMBER}}) + "\n")
    assert site.run("intake", "intake", "--spool", str(folder)) == "1 records taken, 0 set aside, 0 left\n"
    assert (ends.record()["state"], list(folder.iterdir())) == ("COMPLETED", [])
    bad = folder / "a_1.cdr.json"
    bad.write_text(NUMBER)
    os.utime(bad, (0, 0))
    with pytest.raises(SiteFailed, match=r"intake\.spool_left"):
        site.run("intake", "intake", "--spool", str(folder))
    assert [path.name for path in folder.iterdir()] == ["a_1.cdr.json.rejected"]


BAD_POSTS = {
    "wrong-secret": ({"secret": "x" * 32}, b"{}", 401, "refused"),
    "other-path": ({"path": "/other"}, b"{}", 404, "refused"),
    "no-record": (
        {},
        b"tel:" + NUMBER.encode(),
        400,
        "intake.rejected: it is neither JSON nor encoded as mod_json_cdr does",
    ),
    "no-leg": ({}, b'{"variables": {}}', 400, "intake.rejected: it does not say which leg ended when"),
    "too-long": ({}, b"x" * 600_000, 413, "intake.rejected"),
}


@pytest.mark.parametrize("case", BAD_POSTS)
def test_a_bad_post_gets_one_clear_answer(intake, case):
    """Who may not, what is none and what is too long are told apart, by ids and never by what was sent."""
    more, body, status, text = BAD_POSTS[case]
    assert post(intake.address, body, **more) == (status, text)


def test_a_client_that_waits_to_be_asked_for_its_body_is(intake):
    """Curl sends `Expect: 100-continue` before a long body."""
    body = b'{"variables": {}}'
    status, _ = post(intake.address, body, Expect="100-continue")
    assert status == 400


def test_without_a_database_freeswitch_is_told_to_keep_the_record(ends, intake, call_centre):
    """503 makes mod_json_cdr write the record to its folder; afterwards posts are taken again."""
    ends.playing = gevent.spawn(lambda: None)
    postgres = call_centre.site.postgres
    postgres.halt("immediate")
    try:
        assert ends.post(str(uuid4())) == (503, "away")
    finally:
        postgres.start()
    deadline = time.monotonic() + DEADLINE_S
    while ends.post(str(uuid4()))[0] != 200:
        assert time.monotonic() < deadline
