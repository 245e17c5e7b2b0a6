"""When a worker starts, when it does not, and what it leaves when it is stopped."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import gevent
import pytest
from fix_site import BANK, DEADLINE_S, eventually
from sqlalchemy.engine import make_url

from esl_shield.esl import double
from esl_shield.service.worker import LEDGER_DRAIN_S


@pytest.fixture
def configure(call_centre):
    """Write a worker's configuration with changes, readable by its owner only; answers the path."""

    def configure(name, change=lambda text: text, more=""):
        path = call_centre.site.folder / f"{name}.toml"
        path.write_text(change(call_centre.site.config("worker").read_text()) + more)
        path.chmod(0o600)
        return path

    return configure


@pytest.fixture
def start(call_centre, configure):
    """Start a worker whose pages are at a port of its own; answers the process and its health."""
    started = []

    def start(name, port, esl=""):
        path = configure(
            name,
            lambda text: text.replace("[esl]\n", f"[esl]\n{esl}"),
            more=f'\n[metrics]\nlisten = "127.0.0.1:{port}"\n',
        )
        process = call_centre.site.start("worker", config=path, name=name)
        started.append(name)
        return process, lambda: status(f"http://127.0.0.1:{port}/healthz")

    yield start
    for name in started:
        call_centre.site.stop(name)


def status(url):
    """The HTTP status of a page."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def start_in_vain(path):
    """Run a worker that must not start; returns its one sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(path), "worker"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def replace_url(url):
    """A change of a configuration's database URL."""
    return lambda text: re.sub(r'(?m)^url = ".*"$', lambda _: f'url = "{url}"', text)


def test_a_wrong_password_starts_no_worker(call_centre, configure):
    """The server's sentence is repeated, the password is not."""
    url = make_url(call_centre.site.url("worker")).set(password="not-the-password")
    said = start_in_vain(configure("wrong", replace_url(url.render_as_string(hide_password=False))))
    assert "password authentication failed" in said
    assert "[database.login_refused]" in said
    assert "not-the-password" not in said


@pytest.mark.parametrize("role", ["resolver", "seeder", "auditor"])
def test_another_roles_login_starts_no_worker(call_centre, configure, role):
    """A login that lacks a worker's right is one sentence and exit code 2."""
    assert "[database.refused]" in start_in_vain(configure("stray", replace_url(call_centre.site.url(role))))


def test_an_administrators_login_starts_no_worker(call_centre, configure):
    """A login that could also redeem permits is not a worker's."""
    said = start_in_vain(configure("mighty", replace_url(call_centre.site.postgres.url())))
    assert "shield_api.tenant_data_key" in said
    assert "[database.login_misplaced]" in said


def test_a_database_without_our_schema_starts_no_worker(call_centre, configure):
    """A database nobody upgraded is found out at the start, and the sentence says what to run."""
    postgres = call_centre.site.postgres
    url = make_url(postgres.url("site_worker")).set(database="template1").render_as_string(hide_password=False)
    assert "esl-shield db upgrade" in start_in_vain(configure("early", replace_url(url)))


def test_a_database_that_does_not_exist_starts_no_worker(call_centre, configure):
    """The wrong name of a database does not mend itself."""
    url = make_url(call_centre.site.url("worker")).set(database="nowhere").render_as_string(hide_password=False)
    said = start_in_vain(configure("nowhere", replace_url(url)))
    assert '"nowhere" does not exist' in said
    assert "[database.login_refused]" in said


@pytest.mark.parametrize("section", ["esl", "metrics"])
def test_a_taken_port_is_a_config_error(call_centre, configure, section):
    """A port somebody else has is one sentence that names file, section and reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f'"127.0.0.1:{taken.getsockname()[1]}"'
        if section == "esl":
            path = configure("taken", lambda text: text.replace('"127.0.0.1:0"', address))
        else:
            path = configure("taken", more=f"\n[metrics]\nlisten = {address}\n")
        said = start_in_vain(path)
    assert f"{path}: [{section}] listen is not usable" in said
    assert "Address already in use" in said


def test_a_database_away_at_the_start_is_waited_for(call_centre, start, unused_tcp_port):
    """A worker that is up before its database says so, answers 503, is not well, and works once the other is there."""
    call_centre.site.postgres.halt("immediate")
    try:
        process, health = start("eager", unused_tcp_port)
        assert health() == 503
        refused = double.play(call_centre.call(BANK, 51), address_of(process), redeem=call_centre.redeem)
        assert refused.status == 503
        assert "event=health.unwell error_id=database.away" in process.log.read_text()
    finally:
        call_centre.site.postgres.start()
    eventually(lambda: health() == 200)
    assert "event=health.well" in process.log.read_text()
    result = double.play(call_centre.call(BANK, 51), address_of(process), redeem=call_centre.redeem)
    assert call_centre.record(BANK, result)["state"] == "COMPLETED"


def test_health_follows_the_database(call_centre, start, unused_tcp_port):
    """A worker that was well is not while its database is away, and is again afterwards."""
    _, health = start("watchful", unused_tcp_port)
    assert health() == 200
    call_centre.site.postgres.halt("immediate")
    try:
        eventually(lambda: health() == 503)
    finally:
        call_centre.site.postgres.start()
    eventually(lambda: health() == 200)


def test_a_call_longer_than_the_drain_is_recorded_as_lost(call_centre, start, unused_tcp_port):
    """The worker leaves in time with 0; the two people talk on; the record says that we lost sight of them."""
    process, health = start("brief", unused_tcp_port, "drain_timeout_s = 0.3\n")
    call = call_centre.call(BANK, 52, hangs_up_after_s=4.0)
    playing = gevent.spawn(double.play, call, address_of(process), redeem=call_centre.redeem)
    record = eventually(lambda: live(call_centre, call))[0]
    assert health() == 200
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(DEADLINE_S) == 0
    (after,) = call_centre.query("SELECT state FROM dba.calls WHERE id = %s", record["id"])
    assert after["state"] == "LOST"
    assert "event=worker.calls_abandoned count=1" in process.log.read_text()
    assert not playing.ready()
    assert playing.get(timeout=DEADLINE_S).hangup_cause == "NORMAL_CLEARING"


def test_records_that_cannot_be_written_are_counted_at_the_end(call_centre, start, unused_tcp_port):
    """With the database away at the stop the exit code is 1 and the log says how many statements were lost."""
    process, _ = start("unheard", unused_tcp_port, "drain_timeout_s = 0.3\n")
    call = call_centre.call(BANK, 53, hangs_up_after_s=2.0)
    playing = gevent.spawn(double.play, call, address_of(process), redeem=call_centre.redeem)
    eventually(lambda: live(call_centre, call))
    call_centre.site.postgres.halt("immediate")
    try:
        process.popen.send_signal(signal.SIGTERM)
        code = process.popen.wait(DEADLINE_S + LEDGER_DRAIN_S)
    finally:
        call_centre.site.postgres.start()
    assert code == 1
    log = process.log.read_text()
    assert "event=worker.records_lost count=1" in log
    assert len(re.findall(r"event=cdr\.lost call=[0-9a-f-]{36}", log)) == 1
    playing.get(timeout=DEADLINE_S)


def address_of(process):
    """Where FreeSWITCH connects."""
    return process.address.host, process.address.port


def live(call_centre, call):
    """The records of a call that is up now."""
    return call_centre.query("SELECT * FROM dba.calls WHERE state = 'ANSWERED' AND token = %s", call.dialled)
