"""A login the server does not let in is told apart from a server that is away, in every way we connect."""

from __future__ import annotations

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from esl_shield.config.database import DatabaseConfig
from esl_shield.db import failures
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.upgrade import is_current
from esl_shield.errors.database import DatabaseAway, DatabaseRefused, LoginRefused

WRONG = "wrong-password"


@pytest.fixture(params=["password", "no password", "user", "database"])
def wrong(database, request):
    """A configuration with one thing wrong."""
    url = make_url(database.admin.url)
    changed = {
        "password": url.set(password=WRONG),
        "no password": url._replace(password=None),
        "user": url.set(username="nobody_we_know"),
        "database": url.set(database="no_such_database"),
    }[request.param]
    return DatabaseConfig(changed.render_as_string(hide_password=False))


def test_a_process_is_refused(database, wrong):
    """On the call path it is a DatabaseRefused, so calls fail closed, and says nothing of the password."""
    with pytest.raises(LoginRefused) as caught:
        database.open(wrong).call("anything")
    assert isinstance(caught.value, DatabaseRefused)
    assert caught.value.exit_code == 2
    assert WRONG not in str(caught.value)
    assert "28P01" not in str(caught.value)


def test_a_command_is_refused(wrong):
    """A command's own connection says the same."""
    with pytest.raises(LoginRefused):
        is_current(sqlalchemy_engine(wrong))


def test_a_right_to_connect_that_is_missing_is_a_refusal(database):
    """A login that may not connect to this database is refused, not away."""
    login = database.login("worker")
    database.query(f"REVOKE CONNECT ON DATABASE {database.name} FROM PUBLIC, {make_url(login.url).username}")
    with pytest.raises(LoginRefused) as caught:
        database.open(login).call("anything")
    assert caught.value.sqlstate == "42501"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FATAL:  28P01: Passwort-Authentifizierung für Benutzer »w« fehlgeschlagen\nLOCATION:  auth.c:1", "Passwort"),
        ("connection to server at x failed: FATAL:  28000: keine pg_hba.conf-Zeile\nconnection to ...", "keine"),
        ('FATAL:  password authentication failed for user "w"', "password authentication"),
    ],
)
def test_the_language_of_the_server_does_not_matter(text, problem):
    """The code decides; without one, the words of libpq and of a server that speaks English."""
    error = failures.connection_failed(psycopg2.OperationalError(text))
    assert isinstance(error, LoginRefused)
    assert problem in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "FATAL:  57P03: the database system is starting up",
        "FATAL:  53300: sorry, too many clients already",
        "connection to server at x failed: Connection refused",
        "server closed the connection unexpectedly",
        "",
    ],
)
def test_what_may_pass_is_away(text):
    """A server that starts, is full or is not there may answer later."""
    assert isinstance(failures.connection_failed(psycopg2.OperationalError(text)), DatabaseAway)
