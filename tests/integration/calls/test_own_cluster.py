"""One enterprise, one cluster: its own worker and resolver by configuration alone, beside another enterprise's."""

from __future__ import annotations

import contextlib

import pytest
from fix_site import BANK, SHOP, CallCentre, eventually, seed

from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway
from esl_shield.tryout.site import Site

pytestmark = pytest.mark.slow  # two sites: clusters, keys, workers, resolvers

GATEWAYS = {
    BANK: '[[gateways]]\nname = "carrier-a"\ndelivery = "direct"\nproxy = "192.0.2.10:5060"\n',
    SHOP: '[[gateways]]\nname = "edge-a"\ndelivery = "edge"\n',
}
RESOLVER = '[destinations]\ncountries = ["GB"]\n'
CARRIERS = {name: Gateway(Carrier(after_s=0.02)) for name in ("carrier-a", "edge-a")}


@pytest.fixture(scope="module")
def centres(cluster, tmp_path_factory):
    """Two enterprises' sites; nothing but files and addresses tells them apart; skips without PostgreSQL."""
    with contextlib.ExitStack() as stack:
        made = {}
        for tenant in (BANK, SHOP):
            folder = tmp_path_factory.mktemp(tenant.name)
            site = stack.enter_context(Site(folder, [tenant], GATEWAYS[tenant], {"resolver": RESOLVER}))
            tokens = {tenant.name: seed(site, tenant, folder)}
            worker, resolver = site.start("worker").address, site.start("resolver").address
            redeem = double.HttpRedeem(
                f"http://{resolver}/redeem", edge_secret=site.edge_secret.encode(), lua_secret=site.lua_secret.encode()
            )
            made[tenant] = CallCentre(site, (worker.host, worker.port), redeem, tokens)
        yield made


def _call(centres, tenant, position, *, at=None):
    """A call of the tenant's agent, as the context of its domain hands it to the worker named there."""
    centre = centres[tenant]
    call = Call(centre.token(tenant, position), Agent(domain=tenant.domain), gateways=CARRIERS, hangs_up_after_s=0.05)
    return (at or centre).place(call)


def _calls(centre):
    return [(row["tenant"], row["state"]) for row in centre.query("SELECT tenant, state FROM dba.calls")]


def test_each_enterprises_calls_stand_in_its_own_cluster_only(centres):
    """Both call at once; each cluster has its own tenant, tokens, call and events, and nothing of the other."""
    for tenant, other in ((BANK, SHOP), (SHOP, BANK)):
        before = len(_calls(centres[other]))
        result = _call(centres, tenant, 0)
        assert result.bridged
        assert len(result.wire) == 1
        assert centres[tenant].record(tenant, result)["state"] == "COMPLETED"
        assert len(_calls(centres[other])) == before
        assert centres[other].query("SELECT * FROM dba.calls WHERE channel = %s", result.uuid) == []
    for tenant in (BANK, SHOP):
        assert centres[tenant].query("SELECT DISTINCT tenant FROM dba.tokens") == [{"tenant": tenant.name}]
        assert {row["tenant"] for row in centres[tenant].query("SELECT tenant FROM dba.audit_events")} == {tenant.name}


def test_an_agent_at_the_other_enterprises_worker_is_nobody(centres):
    """A dialplan that names the wrong worker gets a refusal, not the other's tokens."""
    result = _call(centres, BANK, 1, at=centres[SHOP])
    assert result.status == 403
    assert not result.wire
    assert centres[BANK].query("SELECT * FROM dba.calls WHERE channel = %s", result.uuid) == []
    assert centres[SHOP].query("SELECT * FROM dba.calls WHERE channel = %s", result.uuid) == []


def test_a_permit_is_worth_nothing_at_the_other_resolver(centres):
    """The bank's permit at the shop's resolver, even with the right secret, gives no number."""
    bank, shop = centres[BANK], centres[SHOP]
    call = Call(bank.token(BANK, 2), Agent(domain=BANK.domain), gateways=CARRIERS, hangs_up_after_s=0.05)
    result = bank.place(call, redeem=shop.redeem)
    assert not result.bridged
    assert not result.wire


def test_one_cluster_down_leaves_the_others_calls_alone(centres):
    """The bank's agents hear 503 within two seconds while the shop's calls complete; then the bank's do again."""
    bank = centres[BANK].site.postgres
    bank.halt("immediate")
    try:
        refused = _call(centres, BANK, 3)
        assert refused.status == 503
        assert refused.timings_s["ended"] < 2.0
        other = _call(centres, SHOP, 3)
        assert other.bridged
        assert centres[SHOP].record(SHOP, other)["state"] == "COMPLETED"
    finally:
        bank.start()
    answered = eventually(lambda: (r := _call(centres, BANK, 3)).bridged and r)
    assert centres[BANK].record(BANK, answered)["state"] == "COMPLETED"
    assert centres[BANK].record(BANK, refused) is None
