"""Permissions, aliases and clicks through a real worker and PostgreSQL, with FreeSWITCH's double and a recording."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from esl_replay import Replay
from fix_site import BANK, SHOP, eventually

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.engine import Database
from esl_shield.esl import double
from esl_shield.tryout.site import DATABASE


@pytest.fixture
def admin(call_centre):
    """The database as its administrator; BANK requires permissions while the test runs."""
    with contextlib.closing(
        Database(DatabaseConfig(call_centre.site.postgres.url(dbname=DATABASE)), application_name="tests")
    ) as opened:
        opened.call("set_dialling", BANK.name, True, "ref", None)
        try:
            yield opened
        finally:
            opened.call("set_dialling", BANK.name, False, "token", None)


def dial(call_centre, dialled, headers=None):
    """An agent of BANK dials."""
    gateways = {"carrier-a": double.Gateway(double.Carrier(after_s=0.02))}
    agent = double.Agent(domain=BANK.domain, headers=headers or {})
    return call_centre.place(double.Call(dialled=dialled, agent=agent, gateways=gateways, hangs_up_after_s=0.05))


def test_an_alias_is_dialled_where_permissions_are_required(call_centre, admin):
    """It takes a permission, whose business ID dresses the leg and finds the record; the carrier has none of it."""
    assert dial(call_centre, "C-31").status == 404
    admin.call("grant_permission", BANK.name, uuid.uuid4(), None, "C-31", "1001", None, None, 1, "spring", "TASK-31")
    result = dial(call_centre, "C-31")
    assert result.status == 200
    record = call_centre.record(BANK, result)
    assert (record["state"], record["alias"], record["ref"]) == ("COMPLETED", "C-31", "TASK-31")
    assert record["token"] == call_centre.token(BANK, 31)
    (dressing,) = [command for command in result.told if "uuid_setvar_multi" in command]
    assert f"shield_recording=TASK-31_{record['id']};shield_shown=TASK-31;shield_ref=TASK-31" in dressing
    assert "sip_rh_X-Shield-Ref=TASK-31" in dressing
    (script,) = [command for command in result.told if "esl_shield.lua" in command]
    assert script.rstrip().endswith(f"{record['token']} carrier-a TASK-31")
    assert not [entry for entry in result.wire if "TASK" in repr(vars(entry)) or "C-31" in repr(vars(entry))]
    assert dial(call_centre, "C-31").status == 404


def test_an_alias_behind_the_dummy_number(call_centre, admin):
    """The header X-Shield-Token may hold the alias instead of the token."""
    admin.call("grant_permission", BANK.name, uuid.uuid4(), None, "C-32", None, None, None, 1, None, None)
    assert dial(call_centre, "9000", {"X-Shield-Token": "C-32"}).status == 200


def test_without_the_setting_an_alias_is_not_dialled(call_centre, admin):
    """Where tokens alone are enough an alias is what any other malformed token is."""
    admin.call("set_dialling", BANK.name, False, None, None)
    result = dial(call_centre, "C-33")
    assert result.status == 404
    assert call_centre.audit(result, BANK)[-1]["detail"] == {"reason": "token_malformed"}


def test_a_number_dialled_by_mistake_reaches_no_statement(call_centre, admin):
    """Neither a row nor the last statement of any connection holds it; an alias that is none is in no row either."""
    canary, word = "02079460147", "NOBODY-447"
    for dialled in (canary, "+442079460147", word):
        assert dial(call_centre, dialled).status == 404
    statements = admin.read("SELECT query FROM pg_catalog.pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert [row for row in statements if "079460147" in row[0]] == []
    rows = call_centre.query("SELECT to_jsonb(c)::text AS t FROM dba.calls c UNION ALL SELECT to_jsonb(a)::text "
                             "FROM dba.audit_events a")  # fmt: skip
    assert [row for row in rows if "079460147" in row["t"] or word in row["t"]] == []


def test_a_clicked_leg_is_taken_to_its_customer(call_centre, admin):
    """The recorded leg, made with a click's UUID, becomes that agent's call with the click's business ID."""
    channel, token = str(uuid.uuid4()), call_centre.token(SHOP, 47)
    assert admin.call("begin_click", SHOP.name, channel, "1007", token, None, "TASK-47", None)[0][0] == "ASKED"
    Replay("click", dialled="shield_clicks", domain=SHOP.domain, channel=channel).play(call_centre.worker)

    def final():
        rows = call_centre.query("SELECT * FROM dba.calls WHERE channel = %s", channel)
        return rows[0] if rows and rows[0]["state"] not in ("AUTHORIZED", "ANSWERED") else None

    record = eventually(final)
    assert (record["state"], record["agent"], record["ref"]) == ("COMPLETED", "1007", "TASK-47")
    assert (record["token"], record["agents"], record["talk_s"] > 0) == (token, ["1007"], True)
    clicks = call_centre.query("SELECT state, call FROM dba.clicks WHERE channel = %s", channel)
    assert clicks == [{"state": "TAKEN", "call": record["id"]}]


def test_a_clicked_leg_of_no_click_gets_404(call_centre):
    """The same leg without its row is answered like an unknown token, and no call is recorded."""
    forged = Replay("click", dialled="shield_clicks", domain=SHOP.domain)
    with pytest.raises(AssertionError, match="respond"):
        forged.play(call_centre.worker)
    assert call_centre.query("SELECT 1 FROM dba.calls WHERE channel = %s", forged.channel) == []
