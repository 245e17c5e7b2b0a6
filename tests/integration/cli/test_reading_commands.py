"""``call list`` and ``audit tail`` as an auditor runs them."""

import json
import os
import signal
import subprocess
import uuid

import pytest

from esl_shield.vault import tokens


@pytest.fixture
def auditor(vault):
    """An auditor's configuration for the tenant."""
    return vault.config(vault.database.login("auditor", tenants=["acme"]), keys=False)


@pytest.fixture
def calls(vault):
    """Three calls of acme, one of another tenant; returns acme's ids in the order they started."""
    vault.add_tenant("globex", "88")
    token = vault.seeder().add("13800138001", "C-1", None)[0]
    ids = [str(uuid.uuid4()) for _ in range(4)]
    rows = [
        (ids[0], 1, "1001", token, "C-1", "COMPLETED", "2030-01-01T00:00:00Z", "NORMAL_CLEARING"),
        (ids[1], 1, "1002", token, "C-1", "BUSY", "2030-01-02T00:00:00Z", "USER_BUSY"),
        (ids[2], 1, "1001", None, None, "REFUSED", "2030-01-03T00:00:00Z", None),
        (ids[3], 2, "1001", None, None, "REFUSED", "2030-01-03T00:00:00Z", None),
    ]
    for row in rows:
        vault.database.query(
            "INSERT INTO shield.calls (id, tenant_id, agent, token, alias, state, started_at, hangup_cause)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            *row,
        )
    return token, ids[:3]


def _list(vault, config, *arguments, code=0):
    done = vault.run("call", "list", "--tenant", "acme", "--format", "json", *arguments, config=config)
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_call_list(vault, auditor, calls):
    """Calls come the latest last, as JSON with moments in UTC, or as a table; other tenants' do not."""
    token, ids = calls
    rows = _list(vault, auditor)
    assert [row["id"] for row in rows] == ids
    assert rows[0]["started_at"] == "2030-01-01T00:00:00Z"
    assert (rows[0]["token"], rows[0]["alias"], rows[0]["state"]) == (token, "C-1", "COMPLETED")
    table = vault.run("call", "list", "--tenant", "acme", config=auditor).stdout.splitlines()
    assert table[0].split()[:2] == ["STARTED_AT", "ID"]
    assert [line.split()[1] for line in table[1:]] == ids
    assert len(table) == 4
    assert "USER_BUSY" in table[2]


def test_call_show(vault, auditor, calls):
    """One call with each agent who talked in it; JSON is one object."""
    token, (call, other, _) = calls
    for position, (agent, start, end) in enumerate(
        [("1001", "2030-01-01T00:00:10Z", "2030-01-01T00:00:20Z"), ("1002", "2030-01-01T00:00:20Z", None)], 1
    ):
        vault.database.query(
            "INSERT INTO shield.call_agents (call, call_started_at, tenant_id, position, agent, from_at, until_at)"
            " VALUES (%s, '2030-01-01T00:00:00Z', 1, %s, %s, %s, %s)",
            *(call, position, agent, start, end),
        )
    arguments = ("call", "show", call, "--tenant", "acme")
    shown = json.loads(vault.run(*arguments, "--format", "json", config=auditor).stdout)
    assert (shown["token"], shown["state"], shown["referred_by"]) == (token, "COMPLETED", None)
    assert shown["agents"] == [
        {"agent": "1001", "from_at": "2030-01-01T00:00:10Z", "until_at": "2030-01-01T00:00:20Z", "talk_s": 10.0},
        {"agent": "1002", "from_at": "2030-01-01T00:00:20Z", "until_at": None, "talk_s": None},
    ]
    table = vault.run(*arguments, config=auditor).stdout
    assert ["1002", "2030-01-01T00:00:20Z", "-", "-"] in [line.split() for line in table.splitlines()]
    assert _list(vault, auditor, "--agent", "1001")[0]["agents"] == ["1001", "1002"]
    assert (
        json.loads(vault.run("call", "show", other, *arguments[3:], "--format", "json", config=auditor).stdout)[
            "agents"
        ]
        == []
    )


@pytest.mark.parametrize("call", ["theirs", "nobody's", "7"])
def test_call_show_refuses(vault, auditor, calls, call):
    """Another tenant's call and one that is not there are the same; what is no id is a usage error."""
    ((theirs,),) = vault.database.query("SELECT id FROM shield.calls WHERE tenant_id = 2")
    asked = {"theirs": str(theirs), "nobody's": str(uuid.uuid4())}.get(call, call)
    done = vault.run("call", "show", asked, "--tenant", "acme", config=auditor)
    assert done.returncode == (2 if call == "7" else 1)
    assert not done.stdout
    assert call == "7" or "call.unknown" in done.stderr


def test_call_list_filters(vault, auditor, calls):
    """Calls can be asked for by agent, token, alias, state and time, and limited to the latest."""
    token, ids = calls
    for arguments, expected in (
        (["--agent", "1001"], [ids[0], ids[2]]),
        (["--token", token], ids[:2]),
        (["--alias", "C-1", "--state", "busy"], [ids[1]]),
        (["--since", "2030-01-02"], ids[1:]),
        (["--since", "1h"], ids),
        (["--since", "2w"], ids),
        (["--limit", "1"], [ids[2]]),
        (["--agent", "' OR 1=1 --"], []),
        (["--token", tokens.draw("77", 14)], []),
    ):
        assert [row["id"] for row in _list(vault, auditor, *arguments)] == expected


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--tenant", "globex"], "tenant.unknown"),
        (["--state", "GONE"], "--state"),
        (["--since", "yesterday"], "--since takes a whole number and m, h, d or w, such as 30m, 12h, 7d, 2w, for"),
        (["--limit", "0"], "--limit"),
        (["--token", "13800138001"], "number.in_argument"),
        (["--alias", "138-0013-8001"], "number.in_argument"),
    ],
)
def test_call_list_refuses(vault, auditor, arguments, error):
    """What cannot be asked is refused; another tenant is unknown to this login."""
    done = vault.run("call", "list", "--tenant", "acme", *arguments, config=auditor)
    assert done.returncode == 2
    assert error in done.stderr
    assert "8001" not in done.stderr


def test_call_list_of_another_role(vault):
    """A seeder's login reads no calls and no events, and is told whose does."""
    for command in (["call", "list", "--tenant", "acme"], ["audit", "tail"]):
        done = vault.run(*command)
        assert done.returncode == 2
        assert "which takes the login of an auditor: name that login" in done.stderr
        assert "database.right_missing" in done.stderr


def test_audit_tail(vault, auditor):
    """The latest events come last; -n says how many."""
    seeder = vault.seeder()
    seeder.add("13800138001", None, None)
    events = [
        json.loads(line) for line in vault.run("audit", "tail", "--format", "json", config=auditor).stdout.splitlines()
    ]
    assert events[-1]["kind"] == "tokens.seeded"
    assert events[-1]["detail"]["created"] == 1
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)
    title, last = vault.run("audit", "tail", "-n", "1", config=auditor).stdout.splitlines()
    assert title.split() == ["ID", "AT", "TENANT", "KIND", "LOGIN", "AGENT", "TOKEN", "CALL", "DETAIL"]
    assert last.index("tokens.seeded") == title.index("KIND")
    assert vault.run("audit", "tail", "-n", "0", "--format", "json", config=auditor).stdout == ""


def test_audit_filters(vault, auditor, calls):
    """Events can be asked for by tenant, time, kind, call and token, and a call's id in the list finds its events."""
    token, ids = calls
    vault.database.query("DELETE FROM shield.audit_events")
    for position, (kind, call, of) in enumerate(
        [("call.authorized", ids[0], token), ("permit.redeemed", ids[0], token), ("call.refused", ids[2], None)]
    ):
        vault.database.query(
            "INSERT INTO shield.audit_events (id, tenant_id, kind, call, token, at)"
            " VALUES (%s, 1, %s, %s, %s, now() - make_interval(days => %s))",
            *(position, kind, call, of, 2 - position),
        )
    for arguments, expected in (
        ([], [0, 1, 2]),
        (["--tenant", "acme"], [0, 1, 2]),
        (["--call", ids[0]], [0, 1]),
        (["--call", ids[1]], []),
        (["--kind", "call.refused"], [2]),
        (["--since", "36h"], [1, 2]),
        (["--tenant", "acme", "--token", token, "-n", "1"], [1]),
        (["--tenant", "acme", "--token", token, "--since", "1w", "--kind", "call.authorized", "--call", ids[0]], [0]),
    ):
        done = vault.run("audit", "tail", "--format", "json", *arguments, config=auditor)
        assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == expected, (arguments, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--tenant", "nosuch"], "There is no tenant nosuch"),
        (["--tenant", "globex"], "tenant.unknown"),
        (["--since", "yesterday"], "time.rejected"),
        (["--call", "7"], "--call"),
        (["--token", "77000000000012"], "--token needs --tenant"),
        (["--tenant", "acme", "--token", "13800138001"], "number.in_argument"),
    ],
)
def test_audit_refuses(vault, auditor, calls, arguments, error):
    """What cannot be asked is refused; a tenant this login does not see is unknown."""
    done = vault.run("audit", "tail", *arguments, config=auditor)
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
    assert "8001" not in done.stderr


def test_audit_follow_as_a_table(vault, auditor):
    """--follow prints titles and columns of fixed width."""
    process = subprocess.Popen(
        vault.command("audit", "tail", "-n", "1", "--follow", config=auditor),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=vault.environment(), cwd=vault.folder, text=True,
    )  # fmt: skip
    title, row = process.stdout.readline(), process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert title.index("AT ") == row.index("20")
    assert row.split()[3] == row[title.index("KIND") :].split()[0]


def test_audit_follow(vault, auditor):
    """--follow prints each new event once as it comes, late commits too, until it is interrupted."""
    process = subprocess.Popen(
        vault.command("audit", "tail", "-n", "1", "--follow", "--format", "json", config=auditor),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=vault.environment(), cwd=vault.folder,
    )  # fmt: skip
    first = json.loads(process.stdout.readline())
    late = vault.database.connect()
    late.autocommit = False
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO shield.audit_events (tenant_id, kind) VALUES (1, 'test.late') RETURNING id")
        late_id = cursor.fetchone()[0]
        ((early_id,),) = vault.database.query(
            "INSERT INTO shield.audit_events (tenant_id, kind) VALUES (1, 'test.early') RETURNING id"
        )
        assert json.loads(process.stdout.readline())["id"] == early_id
        late.commit()
    assert json.loads(process.stdout.readline())["id"] == late_id
    assert first["id"] < late_id < early_id
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest) == (130, b"")
    assert b"Traceback" not in errors


def test_reader_that_leaves(vault, auditor):
    """A pipe whose reader leaves ends the command quietly."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        vault.command("audit", "tail", config=auditor),
        env=vault.environment(),
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")
