"""The catalogue of metrics: names, the page of documentation, and what never gets into a label."""

from __future__ import annotations

import ast
import itertools
import os
import re
import shutil
import subprocess
import types
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from esl_shield.calls.states import cause_of
from esl_shield.db.usage import Usage
from esl_shield.service import catalogue
from esl_shield.service.metrics import (
    ApiMetrics,
    Bounded,
    IntakeMetrics,
    ResolverMetrics,
    WorkerMetrics,
)
from esl_shield.service.sitemetrics import SealerMetrics
from esl_shield.service.supervisor.metrics import SupervisorMetrics

ROOT = Path(__file__).parents[3]
NUMBER, TOKEN, ALIAS, AGENT = "+8613800138777", "70123456789012", "C-2031", "li.wei"


class Pool:
    """A pool's figures, without a pool."""

    def __init__(self) -> None:
        self.usage = Usage(connections=8, connections_in_use=2, calls=5, waits=1, wait_seconds=0.5, away=1)


class Journal:
    unwritten = 3


class Keeper:
    journal, failing = Journal, True


class Breakers:
    open_breakers = types.MappingProxyType({"stored": 0, "crm": 1})


class Resolver:
    """What a resolver shows to be watched."""

    databases, journal, open_requests, max_requests = (Pool(), Pool()), Keeper, 2, 64
    methods = Breakers


def all_pages():
    """One process of each kind, with everything counted once."""
    worker = WorkerMetrics(gateways=["carrier-a"])
    worker.count("authorized", "edge", "bank.example")
    for kind, reason in {
        "finished": "REFUSED", "refused": "forbidden", "transferred": "talks_on", "cdr_delayed": "database_away",
        "failover": "GATEWAY_DOWN", "passed_on": "NO_ANSWER", "accepted": "token", "gone": "bad_frame",
        "connection": "accepted", "cdr_lost": "refused", "unreported": "database.away",
    }.items():  # fmt: skip
        worker.count(kind, reason, "bank.example" if kind in ("finished", "refused") else "")
    worker.handed_off(0.002)
    worker.attempted("carrier-a", None)
    for name in ("open_calls", "call_slots", "overflow_calls", "overflow_slots", "untold_records", "draining"):
        worker.watch(f"esl_shield_worker_{name}", lambda: 1)
    worker.watch_databases({"calls": Pool()})
    resolver = ResolverMetrics()
    resolver.answered("number", "redeemed", 0.001)
    resolver.ciphertext("decrypts")
    resolver.attempted("ff1", "number", 0.001)
    resolver.watch_resolver(Resolver, Resolver)
    sealer = SealerMetrics()
    sealer.active(mine=True)
    sealer.sealed({"permit.redeemed": 2})
    sealer.behind(0.5, 2, 1)
    sealer.unexported("file", 0)
    sealer.failed("heads")
    figures = (
        *("permits", "tokens", "locked", "rekeying_tokens", "rekeyed_tokens"),
        *("webhook_waiting_events", "webhook_oldest_waiting_seconds", "webhook_dead_events"),
    )
    sealer.site([(figure, "live", 1.0) for figure in figures])
    intake = IntakeMetrics()
    intake.count("ended")
    intake.watch_databases({"records": Pool()})
    api = ApiMetrics("api")
    api.answered("token_by_alias", 200, 0.01)
    supervisor = SupervisorMetrics()
    supervisor.population({("worker", "ready"): 2}, {"worker": 0})
    supervisor.died("worker", "killed")
    supervisor.reloaded("done")
    return [process.page().decode() for process in (worker, resolver, sealer, intake, api, supervisor)]


def test_the_page_of_documentation_is_the_catalogue():
    """docs/metrics.md is what `python -m esl_shield.service.catalogue` prints."""
    assert (ROOT / "docs" / "metrics.md").read_text() == catalogue.page()


def test_every_metric_is_published_as_the_catalogue_says():
    """Processes together publish the catalogue, no more and no less: kinds, labels and meanings too."""
    published = {}
    for page in all_pages():
        for family in text_string_to_metric_families(page):
            if not family.name.startswith("process_"):
                name = family.name + ("_total" if family.type == "counter" else "")
                labels = {tuple(sorted(set(sample.labels) - {"le"})) for sample in family.samples}
                published[name] = (family.type, labels, family.documentation)
    expected = {
        metric.name: (metric.kind, {tuple(sorted(metric.labels))}, metric.meaning)
        for metric in catalogue.CATALOGUE.values()
    }
    assert published == expected


@pytest.mark.parametrize("metric", catalogue.CATALOGUE.values(), ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric):
    """Counters end in _total, times are seconds, no name ends as a series of a histogram does, none is kept in bits."""
    assert re.fullmatch(r"esl_shield_[a-z][a-z_]*[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not metric.name.endswith(("_count", "_sum", "_bucket", "_ms", "_milliseconds", "_minutes", "_info_total"))
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert metric.meaning.endswith(".")


@pytest.mark.skipif(
    not shutil.which("promtool") and os.environ.get("CI") != "true",
    reason="promtool (Debian: prometheus) is not installed",
)
@pytest.mark.parametrize("role", range(5), ids=["worker", "resolver", "sealer", "intake", "supervisor"])
def test_promtool_has_nothing_to_say(role):
    """Prometheus' own linter finds nothing on a page."""
    result = subprocess.run(
        ["promtool", "check", "metrics"], input=all_pages()[role], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_buckets_tell_a_call_of_1_to_100_ms():
    """From 1 to 100 ms no bucket's end is more than twice the one before, so a quantile is right to within that."""
    ends = [end for end in catalogue.CALL_PATH_S if 0.001 <= end <= 0.1]
    assert (ends[0], ends[-1]) == (0.001, 0.1)
    assert all(after <= 2 * before for before, after in itertools.pairwise(ends))
    assert list(catalogue.CALL_PATH_S) == sorted(catalogue.CALL_PATH_S)


def test_tenants_are_bounded():
    """So many tenants have a value of their own, each from its first allowed call on; the rest is other."""
    metrics = WorkerMetrics(tenants=2)
    for number in range(5):
        metrics.count("refused", "forbidden", f"t{number}.example")  # nobody vouches for these domains
    for number in range(5):
        metrics.count("authorized", "edge", f"t{number}.example")
        metrics.count("finished", "COMPLETED", f"t{number}.example")
    page = metrics.page().decode()
    tenants = re.findall(r'calls_total\{outcome="(\w+)",tenant="(\S+)"\} (\S+)', page)
    assert sorted(tenants) == [
        ("completed", "other", "3.0"), ("completed", "t0.example", "1.0"), ("completed", "t1.example", "1.0"),
        ("refused", "other", "5.0"),
    ]  # fmt: skip
    assert Bounded(0).learn("a") == "other"


def test_no_number_token_alias_or_agent_gets_into_a_label():
    """Whatever is handed to the metrics by mistake in a caller's words ends as other."""
    metrics = WorkerMetrics()
    for canary in (NUMBER, TOKEN, ALIAS, AGENT):
        metrics.count("failover", canary)
        metrics.count("passed_on", canary)
        metrics.attempted("carrier-a", cause_of(canary))
        metrics.count("refused", "forbidden", canary)
        metrics.count("finished", "BUSY", canary)
    metrics.count("authorized", "edge", f"{NUMBER[1:]}.example")
    metrics.count("finished", "BUSY", f"{NUMBER[1:]}.example")
    sealer = SealerMetrics()
    sealer.sealed({f"x.{NUMBER[1:]}": 1})
    sealer.site([("tokens", f"{NUMBER[1:]}.example", 1.0)])
    page = metrics.page().decode() + sealer.page().decode()
    for canary in (NUMBER[1:], NUMBER[3:], TOKEN, ALIAS, AGENT):
        assert canary not in page
    assert 'esl_shield_worker_failovers_total{cause="OTHER"} 4.0' in page


def test_a_gateway_is_down_after_three_failures_of_its_own():
    """A busy customer says nothing against a gateway; three times its own fault do, one answer mends it."""
    metrics = WorkerMetrics(gateways=["a"])

    def up():
        return 'esl_shield_gateway_up{gateway="a"} 1.0' in metrics.page().decode()

    seen = []
    for cause in ("GATEWAY_DOWN", "GATEWAY_DOWN", "USER_BUSY", "GATEWAY_DOWN", "GATEWAY_DOWN", "GATEWAY_DOWN"):
        metrics.attempted("a", cause_of(cause))
        seen.append(up())
    metrics.attempted("a", None)
    assert (seen, up()) == ([True] * 5 + [False], True)


def test_what_scripts_count_is_in_the_catalogue():
    """Every kind that calls/ counts is one the worker's metrics know."""
    kinds = {
        node.args[0].value
        for path in (ROOT / "esl_shield" / "calls").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "count"
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }
    assert len(kinds) >= 8
    metrics = WorkerMetrics()
    for kind in kinds:
        metrics.count(kind, "NO_ANSWER")


def test_of_ages_that_meet_in_one_label_the_greater_stays():
    """Counts of tenants without a label of their own are added up; seconds are not."""
    sealer = SealerMetrics()
    one, other = f"{NUMBER[1:]}.example", f"x.{NUMBER[1:]}.example"
    for figure in ("webhook_waiting_events", "webhook_oldest_waiting_seconds"):
        sealer.site([(figure, one, 40.0), (figure, "other", 7.0), (figure, other, 5.0)])
        page = sealer.page().decode()
        expected = 40.0 if figure.endswith("_seconds") else 52.0
        assert f'esl_shield_site_{figure}{{tenant="other"}} {expected}' in page
