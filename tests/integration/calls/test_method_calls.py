"""Calls whose numbers are in no row: worker, resolver, PostgreSQL and the tenant's own service, in both deliveries."""

from __future__ import annotations

import base64
import csv
import urllib.parse
import urllib.request

import pytest
from certificates import Authority
from crm_server import SECRET, CrmServer
from fix_site import BANK, GATEWAYS, SHOP, CallCentre
from permissions import grant

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway
from esl_shield.tryout.site import Site
from esl_shield.vault import tokens

pytestmark = pytest.mark.slow  # a site of its own: cluster, keys, worker, resolver

PREFIXES = {(BANK, "ff1"): "31", (BANK, "crm"): "32", (SHOP, "ff1"): "33", (SHOP, "crm"): "34"}
# Mobile numbers Australia keeps for fiction: one for each prefix.
NUMBERS = dict(zip(PREFIXES, ("+61491570006", "+61491570156", "+61491570157", "+61491570158"), strict=True))
CARRIERS = {name: Gateway(Carrier(after_s=0.02)) for name in ("carrier-a", "edge-a")}
WIRES = {BANK: "sip:{}@192.0.2.10:5060", SHOP: "sip:{}@127.0.0.1:5080"}
CASES = pytest.mark.parametrize(
    ("tenant", "method"), PREFIXES, ids=[f"{method} {tenant.name}" for tenant, method in PREFIXES]
)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The tenants' service."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    authority.sign("crm", "DNS:localhost")
    server = CrmServer(authority.context("crm"))
    server.authority = authority
    yield server
    server.stop()


@pytest.fixture(scope="module")
def centre(cluster, service, tmp_path_factory):
    """A site whose tenants require permissions and have a prefix of each method; skips without PostgreSQL."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "crm").write_bytes(SECRET + b"\n")
    (folder / "crm").chmod(0o400)
    crm = "".join(
        f'[[crm]]\ntenant = "{tenant.name}"\nurl = "{service.url}"\nsecret = "file:{folder / "crm"}"\n'
        f'ca = "{service.authority.folder / "ca.pem"}"\n'
        for tenant in (BANK, SHOP)
    )
    with Site(folder, [BANK, SHOP], GATEWAYS, {"resolver": crm}) as site:
        with administrator(site).begin() as connection:
            connection.exec_driver_sql("UPDATE shield.tenants SET requires_permission = true")
        for (tenant, method), prefix in PREFIXES.items():
            words = ("--tenant", tenant.name, "--prefix", prefix, "--method", method, "--country", "AU")
            site.run("admin", "tenant", "prefix", "add", *words)
        worker, resolver = site.start("worker").address, site.start("resolver").address
        redeem = double.HttpRedeem(
            f"http://{resolver}/redeem", edge_secret=site.edge_secret.encode(), lua_secret=site.lua_secret.encode()
        )
        made = CallCentre(site, (worker.host, worker.port), redeem)
        made.resolver = resolver
        made.tokens = {case: token_of(site, service, *case) for case in PREFIXES}
        yield made


def administrator(site):
    return sqlalchemy_engine(DatabaseConfig(site.config("admin").read_text().split('"')[1]))


def first(connection, statement, *values):
    done = connection.exec_driver_sql(statement, values)
    return done.scalar() if done.returns_rows else None


def token_of(site, service, tenant, method):
    """A token of the case's number: computed, or one the tenant's service drew itself."""
    prefix, number = PREFIXES[tenant, method], NUMBERS[tenant, method]
    if method == "crm":
        token = tokens.draw(prefix, 20)
        service.numbers[token] = number
        return token
    source, target = site.folder / f"{prefix}.csv", site.folder / f"{prefix}-tokens.csv"
    source.write_text(f"number\n{number}\n")
    words = ("--tenant", tenant.name, "--prefix", prefix, "--output", str(target), "--quiet")
    site.run("seeder", "token", "compute", str(source), *words)
    source.unlink()
    with target.open(newline="") as file:
        return next(csv.DictReader(file))["token"]


def place(centre, tenant, token):
    """Have an agent who may call a token."""
    with administrator(centre.site).begin() as connection:
        grant(lambda *statement: first(connection, *statement), tenant.name, token)
    call = Call(token, Agent(domain=tenant.domain), gateways=CARRIERS, hangs_up_after_s=0.05)
    return centre.place(call)


def kinds(centre, tenant, result):
    return [(event["kind"], event["detail"].get("reason")) for event in centre.audit(result, tenant)]


@CASES
def test_a_call_rings_the_customer_and_is_recorded_as_any(centre, service, tenant, method):
    """The wire has the number, FreeSWITCH the token; call record and audit events are those of a stored token."""
    token = centre.tokens[tenant, method]
    result = place(centre, tenant, token)
    assert [entry.request_uri for entry in result.wire] == [WIRES[tenant].format(NUMBERS[tenant, method])]
    assert NUMBERS[tenant, method][3:] not in "\n".join(result.told)
    record = centre.record(tenant, result)
    assert (record["state"], record["token"], record["agent"]) == ("COMPLETED", token, "1001")
    assert kinds(centre, tenant, result) == [("call.authorized", None), ("permit.redeemed", None)]
    if method == "crm":
        assert (service.asked[-1]["call"], service.asked[-1]["tenant"]) == (str(record["id"]), tenant.name)


@CASES
def test_a_guess_reaches_nobody(centre, tenant, method):
    """A token that stands for nobody is authorised, redeemed and refused: no wire, the reason in its event."""
    result = place(centre, tenant, tokens.draw(PREFIXES[tenant, method], 20))
    assert list(result.wire) == []
    assert result.status >= 400
    reason = {"ff1": "token_nobody", "crm": "crm_unknown"}[method]
    assert kinds(centre, tenant, result)[:3] == [
        ("call.authorized", None), ("permit.redeemed", None), ("permit.refused_number", reason),
    ]  # fmt: skip


@CASES
def test_a_revoked_token_is_not_called(centre, tenant, method):
    """After `token revoke` the token is unknown to agents, whatever its service would say."""
    token = tokens.draw(PREFIXES[tenant, method], 20)
    centre.site.run("seeder", "token", "revoke", token, "--tenant", tenant.name)
    result = place(centre, tenant, token)
    assert (result.status, list(result.wire)) == (404, [])
    assert kinds(centre, tenant, result) == [("call.refused", "token_revoked")]


@pytest.mark.parametrize("mode", ["silent", "error", "unsigned"])
def test_a_service_that_fails_fails_the_call_and_no_other(centre, service, mode):
    """The call fails with nothing on the wire while ff1 tokens of the same tenant go on."""
    service.mode = mode
    try:
        result = place(centre, SHOP, centre.tokens[SHOP, "crm"])
    finally:
        service.mode = "well"
    assert (list(result.wire), result.status) == ([], 503)
    assert [kind for kind, reason in kinds(centre, SHOP, result) if reason and reason.startswith("crm_")]
    assert place(centre, SHOP, centre.tokens[SHOP, "ff1"]).bridged


def spellings(number):
    digits = number[1:]
    yield from (digits, digits[2:], urllib.parse.quote(number), base64.b64encode(digits.encode()).decode())


def test_no_number_is_in_database_logs_or_metrics(centre):
    """Every table, every file the site wrote and the metrics page are searched for the numbers; the method counts."""
    assert all(place(centre, tenant, token).bridged for (tenant, _), token in centre.tokens.items())
    with urllib.request.urlopen(f"http://{centre.resolver}/metrics", timeout=5) as page:
        metrics = page.read().decode()
    assert 'esl_shield_resolver_method_attempts_total{method="crm",outcome="number"}' in metrics
    written = metrics
    for path in centre.site.folder.rglob("*"):
        if path.is_file() and path.suffix != ".pem":
            written += path.read_text(errors="replace")
    with administrator(centre.site).connect() as opened:
        names = opened.exec_driver_sql(
            "SELECT c.oid::regclass::text FROM pg_class c"
            " WHERE c.relkind = 'r' AND c.relnamespace = 'shield'::regnamespace"
        )
        for (name,) in names.fetchall():
            text = opened.exec_driver_sql(f"SELECT coalesce(string_agg(t::text, ''), '') FROM {name} t").scalar_one()
            written += text
    found = [number for number in NUMBERS.values() for text in spellings(number) if text in written]
    assert found == []
    assert all(token in written for token in centre.tokens.values())
