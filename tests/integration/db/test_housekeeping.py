"""Months are made and detached by the housekeeper, and no call is lost or held up meanwhile."""

import dataclasses
import signal
import subprocess
import sys

import pytest
from polling import until
from sealing_site import SealingSite
from shield_calls import TOKEN

from esl_shield.config.retention import RetentionConfig
from esl_shield.errors.database import RightMissing
from esl_shield.service.housekeeping import NEEDS, Housekeeper, Step

KEPT = RetentionConfig(calls_months=6, audit_months=12)
TABLES = ("audit_events", "call_agents", "calls")


@pytest.fixture
def keeper(database):
    login = database.login("housekeeper")
    return lambda retention=KEPT: Housekeeper(database.open(login), retention)


def _month(database, ago):
    return database.query(
        "SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => %s), '_YYYY_MM')", ago
    )[0][0]


def _months(database, *agos):
    """Make months of the past as an old site has them, each with a call."""
    for ago in agos:
        at = "date_trunc('month', now()) - make_interval(months => %s)"
        database.query("SET ROLE shield_owner")
        database.query(f"SELECT shield.make_month(t, {at}) FROM unnest(%s) t", ago, list(TABLES))
        database.query("RESET ROLE")
        database.query(
            f"INSERT INTO shield.calls (id, tenant_id, state, started_at) VALUES (gen_random_uuid(), 1, 'LOST', {at})",
            ago,
        )


def _tables(database, pattern):
    return [
        row[0]
        for row in database.query(
            "SELECT relname FROM pg_class WHERE relnamespace = 'shield'::regnamespace AND relkind = 'r'"
            " AND relname ~ %s ORDER BY 1",
            pattern,
        )
    ]


def test_nothing_to_do(keeper):
    """A fresh database needs nothing, and is told so again."""
    assert keeper().run() == []
    assert keeper().run(dry_run=True) == []


def test_months_ahead(database, keeper):
    """Missing months are made, in order, once; a dry run only says so."""
    further = dataclasses.replace(KEPT, months_ahead=14)
    wanted = [Step("made", f"{table}{_month(database, -ahead)}") for ahead in (13, 14) for table in TABLES]
    assert keeper(further).run(dry_run=True) == wanted
    assert keeper(further).run() == wanted
    assert keeper(further).run() == []


def test_stray_rows(database, keeper):
    """A call of a month that nobody made is kept in the default partition, and moved when the month is made."""
    table = "calls" + _month(database, 0)
    database.query(f"ALTER TABLE shield.calls DETACH PARTITION shield.{table}")
    database.query(f"DROP TABLE shield.{table}")
    database.query("INSERT INTO shield.calls (id, tenant_id, state) VALUES (gen_random_uuid(), 1, 'LOST')")
    assert database.query("SELECT count(*) FROM shield.calls_default") == [(1,)]
    assert keeper().run() == [Step("made", table)]
    assert database.query("SELECT count(*) FROM shield.calls_default") == [(0,)]
    assert database.query(f"SELECT count(*) FROM shield.{table}") == [(1,)]


def test_detached_by_age(database, keeper):
    """A month leaves when its last moment is past retention, audit events later; its rows stay, renamed and audited."""
    _months(database, 6, 7, 12, 13)
    gone = [("calls", 7), ("calls", 12), ("calls", 13), ("call_agents", 7), ("call_agents", 12), ("call_agents", 13)]
    wanted = {f"{table}{_month(database, ago)}" for table, ago in [*gone, ("audit_events", 13)]}
    steps = keeper().run()
    assert {step.name for step in steps} == wanted
    assert {step.step for step in steps} == {"detached"}
    assert steps[0].name.endswith(_month(database, 13))
    assert set(_tables(database, "^detached_")) == {f"detached_{name}" for name in wanted}
    assert database.query(f"SELECT count(*) FROM shield.detached_calls{_month(database, 13)}") == [(1,)]
    assert database.query("SELECT count(*) FROM shield.calls") == [(1,)]
    audited = database.query("SELECT detail ->> 'table' FROM shield.audit_events WHERE kind = 'months.detached'")
    assert {row[0] for row in audited} == wanted
    assert keeper().run() == []


def _old_call(database, token, alias):
    """Give a token a call of 13 months ago, in a month that is there."""
    at = "date_trunc('month', now()) - interval '13 months'"
    database.query(
        "INSERT INTO shield.calls (id, tenant_id, token, alias, ref, state, started_at)"
        f" SELECT gen_random_uuid(), t.id, %s, %s, 'R-1', 'LOST', {at} FROM shield.tenants t WHERE t.name = 'acme'",
        token, alias,
    )  # fmt: skip


def test_an_erasure_reaches_detached_months(database, keeper, tenants):
    """An erased token's calls of a detached month lose alias and reference too; the month is as closed as before."""
    _months(database, 13)
    _old_call(database, TOKEN, "C-1")
    _old_call(database, "91000000000026", "C-2")
    month = f"shield.detached_calls{_month(database, 13)}"
    assert {step.step for step in keeper().run()} == {"detached"}
    eraser = database.open(database.login("eraser", ["acme"]))
    ((*_, erased),) = eraser.call("erase_tokens", "acme", [TOKEN], [None], "DSR-1", "asked")
    assert erased["call_aliases"] == 1
    rows = database.query(f"SELECT token, alias, ref FROM {month} WHERE token IS NOT NULL ORDER BY token")
    assert rows == [(TOKEN, None, None), ("91000000000026", "C-2", "R-1")]
    guarded = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass"
    assert database.query(guarded, month) == [(True, True)]


def test_no_month_leaves_during_an_erasure(database, keeper, tenants):
    """While tokens are erased the housekeeper finds the months busy, and comes again."""
    _months(database, 13)
    eraser = database.connect(database.login("eraser", ["acme"]))
    eraser.autocommit = False
    with eraser.cursor() as cursor:
        cursor.execute("SELECT shield_api.erase_tokens('acme', %s, '{NULL}', 'DSR-1', 'asked')", ([TOKEN],))
        assert keeper().run() == [Step("busy", "another housekeeper or an erasure")]
    eraser.rollback()
    assert {step.step for step in keeper().run()} == {"detached"}


def test_never_dropped_unless_told(database, keeper):
    """With drop = true what is past retention is detached and then dropped; under a legal hold neither."""
    _months(database, 13)
    drop = dataclasses.replace(KEPT, drop=True)
    assert keeper(dataclasses.replace(drop, legal_hold=True)).run() == []
    assert [step.step for step in keeper().run()] == ["detached"] * 3
    assert [step.step for step in keeper(drop).run()] == ["dropped"] * 3
    assert _tables(database, "^detached_") == []


def test_least_retention(database, keeper):
    """The database keeps logs six months and audit events twelve, whatever a housekeeper asks."""
    _months(database, 6, 12)
    login = database.open(database.login("housekeeper"))
    kept = {f"{table}{_month(database, 12)}" for table in ("calls", "call_agents")}
    taken = []
    while rows := login.call("keep_months", 1, 0, 0, True, True, taken, True):
        taken.append(rows[0][1])
    assert set(taken) == kept


def test_hook(database, keeper):
    """What shield.may_detach refuses stays, and is told."""
    _months(database, 13)
    database.query(
        "CREATE OR REPLACE FUNCTION shield.may_detach(p_table text, p_partition text) RETURNS boolean LANGUAGE plpgsql"
        " STABLE SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN p_table <> 'audit_events'; END $$"
    )
    steps = keeper().run()
    assert Step("kept", f"audit_events{_month(database, 13)}") in steps
    assert [step.step for step in steps].count("detached") == 2


def test_a_month_waits_for_its_seal(database, keeper, tmp_path):
    """Where events are sealed, a month past retention stays while an event of it is in no block, and then leaves."""
    _months(database, 13)
    name = f"audit_events{_month(database, 13)}"
    site = SealingSite(database, tmp_path)
    site.write_events(1)
    assert site.seal() > 0
    database.query(
        "INSERT INTO shield.audit_events (kind, at)"
        " VALUES ('call.authorized', date_trunc('month', now()) - make_interval(months => 13))"
    )
    assert database.query(f"SELECT count(*) FROM shield.{name}") == [(1,)]
    steps = keeper().run()
    assert Step("kept", name) in steps
    assert {step.step for step in steps if step.name != name} == {"detached"}
    assert name in _tables(database, "^audit_events")
    site.seal()
    assert keeper().run() == [Step("detached", name)]
    assert database.query(f"SELECT count(*) FROM shield.detached_{name}") == [(1,)]


def test_busy(database, keeper):
    """A call under way is not waited for longer than a moment: its table is left for the next run."""
    _months(database, 13)
    caller = database.connect()
    caller.autocommit = False
    with caller.cursor() as cursor:
        cursor.execute("INSERT INTO shield.calls (id, tenant_id, state) VALUES (gen_random_uuid(), 1, 'LOST')")
        steps = keeper().run()
    name = f"calls{_month(database, 13)}"
    assert Step("busy", name) in steps
    assert {step.step for step in steps if step.name != name} == {"detached"}
    caller.rollback()
    assert keeper().run() == [Step("detached", name)]


def test_one_at_a_time(database, keeper):
    """While another housekeeper works this one leaves."""
    other = database.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('shield.keep_months'))")
        assert keeper().run() == [Step("busy", "another housekeeper or an erasure")]
    other.rollback()


@pytest.mark.parametrize("role", ["worker", "seeder", "auditor"])
def test_right(database, role):
    """No other role keeps house."""
    with pytest.raises(RightMissing):
        Housekeeper(database.open(database.login(role), needs=NEEDS), KEPT).run()


class Keeper:
    """``db maintain --every`` as a process."""

    def __init__(self, folder, url, *options):
        path, self.log = folder / "housekeeper.toml", folder / "housekeeper.log"
        path.write_text(f'[database]\nurl = "{url}"\n[retention]\ncalls_months = 6\naudit_months = 12\n')
        path.chmod(0o600)
        argv = [
            sys.executable,
            "-m",
            "esl_shield",
            "--config",
            str(path),
            "db",
            "maintain",
            "--every",
            "3600",
            *options,
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, text):
        until(lambda: text in self.log.read_text() or self.process.poll() is not None, text, within_s=60)
        assert text in self.log.read_text(), self.log.read_text()


@pytest.fixture
def resident(tmp_path):
    started = []

    def resident(url):
        started.append(Keeper(tmp_path, url))
        return started[-1]

    yield resident
    for keeper in started:
        keeper.process.kill()
        keeper.process.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["sigterm", "sigint"])
def test_resident(database, resident, number, code):
    """A resident housekeeper works at once, says each step, and ends when it is told, with the contract's code."""
    _months(database, 13)
    running = resident(database.login("housekeeper").url)
    running.wait("housekeeper ready on ")
    assert _tables(database, "^detached_calls")
    assert f"event=housekeeping.step step=detached partition=calls{_month(database, 13)}" in running.log.read_text()
    running.process.send_signal(number)
    assert running.process.wait(60) == code


def test_resident_without_the_right(database, resident):
    """What waiting does not mend is one sentence and exit code 2."""
    running = resident(database.login("auditor").url)
    assert running.process.wait(60) == 2
    assert len(running.log.read_text().splitlines()) == 1
    assert "[database.right_missing]" in running.log.read_text()


def test_resident_without_a_database(resident, tmp_path):
    """A database that is away is waited for: the housekeeper is ready, says so, and ends when it is told."""
    running = resident(f"postgresql+psycopg2://housekeeper@/shield?host={tmp_path}")
    running.wait("housekeeper ready on ")
    assert "event=housekeeping.failed error_id=database.away" in running.log.read_text()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
