"""The files in deploy/: systemd takes them, they name what exists, and they are hardened."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from esl_shield.cli.main import COMMANDS
from esl_shield.config import serve
from esl_shield.config.api import ApiConfig, TokeniserConfig
from esl_shield.config.calls import EslConfig
from esl_shield.config.resolver import ResolverConfig
from esl_shield.config.values import Address
from esl_shield.config.webhooks import WebhooksConfig
from esl_shield.service.supervisor.child import STOP_MARGIN_S
from esl_shield.service.supervisor.kinds import INTAKE_DRAIN_S, KINDS, SEALER_DRAIN_S

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
ROLES = [unit for unit in UNITS if unit.stem != "esl-shield"]
PROGRAM = "/opt/esl-shield/bin/esl-shield"
DRAIN_S = {
    "worker": EslConfig().drain_timeout_s, "resolver": ResolverConfig().drain_timeout_s, "sealer": SEALER_DRAIN_S,
    "housekeeper": SEALER_DRAIN_S, "intake": INTAKE_DRAIN_S, "reaper": 0.0,
    "dispatcher": WebhooksConfig("file:/f").timeout_s,
    "api": ApiConfig().drain_timeout_s, "tokeniser": TokeniserConfig().drain_timeout_s,
}  # fmt: skip
HARDENED = {
    "UMask": "0077", "LimitCORE": "0", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
    "PrivateTmp": "yes", "MemoryDenyWriteExecute": "yes", "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes", "SystemCallArchitectures": "native", "Type": "notify", "WatchdogSignal": "SIGKILL",
    "Restart": "always", "RestartPreventExitStatus": "2",
}  # fmt: skip
MOST_EXPOSED = "30"  # tenths; systemd's own scale from 0 (safe) to 100
SYSTEMD = shutil.which("systemd-analyze")


def settings(unit):
    """The last value of each setting of a unit."""
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", unit.read_text(), flags=re.MULTILINE))


def users():
    """The Unix users that are made."""
    return set(re.findall(r"^u (\S+)", (DEPLOY / "sysusers.d/esl-shield.conf").read_text(), flags=re.MULTILINE))


def analyze(*arguments):
    """Ask systemd-analyze; returns what it said and its exit code."""
    if SYSTEMD is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("systemd-analyze is not installed")
    done = subprocess.run([SYSTEMD, *arguments], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr, done.returncode


def test_systemd_finds_nothing_to_say(tmp_path):
    """Every key is known and every value understood; the program is at another place here."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    said, code = analyze("verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS))
    assert (said, code) == ("", 0)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_are_hardened(unit):
    """Each setting that was decided on is there, and systemd's own judgement stays good."""
    found = settings(unit)
    assert {key: found.get(key) for key in HARDENED} == HARDENED
    said, code = analyze("security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}", str(unit))
    assert code == 0, said


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_run_commands_that_exist(unit):
    """ExecStart is a command of ours with the role's own file."""
    program, option, path, *command = settings(unit)["ExecStart"].split()
    role = unit.stem.removeprefix("esl-shield").removeprefix("-") or "serve"
    assert (program, option, path) == (PROGRAM, "--config", f"/etc/esl-shield/{role}.toml")
    assert command[0] in COMMANDS
    if role in KINDS:
        assert command == list(KINDS[role].command)


@pytest.mark.parametrize("unit", ROLES, ids=lambda unit: unit.stem)
def test_a_role_has_a_user_and_credentials_of_its_own(unit):
    """No two roles share a user or a file with a secret; the user is made by sysusers.d."""
    role, found = unit.stem.removeprefix("esl-shield-"), settings(unit)
    assert found["User"] == f"esl-{role}"
    assert found["User"] in users()
    sources = re.findall(r"^LoadCredential=[a-z.]+:(\S+)$", unit.read_text(), flags=re.MULTILINE)
    assert sources
    assert all(source.startswith(f"/etc/esl-shield/credentials/{role}.") for source in sources)


def test_every_kind_the_supervisor_knows_has_a_unit():
    """Both shapes of a deployment offer the same roles."""
    assert {unit.stem.removeprefix("esl-shield-") for unit in ROLES} == set(KINDS)


@pytest.mark.parametrize("unit", ROLES, ids=lambda unit: unit.stem)
def test_systemd_waits_longer_than_a_drain(unit):
    """Nothing is killed while it still does what it may."""
    role = unit.stem.removeprefix("esl-shield-")
    assert float(settings(unit)["TimeoutStopSec"]) >= DRAIN_S[role] + STOP_MARGIN_S


def test_the_supervisors_unit_agrees_with_its_file():
    """serve.toml names roles that exist and users that are made; systemd waits longer than they drain together."""
    config = serve.load(str(DEPLOY / "serve.toml"))
    assert {process.role for process in config.process} == set(KINDS)
    assert {process.user for process in config.process} <= users()
    (unit,) = set(UNITS) - set(ROLES)
    found = settings(unit)
    assert float(found["TimeoutStopSec"]) >= sum(DRAIN_S.values()) + STOP_MARGIN_S
    assert float(found["WatchdogSec"]) > 2 * config.hang_timeout_s
    assert {"CAP_SETUID", "CAP_SETGID", "CAP_KILL"} == set(found["CapabilityBoundingSet"].split())
    assert found["KillMode"] == "process"
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_the_samples_run_together_and_are_scraped():
    """Under serve.toml each process of the samples has pages at an address of its own, and Prometheus asks them all."""
    config = serve.load(str(DEPLOY / "serve.toml"))
    pages = [config.metrics]
    for process in config.process:
        sample = tomllib.loads((DEPLOY.parent / "docs/samples" / Path(process.config).name).read_text())
        if listen := sample.get("metrics", {}).get("listen"):
            first = Address.parse(listen)
            pages += [f"{first.host}:{first.port + index}" for index in range(process.count)]
    assert len(set(pages)) == len(pages)
    assert set(re.findall(r"- (127\S+)", (DEPLOY / "prometheus/prometheus.yml").read_text())) == set(map(str, pages))


@pytest.mark.parametrize("unit", ["esl-shield", "esl-shield-intake"])
def test_an_intake_may_remove_what_it_took(unit):
    """The spool in the intake's sample is a folder that its unit does not make read-only."""
    sample = tomllib.loads((DEPLOY.parent / "docs/samples/intake.toml").read_text())
    text = (DEPLOY / "systemd" / f"{unit}.service").read_text()
    assert set(sample["intake"]["spool"]) <= set(re.findall(r"^ReadWritePaths=-?(\S+)", text, re.MULTILINE))


def test_folders_are_made_for_the_users_that_are_made():
    """tmpfiles.d names no user that sysusers.d does not make."""
    lines = re.findall(
        r"^d (\S+) +(\d+) +(\S+) +(\S+)", (DEPLOY / "tmpfiles.d/esl-shield.conf").read_text(), re.MULTILINE
    )
    assert lines
    assert {user for _, _, *owners in lines for user in owners} <= users() | {"root"}
    assert all(mode in ("0700", "0755") for _, mode, *_ in lines)
