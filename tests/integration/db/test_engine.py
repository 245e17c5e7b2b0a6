"""The engine: one statement, one round trip, errors that say nothing of the data."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import threading
import time
import traceback
import uuid

import pytest
from polling import at_most
from shield_calls import Attempt

from esl_shield.config.database import DatabaseConfig
from esl_shield.db import waiting
from esl_shield.db.engine import Database
from esl_shield.errors.config import ConfigError
from esl_shield.errors.database import DatabaseAway, DatabaseRefused, LoginRefused

NUMBER = "+8613800138000"
ECHO = """
CREATE FUNCTION shield_api.echo(a jsonb, b bytea, c uuid, d timestamptz, e text[])
RETURNS TABLE (a jsonb, b bytea, c uuid, d timestamptz, e text[]) LANGUAGE sql AS 'SELECT a, b, c, d, e'
"""


@pytest.fixture
def engine(database):
    """The administrator's engine: tests here make functions of their own."""
    return database.open(database.admin)


def _function(database, name, body, arguments="", returns="int"):
    database.query(
        f"CREATE FUNCTION shield_api.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
    )


def test_values_come_back_as_they_went(database, engine):
    """JSON, bytes, UUID, moments and lists survive the way there and back."""
    database.query(ECHO)
    moment = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    values = ({"a": [1, None, "%s"]}, b"\x00\xff%s", uuid.uuid4(), moment, ["%", 'q"', "'"])
    assert engine.call("echo", *values) == [values]
    assert engine.call("echo", [{"a": 1}], None, None, None, []) == [([{"a": 1}], None, None, None, [])]


def test_a_function_is_named_not_written(engine):
    """Anything but a plain name is a mistake of the caller."""
    for name in ("now()", "a;b", "A", "", "pg_catalog.now"):
        with pytest.raises(ValueError, match="name of a function"):
            engine.call(name)


def test_connections_are_used_again(database, engine):
    """Calls one after another use one connection, the last one given back first."""
    _function(database, "pid", "RETURN pg_backend_pid();")
    assert len({engine.call("pid")[0][0] for _ in range(5)}) == 1


@pytest.mark.parametrize(
    ("body", "sqlstate"),
    [
        (f"RAISE EXCEPTION 'a {NUMBER}' USING DETAIL = '{NUMBER}', ERRCODE = 'ES001';", "ES001"),
        (f"RETURN 'x {NUMBER}'::int;", "22P02"),
        (f"INSERT INTO public.once VALUES ('{NUMBER}'), ('{NUMBER}'); RETURN 1;", "23505"),
        ("PERFORM 1 / 0; RETURN 1;", "22012"),
    ],
)
def test_a_refusal_has_its_code_and_nothing_else(database, engine, body, sqlstate):
    """Messages and details of PostgreSQL, which may quote values, do not get into our error or its traceback."""
    database.query("CREATE TABLE public.once (number text UNIQUE)")
    _function(database, "fails", body)
    _function(database, "pid", "RETURN pg_backend_pid();")
    before = engine.call("pid")
    with pytest.raises(DatabaseRefused) as caught:
        engine.call("fails")
    assert caught.value.sqlstate == sqlstate
    told = "".join(traceback.format_exception(caught.value))
    assert "13800138000" not in told
    assert caught.value.__context__ is None
    assert engine.call("pid") == before


@pytest.mark.parametrize("text", [f"{NUMBER}\x00", f"{NUMBER}\ud800"])
def test_text_that_cannot_be_sent_is_refused_without_quoting_it(database, engine, text):
    """NUL and lone surrogates never reach the server; the connection stays in order."""
    _function(database, "takes", "RETURN 1;", "t text")
    with pytest.raises(DatabaseRefused) as caught:
        engine.call("takes", text)
    assert caught.value.sqlstate == "22021"
    assert "13800138000" not in "".join(traceback.format_exception(caught.value))
    assert engine.call("takes", "plain") == [(1,)]


def test_a_slow_statement_is_given_up_and_cancelled(database):
    """Beyond statement_timeout_s the caller gets DatabaseAway, and the server is told to stop."""
    _function(database, "slow", "PERFORM pg_sleep(60); RETURN 1;")
    config = DatabaseConfig(database.admin.url, statement_timeout_s=0.3)
    engine = database.open(config)
    with at_most(0.3), pytest.raises(DatabaseAway, match=r"0\.3 s"):
        engine.call("slow")
    running = (
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%.slow()%' AND query NOT LIKE '%stat%' AND state = 'active'"
    )
    _await(lambda: database.query(running) == [])


def _await(condition, timeout_s=10.0):
    """Poll what another process decides when to make true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"


def test_a_statement_the_server_ends_is_away(database):
    """The role's own statement_timeout answers before ours and counts as away, not as refused."""
    _function(database, "slow", "PERFORM pg_sleep(60); RETURN 1;")
    database.query("SET statement_timeout = 0")
    config = database.login("worker")
    database.query("GRANT EXECUTE ON FUNCTION shield_api.slow TO shield_worker")
    with pytest.raises(DatabaseAway, match="57014"):
        database.open(config).call("slow")


def test_a_connection_ended_while_idle_is_replaced_unnoticed(database, engine):
    """The server ended every idle connection: the next call opens another and succeeds."""
    _function(database, "pid", "RETURN pg_backend_pid();")
    before = engine.call("pid")[0][0]
    database.query("SELECT pg_terminate_backend(%s, 10000)", before)
    assert engine.call("pid")[0][0] != before


def test_a_connection_ended_during_a_statement_is_away(database, engine):
    """Whether a statement ran is not known then, so it is not sent again."""
    database.query("CREATE SEQUENCE public.runs")
    database.query("CREATE TABLE public.log (a int)")
    _function(database, "suicide", "PERFORM nextval('public.runs');"
              " PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN 1;")  # fmt: skip
    with pytest.raises(DatabaseAway):
        engine.call("suicide")
    assert database.query("SELECT last_value FROM public.runs") == [(1,)]


def test_a_busy_pool_is_away(database):
    """A call that gets no connection in time says so."""
    _function(database, "hold", "PERFORM pg_advisory_lock(1); PERFORM pg_advisory_unlock(1); RETURN 1;")
    engine = database.open(
        DatabaseConfig(database.admin.url, pool_size=1, connect_timeout_s=0.2, statement_timeout_s=30)
    )
    database.query("SELECT pg_advisory_lock(1)")
    thread = threading.Thread(target=engine.call, args=("hold",))
    thread.start()
    _await(lambda: database.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != [])
    with pytest.raises(DatabaseAway, match="all 1 connections are busy"):
        engine.call("hold")
    database.query("SELECT pg_advisory_unlock(1)")
    thread.join()


def test_a_wrong_password_is_a_refused_login_and_tells_no_password(database):
    """The sentence names the login, not the password; the pool is not used up by failures."""
    url = database.admin.url.replace(database.cluster.password("shield_admin"), "wrong-password")
    engine = database.open(DatabaseConfig(url, pool_size=1))
    for _ in range(3):
        with pytest.raises(LoginRefused, match="password authentication failed") as caught:
            engine.call("pid")
        assert "wrong-password" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.sqlstate == "28P01"


def test_a_closed_engine_is_away(engine):
    """After close nothing is opened any more."""
    engine.close()
    with pytest.raises(DatabaseAway, match="ending"):
        engine.call("pid")


def test_a_url_that_cannot_be_read_is_not_quoted():
    """A mistyped URL with a password in it is a configuration error that does not repeat it."""
    with pytest.raises(ConfigError) as caught:
        Database(DatabaseConfig("postgresql+psycopg2://user:secret@host:port/db"), application_name="tests")
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@contextlib.contextmanager
def deaf_listener():
    """A TCP port whose queue is full: further connection attempts get no answer, as with a firewall that drops them."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_connecting_to_a_host_that_drops_packets_is_bounded():
    """No answer to the first packet: DatabaseAway within connect_timeout_s."""
    with deaf_listener() as port:
        config = DatabaseConfig(f"postgresql+psycopg2://a:b@127.0.0.1:{port}/c", connect_timeout_s=0.3)
        with at_most(0.3), pytest.raises(DatabaseAway, match=r"no connection within 0\.3 s"):
            Database(config, application_name="tests").call("pid")


def test_a_server_that_accepts_and_says_nothing_is_away():
    """A connection without a greeting is given up in time too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql+psycopg2://a:b@127.0.0.1:{server.getsockname()[1]}/c"
        with pytest.raises(DatabaseAway, match="no connection within"):
            Database(DatabaseConfig(url, connect_timeout_s=0.3), application_name="tests").call("pid")


def test_a_refused_connection_is_away():
    """Nobody listens: away at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DatabaseAway):
        Database(DatabaseConfig(f"postgresql+psycopg2://a:b@127.0.0.1:{port}/c"), application_name="tests").call("pid")


def test_no_hub_is_made_for_a_plain_process(database, tenants):
    """A command that calls the database does not become a gevent process."""
    assert not waiting.uses_gevent()
    worker = database.open(database.login("worker", ["acme"]))
    assert Attempt().authorize(worker)[0] == "ALLOWED"
