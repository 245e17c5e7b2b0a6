"""``policy`` and ``agent`` as a user runs them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from shield_cli import run_in_process

from esl_shield.cli.main import root
from esl_shield.vault import tokens

UNKNOWN = "7700000000001" + tokens.damm_digit("7700000000001")


@pytest.fixture
def run(vault):
    """Run a command with a role's login; answers (exit code, stdout, what went to stderr and the error's sentence)."""
    return run_in_process(vault)


@pytest.fixture
def token(vault):
    return vault.seeder().add("13800138042", None, None)[0]


def test_a_policy_is_set_shown_and_taken_away(run):
    """What was given comes back as it was written; what was not given stays; none takes away."""
    rules = ("--hours", "mon-fri 09:00-20:00", "--hours", "fri 22:00-02:00", "--time-zone", "Asia/Shanghai",
             "--gap", "2h", "--closed", "2027-01-01", "--agent-per-day", "200", "--wrong-dials", "5")  # fmt: skip
    assert run("admin", "policy", "set", "--tenant", "acme", *rules)[:2] == (0, "set: policy of acme\n")
    assert run("admin", "policy", "set", "--tenant", "acme", *rules)[:2] == (0, "unchanged: policy of acme\n")
    shown = json.loads(run("auditor", "policy", "show", "--tenant", "acme", "--format", "json")[1])
    assert shown["hours"] == ["mon-thu 09:00-20:00", "fri 09:00-20:00", "fri 22:00-24:00", "sat 00:00-02:00"]
    assert (shown["gap_s"], shown["closed_days"], shown["wrong_dials_s"]) == ("2h", ["2027-01-01"], "5m")
    assert run("admin", "policy", "set", "--tenant", "acme", "--hours", "none", "--closed", "none")[0] == 0
    shown = json.loads(run("steward", "policy", "show", "--tenant", "acme", "--format", "json")[1])
    assert (shown["hours"], shown["closed_days"], shown["time_zone"]) == ("none", "none", "Asia/Shanghai")


@pytest.mark.parametrize(
    ("role", "arguments", "code", "said"),
    [
        ("admin", ("set", "--tenant", "acme", "--hours", "always"), 2, "policy.bad_rule"),
        ("admin", ("set", "--tenant", "acme", "--time-zone", "Mars/Olympus"), 2, "policy.bad_rule"),
        ("admin", ("set", "--tenant", "nobody", "--gap", "1h"), 2, "tenant.unknown"),
        ("admin", ("set", "--tenant", "acme"), 2, "give a rule"),
        ("auditor", ("set", "--tenant", "acme", "--gap", "1h"), 2, "database.right_missing"),
        ("auditor", ("show", "--tenant", "nobody"), 2, "tenant.unknown"),
        ("steward", ("explain", "--tenant", "acme", "--agent", "1", "--token", "13800138042"), 2, "number.in_argument"),
        ("steward", ("explain", "--tenant", "acme", "--agent", "1", "--token", UNKNOWN, "--at", "soon"), 2, "--at"),
    ],
    ids=["hours", "zone", "tenant", "nothing", "right", "show", "number", "time"],
)  # fmt: skip
def test_what_cannot_be_done_is_said(run, role, arguments, code, said):
    """One sentence, the error's id, nothing changed, no number repeated."""
    done, out, error = run(role, "policy", *arguments)
    assert (done, out) == (code, "")
    assert said in error
    assert "13800138042" not in error


def test_an_explanation_names_every_rule(run, token):
    """Allowed is 0, refused 1; the table says each rule's state, JSON the verdict."""
    ask = ("policy", "explain", "--tenant", "acme", "--agent", "1001", "--token", token)
    code, out, _ = run("steward", *ask)
    assert code == 0
    assert out.rstrip().endswith("\nallowed")
    for rule in ("agent_lock", "token", "hours", "closed_days", "gap", "agent_per_day", "token_cap", "do_not_call"):
        assert f"\n{rule} " in out
    run("admin", "policy", "set", "--tenant", "acme", "--hours", "mon-fri 09:00-20:00", "--time-zone", "Asia/Shanghai")
    code, out, _ = run("steward", *ask, "--at", "2026-11-22T12:00:00+08:00", "--format", "json")
    said = json.loads(out)
    assert (code, said["verdict"], said["reason"]) == (1, "FORBIDDEN", "outside_hours")
    hours = next(rule for rule in said["rules"] if rule["rule"] == "hours")
    assert hours["detail"] == {
        "time_zone": "Asia/Shanghai",
        "of": "customer",
        "local": "2026-11-22 12:00",
        "hours": "none",
    }
    code, out, _ = run("steward", *ask[:-1], UNKNOWN)
    assert code == 1
    assert "refused with 404: token_unknown" in out


def test_a_locked_agent_is_listed_and_unlocked(vault, run):
    """The list says who and why; unlocking takes a reason; a second time there is nobody to unlock."""
    vault.database.query("INSERT INTO shield.agent_locks SELECT id, '1001', now(), 'wrong_tokens' FROM shield.tenants")
    (row,) = [json.loads(line) for line in run("auditor", "agent", "list", "--format", "json")[1].splitlines()]
    assert (row["tenant"], row["agent"], row["reason"]) == ("acme", "1001", "wrong_tokens")
    unlock = ("agent", "unlock", "1001", "--tenant", "acme", "--reason")
    assert run("steward", *unlock, " ")[0] == 2
    assert run("auditor", *unlock, "why")[0] == 2
    assert run("steward", *unlock, "old list")[:2] == (0, "unlocked agent 1001\n")
    code, out, error = run("steward", *unlock, "old list")
    assert (code, out) == (1, "")
    assert "agent.not_locked" in error
    assert run("steward", "agent", "list")[1].count("\n") <= 1


@pytest.mark.parametrize("command", [("policy", "set"), ("policy", "explain"), ("agent", "unlock")], ids=" ".join)
def test_help_teaches_with_an_example(command):
    """The help shows a whole command."""
    made = CliRunner().invoke(root, [*command, "--help"])
    assert made.exit_code == 0
    assert f"esl-shield {' '.join(command)}" in made.output
