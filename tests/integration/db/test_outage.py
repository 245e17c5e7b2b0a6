"""PostgreSQL stopped, frozen and restarted under a gevent process: calls end in time, other greenlets never notice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import gevent
import psycopg2
import psycopg2.extensions
import pytest
from gevent.event import Event
from test_engine import deaf_listener

from esl_shield.config.database import DatabaseConfig
from esl_shield.db import waiting
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.db.engine import Database, use_gevent
from esl_shield.errors.config import ConfigError
from esl_shield.errors.database import DatabaseAway

CONNECT_S = 0.6
STATEMENT_S = 0.6
BOUND_S = CONNECT_S + STATEMENT_S + 0.5  # two shared cores
LONGEST_PAUSE_S = 0.25

FUNCTIONS = """
CREATE SCHEMA shield_api;
CREATE FUNCTION shield_api.pid() RETURNS int LANGUAGE sql AS 'SELECT pg_backend_pid()';
CREATE FUNCTION shield_api.nap(s float) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(s); RETURN pg_backend_pid(); END $$;
"""


@pytest.fixture(scope="module")
def server():
    """A cluster these tests may stop and freeze."""
    with EmbeddedPostgres() as postgres:
        _admin(postgres, FUNCTIONS)
        yield postgres


def _admin(postgres, statement):
    where = {"host": str(postgres.socket_folder), "user": "shield_admin", "dbname": "postgres"}
    with contextlib.closing(psycopg2.connect(**where, password=postgres.password("shield_admin"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def cooperative():
    """Make this process what worker and resolver are: gevent, not patched."""
    use_gevent()
    yield
    psycopg2.extensions.set_wait_callback(None)
    waiting._state["gevent"] = False


@pytest.fixture
def engine(server, cooperative):
    """A pool of four."""
    made = Database(
        DatabaseConfig(server.url(), pool_size=4, connect_timeout_s=CONNECT_S, statement_timeout_s=STATEMENT_S),
        application_name="tests",
    )
    yield made
    made.close()


@contextlib.contextmanager
def ticking():
    """A greenlet that wakes every 10 ms; at the end, its longest pause."""
    pauses, done = [], Event()

    def tick():
        before, over = time.monotonic(), False
        while not over:
            over = done.wait(0.01)
            now = time.monotonic()
            pauses.append(now - before)
            before = now

    greenlet = gevent.spawn(tick)
    gevent.sleep(0)  # it runs from here on
    try:
        yield pauses
    finally:
        done.set()
        greenlet.join()


@contextlib.contextmanager
def frozen(postgres):
    """The postmaster and all its backends stopped by SIGSTOP."""
    children = Path(f"/proc/{postgres.pid}/task/{postgres.pid}/children").read_text().split()
    pids = [postgres.pid, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _away_within_bound(engine, function="pid", *arguments):
    began = time.monotonic()
    with pytest.raises(DatabaseAway):
        engine.call(function, *arguments)
    assert time.monotonic() - began < BOUND_S


def test_calls_of_many_greenlets_run_at_the_same_time(engine):
    """Eight greenlets share four connections and wait for each other, not for the process."""
    with ticking() as pauses:
        jobs = [gevent.spawn(engine.call, "nap", 0.05) for _ in range(8)]
        gevent.joinall(jobs, raise_error=True)
    assert len({job.value[0][0] for job in jobs}) <= 4
    assert max(pauses) < LONGEST_PAUSE_S


def test_a_frozen_server_is_away_in_time_and_blocks_nobody(server, engine):
    """Postmaster and backends stopped: old and new connections give up in time, cancelling too; then all is well."""
    warm = [gevent.spawn(engine.call, "nap", 0.05) for _ in range(4)]
    gevent.joinall(warm, raise_error=True)
    with ticking() as pauses, frozen(server):
        jobs = [gevent.spawn(_away_within_bound, engine) for _ in range(12)]
        gevent.joinall(jobs, raise_error=True)
        _away_within_bound(engine)
    assert max(pauses) < LONGEST_PAUSE_S
    assert isinstance(engine.call("pid")[0][0], int)


def test_a_crashed_server_is_away_and_comes_back_by_itself(server, engine):
    """Stopped at once, calls are away; started again, the next call succeeds on a new connection."""
    before = engine.call("pid")
    server.halt("immediate")
    with ticking() as pauses:
        _away_within_bound(engine)
        _away_within_bound(engine)
    server.start()
    assert engine.call("pid") != before
    assert max(pauses) < LONGEST_PAUSE_S


def test_a_restart_between_calls_goes_unnoticed(server, engine):
    """Connections found closed before anything was sent are replaced, all of them at once."""
    warm = [gevent.spawn(engine.call, "nap", 0.05) for _ in range(4)]
    gevent.joinall(warm, raise_error=True)
    server.halt("immediate")
    server.start()
    assert isinstance(engine.call("pid")[0][0], int)


def test_a_crash_during_a_call_is_away(server, engine):
    """The statement's fate is unknown: it is not sent again."""
    job = gevent.spawn(_away_within_bound, engine, "nap", 30)
    _await_running(server, "nap")
    server.halt("immediate")
    server.start()
    job.get()


def _await_running(postgres, name):
    deadline = time.monotonic() + 10
    running = (
        f"SELECT 1 FROM pg_stat_activity WHERE query LIKE '%.{name}(%' AND query NOT LIKE '%stat%' AND state = 'active'"
    )
    while not _admin(postgres, running):
        assert time.monotonic() < deadline


def test_a_greenlets_own_timeout_leaves_no_half_used_connection(server, engine):
    """gevent.Timeout in mid-statement: the connection is closed, not reused, and its statement is cancelled."""
    before = engine.call("pid")[0][0]
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        engine.call("nap", 30)
    after = engine.call("pid")[0][0]
    assert after != before
    deadline = time.monotonic() + 10
    while _admin(server, f"SELECT 1 FROM pg_stat_activity WHERE pid = {before}"):
        assert time.monotonic() < deadline


def test_a_greenlet_killed_while_calling_gives_its_slot_back(engine):
    """Killed greenlets, waiting for an answer or for a connection, leave the pool whole."""
    jobs = [gevent.spawn(engine.call, "nap", 30) for _ in range(8)]
    gevent.sleep(0)  # lets them start; what they wait for then is the server's
    gevent.killall(jobs)
    answers = [gevent.spawn(engine.call, "nap", 0.01) for _ in range(4)]
    gevent.joinall(answers, raise_error=True)


def test_a_host_that_drops_packets_blocks_nobody(cooperative):
    """Connecting gives up in time while other greenlets run."""
    with deaf_listener() as port, ticking() as pauses:
        config = DatabaseConfig(
            f"postgresql+psycopg2://a:b@127.0.0.1:{port}/c",
            connect_timeout_s=CONNECT_S,
            statement_timeout_s=STATEMENT_S,
        )
        _away_within_bound(Database(config, application_name="tests"))
    assert max(pauses) < LONGEST_PAUSE_S


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("postgresql+psycopg2://a:b@database.example/c", False),
        ("postgresql+psycopg2://a:b@localhost/c", False),
        ("postgresql+psycopg2://a:b@/c?host=127.0.0.1,db.example", False),
        ("postgresql+psycopg2://a:b@192.0.2.1:5432/c", True),
        ("postgresql+psycopg2://a:b@[2001:db8::1]/c", True),
        ("postgresql+psycopg2://a:b@/c?host=/run/postgresql", True),
        ("postgresql+psycopg2://a:b@db.example/c?hostaddr=192.0.2.1&sslmode=verify-full", True),
    ],
)
def test_under_gevent_hosts_are_addresses(cooperative, url, allowed):
    """A name would be looked up while everybody waits, so it is a configuration error; a CLI process may use one."""
    made = contextlib.nullcontext() if allowed else pytest.raises(ConfigError, match="must be an IP address")
    with made:
        Database(DatabaseConfig(url), application_name="tests")


def test_other_connections_of_the_process_do_not_block_it(server, cooperative):
    """What anybody else opens with psycopg2 waits cooperatively too."""
    with ticking() as pauses:
        assert _admin(server, "SELECT pg_sleep(0.3), 7")[0][1] == 7
    assert max(pauses) < LONGEST_PAUSE_S


@pytest.mark.skipif(not psycopg2.__version__.startswith("2.9."), reason="known of psycopg2 2.9")
def test_psycopg2s_own_cancel_would_block_the_process(server, cooperative):
    """Why cancelling goes to libpq directly: psycopg2's cancel holds the interpreter lock, from whatever thread."""
    where = {"host": str(server.socket_folder), "user": "shield_admin", "dbname": "postgres"}
    connection = psycopg2.connect(**where, password=server.password("shield_admin"))
    with ticking() as pauses:
        os.kill(server.pid, signal.SIGSTOP)
        waker = subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {server.pid}"])  # this process is stuck meanwhile
        thread = threading.Thread(target=connection.cancel)
        thread.start()
        while thread.is_alive():
            gevent.sleep(0.01)
        waker.wait()
    connection.close()
    assert max(pauses) > 0.5
