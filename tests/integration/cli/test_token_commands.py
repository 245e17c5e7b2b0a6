"""``token add|show|revoke|expire`` as a user runs them."""

import contextlib
import json
import os
import pty
import subprocess

import pytest

from esl_shield.vault import tokens


@pytest.fixture
def token(vault):
    """One token, with the alias C-1."""
    done = vault.run("token", "add", "--tenant", "acme", "--alias", "C-1", stdin=b"13800138001\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_add(vault, token):
    """Add prints the token of the number on standard input; the same number again has the same token."""
    assert tokens.valid_for(token, "77", 14)
    done = vault.run("token", "add", "--tenant", "acme", "--format", "json", stdin="＋８６ 138 0013 8001".encode())
    assert json.loads(done.stdout) == {"token": token, "created": False}


@pytest.mark.parametrize(
    ("stdin", "more", "error"),
    [
        (b"", [], "number.rejected"),
        (b"nonsense\n", [], "number.rejected"),
        (b"13800138001\n13800138002\n", [], "one number on one line"),
        (b"1" * 10_000, [], "one number on one line"),
        (b"\xff\xfe1\n", [], "number.rejected"),
        (b"13800138002\n", ["--alias", "C-1"], "alias.taken"),
        (b"13800138002\n", ["--alias", "C-13800138002"], "alias.rejected"),
        (b"13800138002\n", ["--alias", "a b"], "alias.rejected"),
        (b"13800138002\n", ["--expires-at", "2001-01-01"], "expiry.rejected"),
        (b"13800138002\n", ["--tenant", "nobody"], "tenant.unknown"),
        (b"", ["13800138002"], "number.in_argument"),
        (b"", ["+86 138 0013 8002"], "number.in_argument"),
    ],
)
def test_add_refuses(vault, token, stdin, more, error):
    """What cannot be added is refused in one sentence that does not repeat it."""
    done = vault.run("token", "add", "--tenant", "acme", *more, stdin=stdin)
    assert done.returncode == 2
    assert error in done.stderr
    assert "38002" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert vault.count("tokens") == 1


def test_options_that_are_none(vault):
    """An option there is not is not repeated with its value."""
    for argument in ("--number=13800138002", "--13800138002", "-13800138002"):
        done = vault.run("token", "add", "--tenant", "acme", argument)
        assert done.returncode == 2
        assert "38002" not in done.stderr


def test_add_at_a_terminal(vault):
    """At a terminal the number is asked for and not shown while it is typed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        vault.command("token", "add", "--tenant", "acme"), stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
        env=vault.environment(), cwd=vault.folder, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"Number" not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, b"13800138001\n")
    out, _ = process.communicate(timeout=60)
    os.set_blocking(ours, False)
    with contextlib.suppress(OSError):
        shown += os.read(ours, 1000)
    os.close(ours)
    assert tokens.is_valid(out.decode().strip())
    assert b"138001" not in shown


def test_show(vault, token):
    """Show prints what is kept beside a token, found by itself or by its alias, in UTC, and no number."""
    by_token = vault.run("token", "show", token, "--tenant", "acme", "--format", "json")
    by_alias = vault.run("token", "show", "--alias", "C-1", "--tenant", "acme", "--format", "json")
    assert by_token.stdout == by_alias.stdout
    shown = json.loads(by_token.stdout)
    assert shown["token"] == token
    assert (shown["aliases"], shown["status"], shown["country"]) == (["C-1"], "active", "CN")
    assert shown["created_at"].endswith("Z")
    table = vault.run("token", "show", token, "--tenant", "acme").stdout
    assert "line_type   mobile" in table
    assert "138001" not in table + by_token.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["show", "--tenant", "acme"], 2, "give a TOKEN or --alias"),
        (["show", "--alias", "C-9", "--tenant", "acme"], 1, "token.unknown"),
        (["show", "77000000000012", "--tenant", "nobody"], 2, "tenant.unknown"),
        (["show", "7700", "--tenant", "acme"], 2, "token.malformed"),
        (["show", "77000000000012", "--tenant", "acme"], 1, "token.unknown"),
        (["show", "70000000000000", "--tenant", "acme"], 2, "number.in_argument"),
        (["show", "13800138002", "--tenant", "acme"], 2, "number.in_argument"),
        (["show", "13800138002", "--tenant", "nobody"], 2, "number.in_argument"),
        (["show", "--alias", "13800138002", "--tenant", "acme"], 2, "number.in_argument"),
        (["revoke", "13800138002", "--tenant", "acme"], 2, "number.in_argument"),
        (["expire", "+8613800138002", "--tenant", "acme", "--at", "now"], 2, "number.in_argument"),
        (["13800138002"], 2, "number.in_argument"),
        (["shwo"], 2, "No such command"),
    ],
)
def test_refusals(vault, arguments, code, error):
    """Tokens that are none are refused; a number given as argument is refused with the reason and not repeated."""
    token = _checked("7700000000001")
    done = vault.run("token", *[token if argument == "77000000000012" else argument for argument in arguments])
    assert done.returncode == code
    assert error in done.stderr
    assert "38002" not in done.stderr
    assert done.stdout == ""


def test_a_mistyped_token(vault, token):
    """A token with one digit wrong is told from a number: its check digit is wrong."""
    mistyped = token[:-1] + str((int(token[-1]) + 1) % 10)
    for command in (["show"], ["revoke"], ["expire", "--at", "now"]):
        done = vault.run("token", command[0], mistyped, "--tenant", "acme", *command[1:])
        assert done.returncode == 2
        assert "its check digit is wrong" in done.stderr
        assert mistyped not in done.stderr


def test_number_with_a_tokens_check_digit(vault):
    """A number that happens to have a token's check digit is still seen for what it is and not sent anywhere."""
    number = next(n for n in (f"138001380{at:02d}" for at in range(100)) if tokens.is_valid(n))
    for command in (["show"], ["revoke"], ["expire", "--at", "now"]):
        done = vault.run("token", command[0], number, "--tenant", "acme", *command[1:])
        assert done.returncode == 2
        assert "number.in_argument" in done.stderr


def test_revoke(vault, token):
    """Revoke and expire change the token and are audited; of another tenant's token they say it is unknown."""
    assert vault.run("token", "revoke", token, "--tenant", "acme").stdout == f"revoked token {token}\n"
    again = vault.run("token", "revoke", token, "--tenant", "acme")
    assert (again.returncode, again.stdout) == (0, f"token {token} was revoked before\n")
    as_json = vault.run("token", "revoke", token, "--tenant", "acme", "--format", "json")
    assert json.loads(as_json.stdout) == {"token": token, "outcome": "unchanged"}
    assert vault.database.query("SELECT count(*) FROM shield.audit_events WHERE kind = 'token.changed'") == [(1,)]
    assert vault.database.query("SELECT status FROM shield.tokens") == [("revoked",)]
    unknown = _checked("7700000000001")
    assert vault.run("token", "revoke", unknown, "--tenant", "acme").returncode == 1


def test_expire(vault, token):
    """Expire sets a moment, now, or takes the end away."""
    for at, expected, said in (
        ("2099-01-01T08:00:00.123456+08:00", "2099-01-01 00:00:00.123456+00", "2099-01-01T00:00:00Z"),
        ("never", None, "never"),
    ):
        done = vault.run("token", "expire", token, "--tenant", "acme", "--at", at)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"token {token} ends {said}\n", "")
        ((kept,),) = vault.database.query("SELECT (expires_at AT TIME ZONE 'UTC')::text || '+00' FROM shield.tokens")
        assert kept == expected
    assert vault.run("token", "expire", token, "--tenant", "acme", "--at", "now").returncode == 0
    assert vault.database.query("SELECT expires_at <= now() FROM shield.tokens") == [(True,)]
    done = vault.run("token", "expire", token, "--tenant", "acme", "--at", "tomorrow")
    assert done.returncode == 2
    assert "--at takes now, never, or a moment in ISO 8601" in done.stderr


def test_of_another_role(vault, token):
    """An auditor's login changes no token and is told that it takes a seeder's."""
    auditor = vault.config(vault.database.login("auditor", tenants=["acme"]))
    done = vault.run("token", "revoke", token, "--tenant", "acme", config=auditor)
    assert done.returncode == 2
    assert "which takes the login of a seeder" in done.stderr


def _checked(body):
    return body + tokens.damm_digit(body)
