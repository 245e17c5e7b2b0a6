"""What deploy/ ships: metrics that exist, rules Prometheus takes, an explanation of each alert."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from esl_shield.cli.main import COMMANDS, root
from esl_shield.service.catalogue import CATALOGUE

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = (PROMETHEUS / "esl-shield.rules.yml").read_text()
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "esl-shield.json").read_text())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

# What the operating system and Prometheus publish of any process.
FOREIGN = {
    "up", "process_start_time_seconds", "process_open_fds", "process_max_fds", "process_cpu_seconds_total",
    "process_resident_memory_bytes",
}  # fmt: skip
OF_SCRAPING = {"job", "instance", "le"}
ALERTS = re.findall(r"^ +- alert: (\w+)\n +expr: '(.+)'$", RULES, re.MULTILINE)
PANELS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]

WATCHED = [*ALERTS, *PANELS]


def metrics_of(expression):
    """The metrics an expression names, and the labels it names, in matchers and in ``by``."""
    names = set(re.findall(r"\b(esl_shield_[a-z0-9_]+|process_[a-z_]+|up)\b(?!\s*\()", expression))
    labels = {label for group in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)\s*[=!]", group)}
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(", ")}
    return names, labels | grouped


def known(name):
    """The catalogue's metric a series is of."""
    return CATALOGUE.get(re.sub(r"_(bucket|sum|count)$", "", name)) or CATALOGUE.get(name)


@pytest.mark.parametrize(
    ("title", "expression"), WATCHED, ids=[f"{number} {title}" for number, (title, _) in enumerate(WATCHED)]
)
def test_every_metric_and_label_exists(title, expression):
    """Nothing is drawn or watched that no process publishes, or by a label it does not have."""
    names, labels = metrics_of(expression)
    assert names, title
    assert all(known(name) or name in FOREIGN for name in names), names
    published = {label for name in names if (metric := known(name)) for label in metric.labels}
    assert labels <= published | OF_SCRAPING
    for name in names & CATALOGUE.keys():
        assert (CATALOGUE[name].kind == "counter") == bool(re.search(rf"(rate|increase)\({name}\b", expression)), name


def test_an_unknown_metric_is_found_out():
    """The check above sees names and labels wherever they stand."""
    names, labels = metrics_of('sum by (le, x) (rate(esl_shield_a_total{b="c",d=~"e"}[5m])) / process_f > up')
    assert (names, labels) == ({"esl_shield_a_total", "process_f", "up"}, {"le", "x", "b", "d"})
    assert known("esl_shield_a_total") is None
    assert known("esl_shield_worker_handoff_seconds_bucket") is not None


def test_each_alert_has_a_severity_a_summary_and_a_runbook():
    """One of each, and the runbook is a section of docs/operations.md that says the four things."""
    assert len(ALERTS) >= 20
    assert len(re.findall(r"severity: (critical|warning)$", RULES, re.MULTILINE)) == len(ALERTS)
    assert len(re.findall(r"summary: '.+'$", RULES, re.MULTILINE)) == len(ALERTS)
    runbooks = re.findall(r"runbook: docs/operations.md#(\w+)$", RULES, re.MULTILINE)
    assert runbooks == [name.lower() for name, _ in ALERTS]
    sections = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^##)", OPERATIONS, re.MULTILINE | re.DOTALL))
    for name, _ in ALERTS:
        for part in ("**Means.**", "**Look.**", "**Do.**", "**Escalate**"):
            assert part in sections[name], (name, part)


def test_commands_of_the_runbook_exist():
    """Every esl-shield command in the section on alerts is one there is."""
    section = OPERATIONS[OPERATIONS.index("\n## Alerts\n") :]
    section = section[: section.index("\n## ", 4)]
    named = re.findall(r"esl-shield (?:--config \S+ )?([a-z]+)(?: ([a-z][a-z-]+))?", section)
    assert len(named) >= 10
    for command, follows in named:
        assert command in COMMANDS, command
        group = root.get_command(None, command)
        if hasattr(group, "commands"):
            assert follows in group.commands, (command, follows)
    for series in re.findall(r"esl_shield_[a-z_]+", section):
        assert known(series), series


promtool = pytest.mark.skipif(
    not shutil.which("promtool") and os.environ.get("CI") != "true",
    reason="promtool (Debian: prometheus) is not installed",
)


@promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "esl-shield.rules.yml"), ("test", "rules", "esl-shield.test.yml"),
        ("check", "config", "prometheus.yml"),
    ],
    ids=["rules", "tests", "config"],
)  # fmt: skip
def test_promtool_is_content(arguments):
    """The rules are rules, each alert fires on its series, none on a site that is well, and the sample is valid."""
    result = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAILED" not in result.stdout + result.stderr


def test_each_alert_has_a_test():
    """The tests promtool runs name every alert, and a site that is well."""
    tests = re.findall(r"^  - name: (.+)$", (PROMETHEUS / "esl-shield.test.yml").read_text(), re.MULTILINE)
    assert tests == [*(name for name, _ in ALERTS), "a site that is well"]


def test_the_dashboard_is_one_grafana_takes():
    """Ids are unique, panels do not lie on each other, each asks the data source the viewer chose."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 20
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]
