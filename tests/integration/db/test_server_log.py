"""The server's log, with the settings production servers have."""

from __future__ import annotations

import psycopg2
import pytest
from fix_postgres import ShieldDatabase
from shield_calls import Attempt

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.upgrade import make_roles, upgrade
from esl_shield.vault import tokens

SETTINGS = {
    "log_min_error_statement": "error",
    "log_lock_waits": "on",
    "deadlock_timeout": "20ms",
    "log_min_duration_statement": "0",
    "log_statement": "all",
}
NUMBER = next(n for n in (f"138001380{at:02d}" for at in range(100)) if tokens.is_valid(n))


@pytest.fixture
def site():
    """A server of its own with one tenant."""
    with EmbeddedPostgres(settings=SETTINGS) as postgres:
        engine = sqlalchemy_engine(DatabaseConfig(postgres.url()))
        make_roles(engine)
        upgrade(engine)
        made = ShieldDatabase(postgres, "postgres")
        made.tenant("acme")
        yield made
        made.close()


def _dial_the_number(site, config):
    """A worker asks about a number that has a token's check digit, in vain: once it waits for a lock, once too long."""
    lock = site.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE shield.tenants")
    worker = site.connect(config)
    for setting in ("lock_timeout", "statement_timeout"):
        with worker.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = 0; SET statement_timeout = 0; SET {setting} = 100")
            with pytest.raises(psycopg2.Error):
                cursor.execute(
                    "SELECT * FROM shield_api.authorize_call(gen_random_uuid(), 'acme.example', '1001', %s, NULL, NULL,"
                    " %s, 'gw', 'edge', NULL, NULL)",
                    (NUMBER, Attempt().permit),
                )
    lock.rollback()
    return (site.cluster.folder / "server.log").read_text()


@pytest.mark.slow
def test_a_number_dialled_for_a_token_does_not_get_into_the_servers_log(site):
    """A statement that waits for a lock, or runs into a time-out, is logged without its text."""
    config = site.login("worker", ["acme"])
    log = _dial_the_number(site, config)
    assert "canceling statement due to lock timeout" in log
    assert "canceling statement due to statement timeout" in log
    assert NUMBER not in log
    # The same login without its settings: what the test looks for is there to be found.
    site.query(f"ALTER ROLE {config.url.split('//')[1].split(':')[0]} RESET ALL")
    assert NUMBER in _dial_the_number(site, config)
