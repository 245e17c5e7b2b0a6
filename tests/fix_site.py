"""A whole site for tests: real PostgreSQL, worker and resolver as processes of their own, agents through the double."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from ports import free_port

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.esl import double
from esl_shield.tryout.site import Process, Site, Tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BANK = Tenant("bank", "bank.example", "70", "GB")  # direct delivery
SHOP = Tenant("shop", "shop.example", "81", "GB")  # edge delivery
LOST = Tenant("lost", "lost.example", "92", "GB")  # no gateway
NUMBERS = [f"+4420794601{i:02d}" for i in range(60)]
ABROAD = "+12025550123"
DUMMY = "9000"
RECORD_TIMEOUT_S = 10.0
DEADLINE_S = 20.0

GATEWAY_NAMES = ("carrier-a", "carrier-b", "edge-a", "edge-b")
GATEWAYS = """
[[gateways]]
name = "carrier-a"
delivery = "direct"
proxy = "192.0.2.10:5060"
caller_id = ["+442079460999"]
domains = ["bank.example"]
[[gateways]]
name = "carrier-b"
delivery = "direct"
proxy = "192.0.2.20:5060"
number_format = "e164_noplus"
domains = ["bank.example"]
[[gateways]]
name = "edge-a"
delivery = "edge"
domains = ["shop.example"]
[[gateways]]
name = "edge-b"
delivery = "edge"
domains = ["shop.example"]
"""
EXTRA = {
    "worker": f'[handoff]\ndummy_number = "{DUMMY}"\n[calls]\nanswer_timeout_s = 1\n[inbound]\nring_s = 1\n',
    "resolver": '[destinations]\ncountries = ["GB"]\n',
}


@dataclass
class CallCentre:
    """A running site and what its tests ask of it."""

    site: Site
    worker: tuple[str, int]
    redeem: double.Redeem
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)  # tenant -> number -> token

    def token(self, tenant: Tenant, position: int) -> str:
        """Return the token of the tenant's customer at a position."""
        return self.tokens[tenant.name][NUMBERS[position]]

    def place(self, call: double.Call, redeem: double.Redeem | None = None) -> double.Result:
        """Have an agent call; returns when the call is over for FreeSWITCH."""
        return double.play(call, self.worker, redeem=redeem or self.redeem)

    def call(self, tenant: Tenant, position: int, carrier: double.Carrier | None = None, **changes: Any) -> double.Call:
        """An agent's short call to the tenant's customer at a position; the carrier is behind every gateway."""
        gateways = dict.fromkeys(GATEWAY_NAMES, double.Gateway(carrier or double.Carrier(after_s=0.02)))
        agent = double.Agent(domain=tenant.domain)
        wanted = {"agent": agent, "gateways": gateways, "hangs_up_after_s": 0.05} | changes
        return double.Call(dialled=self.token(tenant, position), **wanted)

    def record(self, tenant: Tenant, result: double.Result) -> dict[str, object] | None:
        """Return the call's CDR once it is final, None if there is none."""
        deadline = time.monotonic() + RECORD_TIMEOUT_S
        while True:
            found = self.query("SELECT * FROM dba.calls WHERE tenant = %s AND channel = %s", tenant.name, result.uuid)
            if not found or found[0]["state"] not in ("AUTHORIZED", "ANSWERED") or time.monotonic() > deadline:
                return found[0] if found else None

    def audit(self, result: double.Result, tenant: Tenant) -> list[dict[str, object]]:
        """Return the audit events of one call, oldest first."""
        record = self.record(tenant, result) or {}
        return self.query("SELECT * FROM dba.audit_events WHERE call = %s ORDER BY id", record.get("id"))

    def query(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Return what an auditor's login sees."""
        engine = sqlalchemy_engine(DatabaseConfig(self.site.url("auditor")))
        with engine.connect() as connection:
            return [dict(row) for row in connection.exec_driver_sql(statement, values).mappings()]


def eventually(look: Callable[[], Any], within_s: float = DEADLINE_S) -> Any:
    """Return the first true answer of a look; fail when there is none in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        gevent.sleep(0.02)
    pytest.fail("it did not come true in time")


@pytest.fixture
def unused_tcp_port() -> int:
    """Return a loopback port nobody listens on right now."""
    return free_port()


@pytest.fixture(scope="session")
def call_centre(cluster: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallCentre]:
    """One site for the whole run; tests use tokens of their own. Asking for ``cluster`` skips without PostgreSQL."""
    folder = tmp_path_factory.mktemp("site")
    with Site(folder, [BANK, SHOP, LOST], GATEWAYS, EXTRA) as site:
        yield open_centre(site, folder)


def open_centre(site: Site, folder: Path, tenants: Sequence[Tenant] = (BANK, SHOP, LOST)) -> CallCentre:
    """Import each tenant's customers and start a worker and a resolver."""
    tokens = {tenant.name: seed(site, tenant, folder) for tenant in tenants}
    return connected(site, tokens, site.start("worker"), site.start("resolver"))


def connected(site: Site, tokens: dict[str, dict[str, str]], worker: Process, resolver: Process) -> CallCentre:
    """Return the call centre of processes that run."""
    redeem = double.HttpRedeem(
        f"http://{resolver.address}/redeem",
        edge_secret=site.edge_secret.encode(), lua_secret=site.lua_secret.encode(),
    )  # fmt: skip
    return CallCentre(site, (worker.address.host, worker.address.port), redeem, tokens)


def seed(site: Site, tenant: Tenant, folder: Path) -> dict[str, str]:
    """Import the tenant's customers; returns their tokens by number."""
    source, target = folder / f"{tenant.name}.csv", folder / f"{tenant.name}-tokens.csv"
    numbers = [*NUMBERS, ABROAD]
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([("number", "alias"), *((number, f"C-{i}") for i, number in enumerate(numbers))])
    site.run("seeder", "token", "import", str(source), "--tenant", tenant.name, "--output", str(target))
    with target.open(newline="") as file:
        return {numbers[int(row["alias"].removeprefix("C-"))]: row["token"] for row in csv.DictReader(file)}
