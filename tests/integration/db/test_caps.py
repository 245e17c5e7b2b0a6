"""Caps count calls that were allowed, per token, agent, tenant and login."""

from __future__ import annotations

import threading

import psycopg2
import pytest
from shield_calls import TOKEN, Attempt, reasons

SECOND_TOKEN = "91000000000026"


def _caps(database, *, token=None, agent=None, tenant=None):
    database.query("SELECT shield_api.set_caps('acme', %s, %s, %s)", token, agent, tenant)


def _verdicts(worker, *attempts):
    return [attempt.authorize(worker)[0] for attempt in attempts]


def test_a_token_may_be_called_so_often_in_24_hours(database, worker, tenants):
    """The call beyond a token's cap is refused, another token's is not, and 24 hours later there is room again."""
    database.tokens(tenants["acme"], SECOND_TOKEN)
    _caps(database, token=2)
    assert _verdicts(worker, Attempt(), Attempt(), Attempt()) == ["ALLOWED", "ALLOWED", "FORBIDDEN"]
    assert reasons(database, "call.refused") == ["token_cap"]
    assert _verdicts(worker, Attempt(token=SECOND_TOKEN)) == ["ALLOWED"]
    database.query("UPDATE shield.token_usage SET since = since - interval '24 hours'")
    assert _verdicts(worker, Attempt(), Attempt(), Attempt()) == ["ALLOWED", "ALLOWED", "FORBIDDEN"]


def test_an_agent_may_call_so_often_in_an_hour(database, worker):
    """The call beyond an agent's cap is refused, another agent's is not, and an hour later there is room again."""
    _caps(database, agent=1)
    assert _verdicts(worker, Attempt(), Attempt(), Attempt(agent="1002")) == ["ALLOWED", "FORBIDDEN", "ALLOWED"]
    assert reasons(database, "call.refused") == ["agent_cap"]
    database.query("UPDATE shield.agent_usage SET since = since - interval '1 hour'")
    assert _verdicts(worker, Attempt(), Attempt()) == ["ALLOWED", "FORBIDDEN"]


def test_a_tenant_may_call_so_often_in_a_day(database, worker):
    """The call beyond a tenant's cap is refused, and the next day there is room again."""
    _caps(database, tenant=2)
    assert _verdicts(worker, Attempt(), Attempt(), Attempt()) == ["ALLOWED", "ALLOWED", "FORBIDDEN"]
    assert reasons(database, "call.refused") == ["tenant_cap"]
    database.query("UPDATE shield.tenant_usage SET day = day - 1")
    assert _verdicts(worker, Attempt()) == ["ALLOWED"]


def test_a_tenants_calls_are_counted_over_all_stripes(database, worker):
    """Calls other connections counted in other stripes count too."""
    _caps(database, tenant=50)
    database.query(
        "INSERT INTO shield.tenant_usage SELECT t.id, s, (now() AT TIME ZONE 'UTC')::date, 3"
        " FROM shield.tenants t, generate_series(0, 15) s WHERE t.name = 'acme'"
    )
    assert _verdicts(worker, *(Attempt() for _ in range(3))) == ["ALLOWED", "ALLOWED", "FORBIDDEN"]


def test_a_refused_call_uses_up_nothing(database, worker):
    """What a later cap refuses is given back to the caps before it."""
    _caps(database, token=2, agent=2, tenant=0)
    assert _verdicts(worker, Attempt()) == ["FORBIDDEN"]
    assert database.query("SELECT (SELECT used FROM shield.token_usage), (SELECT used FROM shield.agent_usage)") == [
        (0, 0)
    ]
    _caps(database, token=2, agent=0)
    assert _verdicts(worker, Attempt()) == ["FORBIDDEN"]
    assert database.query("SELECT used FROM shield.token_usage") == [(0,)]


@pytest.mark.parametrize(("rate", "tries"), [(5, 40), (130, 600)])
def test_a_login_mints_so_many_permits_a_second(database, tenants, rate, tries):
    """A login's mint rate holds within a second and comes back with the next."""
    config = database.login("worker", ["acme"], mint_per_s=rate)
    worker = database.open(config)
    verdicts = _verdicts(worker, *(Attempt() for _ in range(tries)))
    seconds = database.query("SELECT count(DISTINCT date_trunc('second', started_at)) FROM shield.calls")[0][0]
    assert rate <= verdicts.count("ALLOWED") <= rate * seconds
    assert set(reasons(database, "call.refused")) <= {"mint_rate"}
    database.query("UPDATE shield.mint_buckets SET second = second - 1")
    assert _verdicts(worker, Attempt()) == ["ALLOWED"]


AUTHORIZE = (
    "SELECT * FROM shield_api.authorize_call(gen_random_uuid(), 'acme.example', '1001', %s, NULL, NULL,"
    " sha256(gen_random_uuid()::text::bytea), 'carrier', 'edge', NULL, NULL)"
)

UNTIL_THE_NEXT_SECOND = "SELECT pg_sleep(extract(epoch FROM date_trunc('second', now()) + interval '1.01 s' - now()))"


def _begun(database, config, connections):
    """Connections whose transactions started in a second that is over."""
    begun = [database.connect(config) for _ in range(connections)]
    for connection in begun:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("SELECT now()")
    database.query(UNTIL_THE_NEXT_SECOND)
    return begun


@pytest.mark.parametrize("commits", [True, False])
def test_transactions_begun_early_mint_no_more(database, tenants, commits):
    """Ten calls over connections whose transactions are a second old, or stay open, get the rate of now and no more."""
    config = database.login("worker", ["acme"], mint_per_s=1)
    connections = _begun(database, config, 10)
    started = database.query("SELECT floor(extract(epoch FROM clock_timestamp()))")[0][0]
    allowed = 0
    for connection in connections:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 100")
            try:
                cursor.execute(AUTHORIZE, (TOKEN,))
                allowed += cursor.fetchone() == ("ALLOWED",)
            except psycopg2.errors.QueryCanceled:
                connection.rollback()
        if commits:
            connection.commit()
    ended = database.query("SELECT floor(extract(epoch FROM clock_timestamp()))")[0][0]
    assert 1 <= allowed <= 1 + ended - started


def test_a_slots_second_never_goes_back(database, tenants):
    """When the clock was a little ahead a login waits until it has caught up, and its slots stay where they were."""
    worker = database.open(database.login("worker", ["acme"], mint_per_s=1))
    assert _verdicts(worker, Attempt()) == ["ALLOWED"]
    database.query("UPDATE shield.mint_buckets SET second = second + 30")
    before = database.query("SELECT second FROM shield.mint_buckets")
    assert _verdicts(worker, Attempt()) == ["FORBIDDEN"]
    assert database.query("SELECT second FROM shield.mint_buckets") == before


def test_a_tenants_day_never_goes_back(database, worker):
    """A count of tomorrow, made by a clock that was ahead, is kept and counted."""
    _caps(database, tenant=2)
    _verdicts(worker, Attempt())
    database.query("UPDATE shield.tenant_usage SET day = day + 1")
    assert _verdicts(worker, Attempt(), Attempt()) == ["ALLOWED", "FORBIDDEN"]
    assert database.query("SELECT sum(used), min(day) > (now() AT TIME ZONE 'UTC')::date FROM shield.tenant_usage") == [
        (2, True)
    ]


def test_a_further_permit_counts_against_the_mint_rate(database, tenants):
    """A failover's permit is a permit: beyond the login's rate it is refused, with the reason in the event."""
    worker = database.open(database.login("worker", ["acme"], mint_per_s=1))
    attempt = Attempt()
    attempt.authorize(worker)
    database.query("UPDATE shield.mint_buckets SET second = second + 30")
    assert attempt.next_permit(worker) == "FORBIDDEN"
    assert reasons(database, "permit.denied") == ["mint_rate"]
    database.query("UPDATE shield.mint_buckets SET second = second - 7200")
    assert attempt.next_permit(worker) == "ALLOWED"


def test_a_token_ends_by_the_clock(database, tenants):
    """A transaction begun before a token's end does not call it afterwards."""
    (connection,) = _begun(database, database.login("worker", ["acme"]), 1)
    database.query("UPDATE shield.tokens SET expires_at = clock_timestamp()")
    with connection.cursor() as cursor:
        cursor.execute(AUTHORIZE, (TOKEN,))
        assert cursor.fetchone() == ("NOT_FOUND",)


def test_one_logins_mint_rate_is_not_anothers(database, tenants):
    """A login that used up its rate leaves the others theirs."""
    spent = database.open(database.login("worker", ["acme"], mint_per_s=0))
    other = database.open(database.login("worker", ["acme"], mint_per_s=5))
    assert _verdicts(spent, Attempt()) == ["FORBIDDEN"]
    assert _verdicts(other, Attempt()) == ["ALLOWED"]


@pytest.mark.parametrize("cap", ["token", "agent"])
def test_a_cap_holds_among_calls_at_the_same_moment(database, tenants, cap):
    """Eight connections at once get exactly what the cap allows."""
    _caps(database, **{cap: 5})
    config = database.login("worker", ["acme"])
    verdicts = []

    def call_four_times(worker):
        verdicts.extend(_verdicts(worker, *(Attempt() for _ in range(4))))

    threads = [threading.Thread(target=call_four_times, args=(database.open(config),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts.count("ALLOWED") == 5
    assert len(verdicts) == 32


STRIPES = 16


@pytest.mark.parametrize(("cap", "most"), [("token", 1), ("agent", 1), ("tenant", STRIPES)])
def test_a_hundred_calls_at_the_last_place(database, tenants, worker, cap, most):
    """Of 100 calls at one moment and one place left, token and agent caps admit one, a tenant's at most 15 more."""
    _caps(database, **{cap: 3})
    assert _verdicts(worker, Attempt(), Attempt()) == ["ALLOWED", "ALLOWED"]
    config = database.login("worker", ["acme"])
    begin, verdicts = threading.Barrier(100), []
    connections = [database.connect(config) for _ in range(100)]

    def call(connection):
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '60s'")  # a login's second is short for 100 servers on few cores
            begin.wait()
            cursor.execute(AUTHORIZE, (TOKEN,))
            verdicts.append(cursor.fetchone()[0])

    threads = [threading.Thread(target=call, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= verdicts.count("ALLOWED") <= most
    assert len(verdicts) == 100
    assert reasons(database, "call.refused") == [f"{cap}_cap"] * verdicts.count("FORBIDDEN")
    used = database.query(f"SELECT sum(used) FROM shield.{cap}_usage")
    assert used == [(2 + verdicts.count("ALLOWED"),)]
    assert Attempt().authorize(worker) == ("FORBIDDEN",)


def test_calls_of_one_stripe_pass_a_tenants_cap_by_none(database, tenants):
    """A call whose stripe another holds waits for it, and then counts it."""
    _caps(database, tenant=1)
    config = database.login("worker", ["acme"])
    first = database.connect(config)
    first.autocommit = False
    with first.cursor() as cursor:
        cursor.execute(AUTHORIZE, (TOKEN,))
        assert cursor.fetchone() == ("ALLOWED",)
    stripe = first.info.backend_pid % STRIPES
    same = None
    while same is None:  # a server process of the same stripe comes within 16 connections or so
        other = database.connect(config)
        if other.info.backend_pid % STRIPES == stripe:
            same = other
        else:
            other.close()
    answers = []

    def call():
        with same.cursor() as cursor:
            cursor.execute(AUTHORIZE, (TOKEN,))
            answers.append(cursor.fetchone())

    thread = threading.Thread(target=call)
    thread.start()
    while database.query("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
        assert thread.is_alive()
    first.commit()
    thread.join()
    assert answers == [("FORBIDDEN",)]
