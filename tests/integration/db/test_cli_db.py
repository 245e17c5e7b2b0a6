"""The commands an administrator types."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

ROOT = Path(__file__).parents[3]
LONG = "long enough to be one\n"


@pytest.fixture
def run(database, tmp_path):
    """Run `esl-shield db ...` as the administrator."""
    config = tmp_path / "admin.toml"
    config.write_text(f'[database]\nurl = "{database.admin.url}"\n')
    config.chmod(0o600)

    def call(*arguments, stdin=""):
        return subprocess.run(
            [sys.executable, "-m", "esl_shield", "--config", str(config), "db", *arguments],
            input=stdin, capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip

    return call


def test_upgrade_and_roles_say_that_nothing_is_to_do(run):
    """On a current database both say so on stdout and succeed."""
    assert run("upgrade").stdout == "up to date at revision 0003\n"
    assert run("roles").stdout == "all roles are there\n"
    report = json.loads(run("upgrade", "--format", "json").stdout)
    assert report["changed"] is False


def test_downgrade_asks_and_undoes(run):
    """Without a yes nothing happens; with it the newest revision goes, and upgrade brings it back."""
    assert run("downgrade", stdin="n\n").returncode == 130
    unanswered = run("downgrade")
    assert unanswered.returncode == 2
    assert "give --yes" in unanswered.stderr
    assert run("upgrade").stdout == "up to date at revision 0003\n"
    assert run("downgrade", "--yes").stdout == "downgraded from 0003 to 0002\n"
    assert run("upgrade").stdout.startswith("at revision 0003 (was 0002), functions, views and rights applied")
    assert run("downgrade", "--yes").returncode == 0
    assert run("downgrade", "--yes").returncode == 0
    assert run("downgrade", "--yes").stdout == "downgraded from 0001 to nothing\n"
    again = run("downgrade", "--yes")
    assert again.returncode == 2
    assert "There is nothing to undo: this database has no revision" in again.stderr


def test_a_login_is_made_and_changed(run, database, tenants, cluster):
    """The password comes on standard input; the login connects with it, and again with the next one."""
    arguments = ("login", "test_cli", "--role", "worker", "--tenant", "acme", "--tenant", "brick", "--mint-per-s", "7")
    assert run(*arguments, stdin="first password\n").stdout == "created login test_cli for role worker\n"
    assert run(*arguments, stdin="second password\n").stdout == "updated login test_cli for role worker\n"
    where = {"host": str(cluster.socket_folder), "user": "test_cli", "dbname": database.name}
    psycopg2.connect(**where, password="second password").close()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(**where, password="first password")
    mapped = "SELECT role, tenants, deliveries, mint_per_s FROM shield.logins WHERE login = 'test_cli'"
    assert database.query(mapped) == [("worker", [tenants["acme"], tenants["brick"]], None, 7)]
    arguments = ("login", "test_cli", "--role", "resolver", "--all-tenants", "--delivery", "edge")
    assert run(*arguments, stdin="third password\n").returncode == 0
    assert database.query(mapped) == [("resolver", None, ["edge"], None)]


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "told"),
    [
        (("login", "x", "--role", "worker"), LONG, 2, "--all-tenants"),
        (
            ("login", "x", "--role", "worker", "--tenant", "a", "--all-tenants"),
            LONG,
            2,
            "--all-tenants",
        ),
        (("login", "x", "--role", "king", "--all-tenants"), LONG, 2, "king"),
        (("login", "X", "--role", "worker", "--all-tenants"), LONG, 2, "login.rejected"),
        (("login", "x", "--role", "worker", "--all-tenants"), "", 2, "password is empty"),
        (
            ("login", "test_x", "--role", "worker", "--tenant", "nobody"),
            LONG,
            2,
            "There is no tenant nobody",
        ),
        (("login", "x", "--role", "worker", "--all-tenants"), "eleven char\n", 2, "shorter than 12"),
        (("login", "x", "--role", "worker", "--all-tenants", "--delivery", "edge"), "", 2, "--role resolver"),
        (("login", "x", "--role", "seeder", "--all-tenants", "--mint-per-s", "1"), "", 2, "--role worker"),
    ],
)
def test_a_login_that_cannot_be_is_one_clear_sentence(run, arguments, stdin, code, told):
    """Mistakes are said on stderr, with exit code 2 and nothing on stdout."""
    done = run(*arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_what_an_administrator_may_not_is_for_the_dba(database, cluster, tmp_path):
    """Made by somebody who is no superuser, a login works and the command says what a superuser must run."""
    database.query(f"CREATE ROLE test_dba LOGIN CREATEROLE PASSWORD '{cluster.password('test_dba')}'")
    database.query("GRANT shield_owner TO test_dba")
    config = tmp_path / "dba.toml"
    config.write_text(f'[database]\nurl = "{cluster.url("test_dba", database.name)}"\n')
    config.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(config), "db", "login", "test_made", "--role", "worker",
         "--all-tenants"],
        input=LONG, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout == "created login test_made for role worker\n", done.stderr
    assert done.stderr.startswith("the server's log may hold what test_made asks for; as a superuser run: ALTER ROLE")
    assert done.stderr.count("\n") == 1
    database.query(done.stderr.partition("run: ")[2])
    assert "panic" in str(database.query("SELECT useconfig FROM pg_user WHERE usename = 'test_made'"))


def test_whoever_may_not_change_roles_is_told_whose_login_it_takes(database, tmp_path):
    """A seeder that makes a login is refused with the role it takes."""
    config = tmp_path / "seeder.toml"
    config.write_text(f'[database]\nurl = "{database.login("seeder").url}"\n')
    config.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(config), "db", "login", "x", "--role", "worker",
         "--all-tenants"],
        input=LONG, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert "the login of a superuser or a member of shield_owner" in done.stderr


def test_a_database_that_is_away_is_exit_3(tmp_path):
    """Nobody there: exit code 3 and one sentence."""
    config = tmp_path / "away.toml"
    config.write_text('[database]\nurl = "postgresql+psycopg2://a:secret@/b?host=/nowhere"\n')
    config.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(config), "db", "upgrade"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 3
    assert "database.away" in done.stderr
    assert "secret" not in done.stderr
