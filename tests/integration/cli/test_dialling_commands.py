"""``tenant dialling``, ``permission`` and ``click`` as an administrator and a dialler's login run them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from event_socket_double import PASSWORD, EventSocketDouble
from ports import free_port

from esl_shield.cli.main import root
from esl_shield.errors import ShieldError

NUMBER = "+8613800138055"
MOBILE = "13800138056"


@pytest.fixture
def run(vault, tmp_path):
    """Run a command with the configuration of a role; answers exit code, output and the error's text."""
    vault.add_tenant("shop", "81")
    secret = tmp_path / "esl"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    logins = {"admin": vault.database.admin}

    def ran(role, *arguments, switch="127.0.0.1:1"):
        login = logins.setdefault(role, None) or vault.database.login(role, ["acme"])
        logins[role] = login
        config = tmp_path / f"{role}.toml"
        config.write_text(
            f'[database]\nurl = "{login.url}"\n[clicks]\naddress = "{switch}"\npassword = "file:{secret}"\nring_s = 1\n'
        )
        config.chmod(0o600)
        done = CliRunner().invoke(root, ["--config", str(config), *arguments])
        if isinstance(done.exception, ShieldError):
            return done.exception.exit_code, done.output, str(done.exception)
        return done.exit_code, done.output, ""

    return ran


@pytest.fixture
def token(vault):
    """Acme's token with the alias C-1."""
    return vault.seeder().add(NUMBER, "C-1", None)[0]


def test_a_permission_is_granted_listed_and_revoked(run, token):
    """The same id again changes nothing; a list shows what stands, whom it is for and what it carries."""
    grant = ("permission", "grant", "--alias", "C-1", "--tenant", "acme", "--agent", "1001", "--ref", "TASK-1")
    code, output, _ = run("dialler", *grant, "--format", "json")
    assert code == 0
    granted = json.loads(output)
    assert (granted["token"], granted["outcome"]) == (token, "granted")
    assert run("dialler", *grant, "--id", granted["id"])[1].startswith("unchanged")
    code, output, _ = run("dialler", "permission", "list", "--tenant", "acme", "--ref", "TASK-1", "--format", "json")
    (row,) = map(json.loads, output.splitlines())
    assert (row["agent"], row["calls"], row["used"], row["state"]) == ("1001", 1, 0, "valid")
    assert run("dialler", "permission", "revoke", granted["id"], "--tenant", "acme")[1].startswith("revoked")
    assert run("dialler", "permission", "revoke", granted["id"], "--tenant", "acme")[1].startswith("unchanged")
    assert run("auditor", "permission", "list", "--tenant", "acme", "--state", "valid")[1].splitlines()[1:] == []


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("--ref", MOBILE), 2, "ref.rejected"),
        (("--campaign", "+447700900123"), 2, "ref.rejected"),
        (("--ref", "../x"), 2, "ref.rejected"),
        (("--calls", "0"), 2, "permission.rejected"),
        (("--calls", "many"), 2, "permission.rejected"),
        (("--agent", "a b"), 2, "permission.rejected"),
        (("--until", "2001-01-01"), 2, "permission.rejected"),
        (("--until", "soon"), 2, "time.rejected"),
        (("--alias", "C-1"), 2, "permission.rejected"),
    ],
    ids=lambda value: "-".join(value).strip("-").replace("/", "") if isinstance(value, tuple) else str(value),
)
def test_what_cannot_be_granted_is_one_clear_error(run, token, arguments, code, error):
    """No number given by mistake is repeated, and nothing is granted."""
    answer = run("dialler", "permission", "grant", token, "--tenant", "acme", *arguments)
    assert answer[0] == code
    assert f"[{error}]" in answer[2]
    assert MOBILE not in answer[2]
    assert "900123" not in answer[2]
    assert run("dialler", "permission", "list", "--tenant", "acme")[1].splitlines()[1:] == []


def test_whose_token_it_is_not_may_grant_nothing(run, token):
    """Another tenant's name, an unknown alias and a login of another role."""
    assert "[tenant.unknown]" in run("dialler", "permission", "grant", token, "--tenant", "shop")[2]
    assert "[token.unknown]" in run("dialler", "permission", "grant", "--alias", "C-2", "--tenant", "acme")[2]
    assert "a dialler's" in run("auditor", "permission", "grant", token, "--tenant", "acme")[2]
    assert "[permission.unknown]" in run(
        "dialler", "permission", "revoke", "9af2c40b-e973-40b7-8553-88e62ae2f641", "--tenant", "acme"
    )[2]  # fmt: skip


def test_how_a_tenant_dials_is_set_and_shown(run):
    """What is not given stays; a dialler's login shows and may not change."""
    assert "false" in run("dialler", "tenant", "dialling", "acme", "--format", "json")[1]
    run("admin", "tenant", "dialling", "acme", "--requires-permission", "--shows", "123456")
    run("admin", "tenant", "dialling", "acme", "--clicks-per-minute", "3")
    shown = json.loads(run("dialler", "tenant", "dialling", "acme", "--format", "json")[1])
    assert shown == {"tenant": "acme", "requires_permission": True, "shows": "123456", "clicks_per_minute": 3}
    assert run("dialler", "tenant", "dialling", "acme", "--shows", "token")[0] == 2
    assert "[tenant.unknown]" in run("admin", "tenant", "dialling", "nobody")[2]


@pytest.mark.parametrize(
    "shows", [MOBILE, "+8613800138056", "02160001111", "1234567", "1", "110", "119", "figures", "", "12 34", "１２３"]
)
def test_what_may_be_a_telephone_number_is_never_shown(run, shows):
    """Numbers in any spelling, emergency numbers and other words are refused, and not repeated."""
    code, _, error = run("admin", "tenant", "dialling", "acme", "--shows", shows)
    assert code == 2
    assert "[tenant.bad_shows]" in error
    assert not shows or len(shows) < 3 or shows not in error


def test_a_click_rings_an_agent_once_for_a_key(run, token):
    """The first rings and is answered; the same key again is told, and rings nobody."""
    with EventSocketDouble({}, job=lambda _: "+OK\n") as switch:
        click = ("click", "1001", "C-1", "--tenant", "acme", "--ref", "TASK-1", "--key", "k", "--format", "json")
        first = json.loads(run("dialler", *click, switch=switch.address)[1])
        second = json.loads(run("dialler", *click, switch=switch.address)[1])
    assert (first["outcome"], second["outcome"], first["token"]) == ("answered", "repeated", token)
    assert first["channel"] == second["channel"]
    assert len(switch.asked) == 1


def test_a_click_without_freeswitch_says_so(run, token):
    """Exit code 3; an agent who is not there is exit code 1; a number in place of a token is refused unread."""
    away = run("dialler", "click", "1001", token, "--tenant", "acme", switch=f"127.0.0.1:{free_port()}")
    assert (away[0], "[esl.away]" in away[2]) == (3, True)
    with EventSocketDouble({}, job=lambda _: "-ERR USER_NOT_REGISTERED\n") as switch:
        code, _, error = run("dialler", "click", "1001", token, "--tenant", "acme", switch=switch.address)
    assert (code, "USER_NOT_REGISTERED" in error) == (1, True)
    code, _, error = run("dialler", "click", "1001", MOBILE, "--tenant", "acme")
    assert (code, "[number.in_argument]" in error, MOBILE in error) == (2, True, False)
