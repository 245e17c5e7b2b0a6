"""Figures of the whole site, as the sealer reads them for its metrics."""

from __future__ import annotations

from shield_calls import Attempt

TOKENS = [f"910000000000{i:02d}" for i in range(3)]


def figures(database, most=50, tenants=None):
    sealer = database.open(database.login("sealer", tenants))
    return {(figure, label): value for figure, label, value in sealer.call("site_figures", most)}


def test_permits_tokens_and_rekeyings_are_counted(database):
    """Live and expired permits, tokens of the largest tenants and of the rest, and a rekeying under way."""
    assert figures(database) == {("permits", "live"): 0, ("permits", "expired"): 0}
    acme, small, least = (
        database.tenant(name, prefix=prefix) for name, prefix in (("acme", "91"), ("b", "92"), ("c", "93"))
    )
    database.tokens(acme, *TOKENS)
    database.tokens(small, "92000000000001")
    database.tokens(least, "93000000000001")
    worker = database.open(database.login("worker", ["acme"]))
    for token in TOKENS[:2]:
        assert Attempt(token=token).authorize(worker) == ("ALLOWED",)
    database.query("UPDATE shield.permits SET expires_at = now() - interval '1 s' WHERE token = %s", TOKENS[0])
    database.query(
        "INSERT INTO shield.rekeyings (tenant_id, work, version, changed) "
        "VALUES (%s, 'reencrypt', 2, 1), (%s, 'reindex', 2, 1)",
        acme, acme,
    )  # fmt: skip
    database.query("UPDATE shield.rekeyings SET finished_at = now() WHERE work = 'reindex'")
    assert figures(database, most=1) == {
        ("permits", "live"): 1, ("permits", "expired"): 1, ("tokens", "acme.example"): 3, ("tokens", "other"): 2,
        ("rekeying_tokens", "reencrypt"): 3, ("rekeyed_tokens", "reencrypt"): 1,
    }  # fmt: skip


def test_a_sealer_of_some_tenants_sees_theirs(database):
    """A login that is mapped to one tenant is given that one's figures."""
    database.tokens(database.tenant("acme"), *TOKENS)
    database.tokens(database.tenant("b", prefix="92"), "92000000000001")
    assert figures(database, tenants=["b"])["tokens", "b.example"] == 1
    assert ("tokens", "acme.example") not in figures(database, tenants=["b"])


def test_agents_and_logins_that_are_locked_are_counted(database):
    """Until somebody unlocks them."""
    database.tenant("acme")
    database.login("worker", ["acme"])
    database.query("INSERT INTO shield.agent_locks SELECT id, '1001', now(), 'wrong_tokens' FROM shield.tenants")
    database.query("UPDATE shield.logins SET locked_at = now() WHERE role = 'worker'")
    sealer = database.open(database.login("sealer"))
    assert sealer.call("locked_figures") == [("locked", "agents", 1.0), ("locked", "logins", 1.0)]


def hooks(database, most=50, tenants=None):
    """The webhooks' figures, ages in whole seconds."""
    sealer = database.open(database.login("sealer", tenants))
    rows = sealer.call("webhook_figures", most)
    return {(figure.removeprefix("webhook_"), label): int(value) for figure, label, value in rows}


def wait_for(database, tenant, *ages_s, dead=0, enabled=True):
    """Give a tenant a webhook for which events of these ages wait and some were given up."""
    ((hook,),) = database.query(
        "INSERT INTO shield.webhooks (tenant_id, name, url, events, enabled) "
        "VALUES (%s, 'crm', 'https://crm.example/', '{call.ended}', %s) RETURNING id", tenant, enabled,
    )  # fmt: skip
    for age_s in ages_s:
        database.query(
            "INSERT INTO shield.webhook_events (tenant_id, webhook, kind, body, since, next_at) "
            "SELECT %s, %s, 'call.ended', '{}', now() - make_interval(secs => %s), now() + interval '1 min'",
            tenant, hook, age_s,
        )  # fmt: skip
    database.query(
        "INSERT INTO shield.webhook_events (tenant_id, webhook, kind, body, dead_at) "
        "SELECT %s, %s, 'call.ended', '{}', now() FROM generate_series(1, %s)", tenant, hook, dead,
    )  # fmt: skip


def test_webhooks_that_lag_are_seen(database):
    """What waits, for how long, and what was given up, by tenant; for a webhook that is off nothing waits."""
    acme, small, least = (
        database.tenant(name, prefix=prefix) for name, prefix in (("acme", "91"), ("b", "92"), ("c", "93"))
    )
    database.tenant("d", prefix="94")
    database.tokens(acme, *TOKENS)
    assert hooks(database) == {}
    wait_for(database, acme, dead=2)
    wait_for(database, small, 90, 4000, 30)
    wait_for(database, least, 9000, dead=1, enabled=False)
    assert hooks(database, most=1) == {
        ("waiting_events", "acme.example"): 0, ("oldest_waiting_seconds", "acme.example"): 0,
        ("dead_events", "acme.example"): 2, ("waiting_events", "other"): 3, ("oldest_waiting_seconds", "other"): 4000,
        ("dead_events", "other"): 1,
    }  # fmt: skip
    assert {label for _, label in hooks(database, tenants=["b"])} == {"b.example"}
