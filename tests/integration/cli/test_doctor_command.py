"""`esl-shield doctor` as a process: real PostgreSQL, FreeSWITCH's recorded answers, what is printed, the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from event_socket_double import PASSWORD, EventSocketDouble, recorded_answers

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.schema import LOGIN_ROLES
from esl_shield.service.doctor.examine import AREAS

if TYPE_CHECKING:
    from fix_postgres import ShieldDatabase

GATEWAY = '[[gateways]]\nname = "edge"\ndelivery = "edge"\ncaller_id = ["+442079460999"]\n'
BACK_DOOR = """<section name="dialplan"><context name="agents"><extension name="out">
<condition field="destination_number" expression="^9(.*)$">
<action application="bridge" data="sofia/gateway/carrier-a/$1"></action></condition></extension></context></section>"""
_NOISE = {
    "freeswitch.passwords",
    "freeswitch.listeners",
    "freeswitch.log_level",
    "sealing.lag",
}  # the examples' passwords, the lab's log; nobody seals here, for longer the later this test runs


@pytest.fixture
def site(database: ShieldDatabase, tmp_path: Path) -> Path:
    """A folder with the secrets a configuration names."""
    for name, text in (("event-socket.password", PASSWORD), ("kek", "ab" * 32)):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o400)
    return tmp_path


def _config(site: Path, url: str, more: str = "") -> Path:
    path = site / "role.toml"
    path.write_text(f'[database]\nurl = "{url}"\n{more}')
    path.chmod(0o600)
    return path


def _switch(site: Path, double: EventSocketDouble) -> str:
    return (
        f'[freeswitch]\naddress = "{double.address}"\npassword = "file:{site}/event-socket.password"\n'
        'workers = ["127.0.0.1:8084", "127.0.0.1:8085"]\n'
    )


def _doctor(config: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(config), "doctor", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def _found(stdout: str) -> dict[str, str]:
    return {line["check"]: line["severity"] for line in map(json.loads, stdout.splitlines())}


def test_an_auditor_with_freeswitch_sees_all_areas(site, database):
    """Every check of every area it may ask answers; nothing printed holds a password of the recording."""
    login = database.login("auditor")
    with EventSocketDouble(recorded_answers()) as double:
        config = _config(site, login.url, _switch(site, double) + GATEWAY)
        code, out, err = _doctor(config, "--role", "auditor", "--format", "json")
    assert err == ""
    found = _found(out)
    answered = {
        check.id for name in ("config", "freeswitch", "bypass", "inbound", "time") for check in AREAS[name].checks
    }
    assert answered <= set(found)
    assert {check for check, severity in found.items() if severity == "critical"} - _NOISE == {"edge.reached"}
    assert code == 1
    for secret in (PASSWORD, "CHANGE-ME-1001", "CHANGE-ME-WALLBOARD"):
        assert secret not in out


def test_a_planted_back_door_is_critical_and_exits_1(site, database):
    """The table says where it is and what to do; the counts go to stderr."""
    answers = recorded_answers() | {"xml_locate dialplan": BACK_DOOR}
    with EventSocketDouble(answers) as double:
        config = _config(site, database.login("auditor").url, _switch(site, double) + GATEWAY)
        code, out, err = _doctor(config, "--only", "bypass", "--role", "auditor")
    assert code == 1
    assert "critical  bypass.carriers: profile internal -> context agents -> extension out -> bridge" in out
    assert "critical  bypass.shielded" in out
    assert out.splitlines()[1].strip().startswith("-> ")
    assert "2 critical" in err
    assert "ok " not in out


def test_the_administrators_database_is_well_and_exits_0(site, database):
    """Only that there are administrators is said; --all shows what is well."""
    for role in ("worker", "resolver"):  # what other tests left in the cluster is theirs to drop
        database.login(role)
    _forget_other_logins(database)
    config = _config(site, database.admin.url, f'[keys]\nkek = "file:{site}/kek"\n')
    code, out, _ = _doctor(config, "--role", "admin", "--only", "database", "--only", "config")
    assert out.startswith("info      database.administrators: ")
    assert (code, len(out.splitlines())) == (0, 2), out
    assert "ok        database.functions" in _doctor(config, "--role", "admin", "--only", "database", "--all")[1]


def _forget_other_logins(database: ShieldDatabase) -> None:
    with sqlalchemy_engine(database.admin).begin() as connection:
        names = connection.exec_driver_sql(
            "SELECT DISTINCT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g"
            " ON g.oid = a.roleid WHERE g.rolname LIKE 'shield\\_%%' AND m.rolname LIKE 'test\\_%%'"
            " AND m.rolname NOT IN (SELECT login FROM shield.logins)"
        ).fetchall()
        for (name,) in names:
            connection.exec_driver_sql(f"REVOKE {', '.join(f'shield_{role}' for role in LOGIN_ROLES)} FROM {name}")


def test_what_is_away_exits_3(site):
    """Nothing wrong was found, and not everything could be asked."""
    config = _config(site, f"postgresql+psycopg2://w@/x?host={site}")
    code, out, _ = _doctor(config, "--only", "database", "--format", "json")
    assert (code, _found(out)) == (3, {"database.reached": "unknown"})


@pytest.mark.parametrize(
    ("arguments", "more", "says"),
    [
        (["--only", "bypass"], "", "nothing can be asked about bypass"),
        (["--only", "13800138042"], "", "number.in_argument"),
        (["--only", "nonsense"], "", "nonsense"),
        ([], "[nonsense]\n", "unknown key nonsense"),
        (["--only", "freeswitch"], '[freeswitch]\naddress = "127.0.0.1:1"\npassword = "file:/nonexistent"\n', ""),
    ],
)
def test_what_cannot_be_used_is_one_sentence(site, arguments, more, says):
    """Exit code 2 for usage and configuration; a secret's file that is not there is a finding."""
    code, out, err = _doctor(_config(site, "postgresql+psycopg2://w@/x", more), *arguments)
    assert code == (2 if says else 1)
    assert says in err
    assert "13800138042" not in err
    assert bool(out) == (not says)


def test_an_inspection_asks_nothing_that_changes_freeswitch(site):
    """The commands sent are those of the recording: they read."""
    with EventSocketDouble(recorded_answers()) as double:
        config = _config(site, "postgresql+psycopg2://w@/x", _switch(site, double))
        _doctor(config, "--only", "freeswitch", "--only", "bypass")
        assert sorted(double.asked) == sorted(recorded_answers())


def test_an_open_kek_is_found_for_each_holder(site, database):
    """A resolver's KEK that others can read, and the right one under which no key is wrapped."""
    more = f'[keys]\nkek = "file:{site}/kek"\n[resolver]\nsecrets = {{ edge = "file:{site}/kek" }}\n' + GATEWAY
    config = _config(site, database.login("resolver").url, more)
    assert _found(_doctor(config, "--only", "keys", "--format", "json")[1]) == {
        "keys.readers": "ok", "keys.strays": "ok", "keys.opens": "ok", "keys.wraps": "warning",
        "keys.device": "ok", "keys.module": "ok",
    }  # fmt: skip
    (site / "kek").chmod(0o444)
    code, out, _ = _doctor(config, "--only", "keys", "--format", "json")
    assert code == 1
    assert _found(out) == {
        "keys.readers": "critical", "keys.strays": "ok", "keys.opens": "critical", "keys.wraps": "unknown",
        "keys.device": "ok", "keys.module": "ok",
    }  # fmt: skip
    assert "ab" * 8 not in out
