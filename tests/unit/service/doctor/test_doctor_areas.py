"""Configuration, keys, clocks, edges and processes: each check with facts that are well and that are not."""

from __future__ import annotations

import dataclasses
import http.server
import os
import socket
import threading
from pathlib import Path

import pytest
from doctor_facts import CONFIG, extension, facts, told, wrong

from esl_shield import config as configuration
from esl_shield.errors.config import ConfigError
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.device import DeviceAway
from esl_shield.errors.keys import KekExposed
from esl_shield.service.doctor import clock, edge, inbound, keys, processes, settings, webhooks
from esl_shield.service.doctor.edge import EdgeFacts
from esl_shield.service.doctor.examine import AREAS, Examination, exit_code, guess_role, reference
from esl_shield.service.doctor.files import FileFacts, look
from esl_shield.service.doctor.finding import Finding, NotAskedError, Severity
from esl_shield.service.doctor.processes import Answer, ProcessFacts
from esl_shield.service.doctor.webhooks import Webhook
from esl_shield.vault.keys.seats import Flaws

ME = 1000
SAFE = FileFacts("/etc/x", 0o100400, owner=ME)
OPEN = FileFacts("/etc/x", 0o100444, owner=ME)


def _config_facts(text=CONFIG, role="worker", file=SAFE, secrets=None):
    return settings.ConfigFacts(configuration.loads(text), role, ME, file, secrets or {})


RESOLVER = 'listen = "192.0.2.1:8090"\nallow = ["{allow}"]\nsecrets = {{ lua = "file:/a", edge = "file:/b" }}\n'
CONFIG_CASES = {
    "open file": (_config_facts(file=OPEN), "warning config.file", "others can read"),
    "writable file": (_config_facts(file=FileFacts("/x", 0o100620, ME)), "critical config.file", "others can change"),
    "open folder": (
        _config_facts(file=FileFacts("/x/y", 0o100600, ME, open_folder="/x")),
        "critical config.file",
        "in the place of",
    ),
    "open secret": (_config_facts(secrets={"k": OPEN}), "critical config.secrets", "mode 0444"),
    "no secret": (_config_facts(secrets={"k": FileFacts("/x", None)}), "critical config.secrets", "not there"),
    "another's secret": (
        _config_facts(secrets={"k": FileFacts("/x", 0o100400, ME + 1)}),
        "critical config.secrets",
        "another user",
    ),
    "secret is a folder": (
        _config_facts(secrets={"k": FileFacts("/x", 0o40700, ME, regular=False)}),
        "critical config.secrets",
        "not a file",
    ),
    "no gateways": (_config_facts(CONFIG.partition("[[gateways]]")[0]), "critical config.gateways", "no [[gateways]]"),
    "no caller id": (
        _config_facts(CONFIG + '[[gateways]]\nname = "z"\ndelivery = "edge"\n'),
        "warning config.gateways",
        "z has no caller_id",
    ),
    "no secret for the edge": (
        _config_facts('[resolver]\nsecrets = { lua = "file:/a" }\n' + CONFIG, "resolver"),
        "critical config.gateways",
        "none for edge",
    ),
    "wide allow": (
        _config_facts("[resolver]\n" + RESOLVER.format(allow="0.0.0.0/0") + CONFIG, "resolver"),
        "warning config.listens",
        "wider",
    ),
    "clear text": (
        _config_facts("[resolver]\n" + RESOLVER.format(allow="192.0.2.7") + CONFIG, "resolver"),
        "warning config.listens",
        "in clear",
    ),
}


def test_a_good_configuration_is_well():
    """A worker's, and a resolver's on loopback."""
    assert wrong(settings.CONFIG, _config_facts(secrets={"k": SAFE})) == []
    text = '[resolver]\nsecrets = { lua = "file:/a", edge = "file:/b" }\n' + CONFIG
    assert wrong(settings.CONFIG, _config_facts(text, "resolver")) == []


@pytest.mark.parametrize("name", CONFIG_CASES)
def test_what_is_wrong_with_a_configuration_is_found(name):
    """Modes, owners, gateways and listeners."""
    facts, check, words = CONFIG_CASES[name]
    assert told(wrong(settings.CONFIG, facts), f"{check}:", words)


DIRECT = CONFIG.replace('delivery = "edge"', 'delivery = "direct"\nproxy = "192.0.2.9:5060"')
QUEUED = f'<context name="carriers">{extension("all", "^.*$", "callcenter", "sales")}</context>'
SHIELDED = f'<context name="shield-inbound">{extension("all", "^.*$", "socket", "127.0.0.1:8084 async full")}</context>'
INBOUND_CASES = {
    "an edge": (CONFIG, facts(external={"context": "agents"}), ""),
    "turned away": (DIRECT, facts(), ""),
    "into a queue": (DIRECT, facts(dialplan=QUEUED), "takes calls into the context carriers"),
    "a context of its own": (DIRECT, facts(external={"context": "agents"}), "profile external takes calls into"),
    "the shield's": (DIRECT, facts(internal={"context": "shield-inbound"}, dialplan=SHIELDED), "profile internal"),
    "not asked": (DIRECT, NotAskedError("FreeSWITCH is away"), "Not asked: FreeSWITCH is away"),
}


@pytest.mark.parametrize("name", INBOUND_CASES)
def test_inbound_calls_are_masked_by_an_edge_or_kept_off(name):
    """Without an edge a warning names how calls come in; where they are turned away all is well."""
    text, switch, words = INBOUND_CASES[name]
    found = wrong(inbound.AREA, inbound.InboundFacts(configuration.loads(text), switch))
    assert found == [] if not words else told(found, "inbound.masked", words)


def _keys(role="resolver", file=SAFE, **more):
    given = {"opened": "ab" * 8, "wrapping": frozenset({"ab" * 8}), **more}
    return keys.KeyFacts(role, ME, "file:/etc/x", file, **given)


PKCS11 = "pkcs11:token=t;object=k?module-path=/m&pin-source=file:/pin"


def _in_device(**more):
    facts = _keys(**{"flaws": None if "opened" in more else Flaws(), "module": FileFacts("/m", 0o100755, 0), **more})
    return dataclasses.replace(facts, source=PKCS11)


KEY_CASES = {
    "open": (_keys(file=OPEN), "critical keys.readers", "mode 0444"),
    "another's": (_keys(file=FileFacts("/x", 0o100400, ME + 1)), "critical keys.readers", "another user"),
    "open folder": (
        _keys(file=FileFacts("/x/y", 0o100400, ME, open_folder="/x")),
        "critical keys.readers",
        "in the place of",
    ),
    "the worker's": (_keys("worker"), "critical keys.readers", "the worker's user can read"),
    "open to the worker": (
        _keys("worker", FileFacts("/x", 0o100440, ME + 1)),
        "critical keys.readers",
        "the worker's user can read",
    ),
    "beside the worker's": (
        _keys("worker", None, strays=(SAFE,)),
        "critical keys.readers",
        "the worker's user can read",
    ),
    "a stray": (_keys(strays=(OPEN,)), "critical keys.strays", "mode 0444"),
    "cannot be opened": (
        _keys(opened=KekExposed(source="file:/x", problem="its mode is 0444")),
        "critical keys.opens",
        "is not used",
    ),
    "another KEK": (_keys(wrapping=frozenset({"cd" * 8})), "critical keys.wraps", "cdcdcdcdcdcdcdcd"),
    "the PIN open to the worker": (
        keys.KeyFacts("worker", ME, PKCS11, FileFacts("/pin", 0o100400, ME)),
        "critical keys.readers",
        "can read the PIN of the KEK's device at /pin",
    ),
    "may leave its device": (
        _in_device(flaws=Flaws(weak=("it is CKA_EXTRACTABLE",))),
        "critical keys.device",
        "CKA_EXTRACTABLE",
    ),
    "brought into its device": (
        _in_device(flaws=Flaws(foreign=("it was made elsewhere",))),
        "warning keys.device",
        "made elsewhere",
    ),
    "of no use": (_in_device(flaws=Flaws(unfit=("cannot decrypt",))), "critical keys.device", "cannot decrypt"),
    "device lost since": (_in_device(flaws=DeviceAway(uri="u", problem="x")), "critical keys.device", "is away"),
    "device unopened": (_in_device(opened=DeviceAway(uri="u", problem="x")), "unknown keys.device", "not be opened"),
    "no module": (_in_device(module=FileFacts("/m", None)), "critical keys.module", "no module at /m"),
    "an open module": (_in_device(module=FileFacts("/m", 0o100775, 0)), "critical keys.module", "can change /m"),
    "a module in an open folder": (
        _in_device(module=FileFacts("/m/n", 0o100755, 0, open_folder="/m")),
        "critical keys.module",
        "in the place of",
    ),
    "no keys": (_keys(wrapping=frozenset()), "warning keys.wraps", "no tenant"),
    "database away": (_keys(wrapping=DatabaseAway(problem="x")), "unknown keys.wraps", "did not answer"),
    "not to be seen": (
        _keys("seeder", wrapping=DatabaseRefused(function="dba.keys", sqlstate="42501")),
        "info keys.wraps",
        "may not see",
    ),
    "root worker": (keys.KeyFacts("worker", 0, "", None), "unknown keys.readers", "root reads every file"),
}


def test_a_good_kek_is_well():
    """A resolver's own, and one a worker cannot read."""
    assert wrong(keys.AREA, _keys()) == []
    assert wrong(keys.AREA, _in_device()) == []
    found = wrong(keys.AREA, _keys("worker", FileFacts("/x", 0o100400, ME + 1)))
    assert [line.split(":")[0] for line in found] == ["info keys.opens", "info keys.wraps"]


@pytest.mark.parametrize("name", KEY_CASES)
def test_what_is_wrong_with_the_kek_is_found(name):
    """Its readers, its place, and whether it is the right one."""
    facts, check, words = KEY_CASES[name]
    assert told(wrong(keys.AREA, facts), f"{check}:", words)


@pytest.mark.parametrize(
    ("database", "switch", "expected"),
    [
        (0.2, -1.5, []),
        (-1.1, 0, ["warning time.database"]),
        (0, 3, ["warning time.freeswitch"]),
        (0, -20, ["critical time.freeswitch"]),
        (
            NotAskedError("away"),
            NotAskedError("not configured", Severity.INFO),
            ["unknown time.database", "info time.freeswitch"],
        ),
    ],
)
def test_clocks_may_differ_by_little(database, switch, expected):
    """Limits of 1 and 2 s; half of the resolver's skew is critical."""
    found = wrong(clock.AREA, clock.ClockFacts(database, switch, 30))
    assert [line.split(":")[0] for line in found] == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (EdgeFacts("e", "a:1", 200, 403, 0), []),
        (EdgeFacts("e", "a:1", 200, 403, None), ["info edge.strangers"]),
        (EdgeFacts("e", "a:1", 0, 0, None), ["critical edge.reached", "info edge.strangers"]),
        (EdgeFacts("e", "a:1", 404, 403, 0), ["critical edge.reached"]),
        (EdgeFacts("e", "a:1", 200, 200, 0), ["critical edge.permits"]),
        (EdgeFacts("e", "a:1", 200, 0, 0), ["critical edge.permits"]),
        (EdgeFacts("e", "a:1", 200, 403, 200), ["warning edge.strangers"]),
    ],
)
def test_an_edge_answers_refuses_and_keeps_silent(facts, expected):
    """OPTIONS, an INVITE without a permit, a stranger's OPTIONS."""
    assert [line.split(":")[0] for line in wrong(edge.AREA, (facts,))] == expected


def test_requests_to_an_edge_are_matched_and_an_invite_is_acknowledged():
    """An answer to another call is not taken; a refusal gets its ACK."""
    heard = []

    def answer(sock):
        while len(heard) < 2:
            text, caller = sock.recvfrom(65535)
            heard.append(text.decode())
            if heard[-1].startswith("INVITE"):
                own = [
                    line
                    for line in heard[-1].split("\r\n")
                    if line.lower().startswith(("via", "from", "call-id", "cseq"))
                ]
                foreign = "\r\n".join(own).replace("Call-ID: ", "Call-ID: x").replace("-", "")
                for status, headers in (
                    ("200 OK", foreign),
                    ("100 Trying", "\r\n".join(own)),
                    ("403 Forbidden", "\r\n".join(own)),
                ):
                    sock.sendto(f"SIP/2.0 {status}\r\n{headers}\r\nTo: <sip:doctor@x>;tag=9\r\n\r\n".encode(), caller)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=answer, args=(sock,), daemon=True)
        thread.start()
        assert edge.request("INVITE", "127.0.0.1", sock.getsockname()[1], "127.0.0.1") == 403
        thread.join(5)
    assert heard[1].startswith("ACK")
    assert "tag=9" in heard[1]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (ProcessFacts("worker", "a", Answer(200)), ["info processes.refusal"]),
        (ProcessFacts("worker", "a", Answer(503)), ["critical processes.health", "info processes.refusal"]),
        (ProcessFacts("resolver", "a", Answer(200), Answer(404, b"refused\n")), []),
        (ProcessFacts("resolver", "a", Answer(200), Answer(404, b"<html>")), ["critical processes.refusal"]),
        (ProcessFacts("resolver", "a", Answer(200), Answer(200, b"")), ["critical processes.refusal"]),
        (ProcessFacts("api", "a", Answer(200), Answer(401, b'{"error_id": "api.unauthorized"}')), []),
        (ProcessFacts("api", "a", Answer(200), Answer(401, b"<html>")), ["critical processes.refusal"]),
        (ProcessFacts("api", "a", Answer(200), Answer(200, b"{}")), ["critical processes.refusal"]),
        (ProcessFacts("api", "a", Answer(503), Answer(0)), ["critical processes.health", "unknown processes.refusal"]),
        (
            ProcessFacts("resolver", "a", Answer(0), Answer(0)),
            ["unknown processes.health", "unknown processes.refusal"],
        ),
    ],
)
def test_processes_are_well_and_the_resolver_refuses(facts, expected):
    """/healthz, and the answer to a request nobody signed."""
    assert [line.split(":")[0] for line in wrong(processes.AREA, facts)] == expected


def test_pages_are_asked_over_http():
    """The worker's page is a GET of /healthz."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(503)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        config = configuration.loads(f'[metrics]\nlisten = "127.0.0.1:{server.server_port}"\n' + CONFIG)
        assert processes.ask_processes(config, "worker").health.status == 503
    assert asked == ["/healthz"]


WELL = Webhook("bank", "crm", "https://crm.example/hooks?key=very-secret", True, 30.0, 0, "none")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"url": "http://127.0.0.1:8000/hooks"}, []),
        ({"url": "http://crm.example/very-secret"}, ["warning webhooks.addresses"]),
        ({"url": "https://u:very-secret@crm.example/"}, ["warning webhooks.addresses"]),
        ({"oldest_s": 1000.0, "last_problem": "timeout"}, ["warning webhooks.taken"]),
        ({"oldest_s": 1000.0, "enabled": False}, []),
        ({"dead": 3}, ["warning webhooks.taken"]),
    ],
    ids=["well", "here", "in clear", "with a password", "late", "off", "given up"],
)
def test_webhooks_are_told_in_secret_and_take_what_they_are_told(changes, expected):
    """Addresses that are in clear, events that wait for long or were given up; no finding quotes an address."""
    found = wrong(webhooks.AREA, (dataclasses.replace(WELL, **changes),))
    assert [line.split(":")[0] for line in found] == expected
    assert not told(found, "secret")


def test_files_are_looked_at_through_links_and_folders(tmp_path):
    """The mode is the target's; a folder others can write is told, one with the sticky bit is not."""
    secret = tmp_path / "open" / "secret"
    secret.parent.mkdir()
    secret.write_text("x")
    secret.chmod(0o440)
    (tmp_path / "link").symlink_to(secret)
    assert look(str(tmp_path / "link")).octal == "0440"
    assert look(str(secret)).open_folder == ""
    secret.parent.chmod(0o777)
    assert look(str(secret)).open_folder == str(secret.parent)
    secret.parent.chmod(0o1777)
    assert look(str(secret)).open_folder == ""
    assert look(str(tmp_path / "none")).mode is None
    assert not FileFacts("x", None).readable_to(os.getuid())


@pytest.mark.parametrize(
    ("severities", "code"),
    [([], 0), (["ok", "info"], 0), (["ok", "unknown"], 3), (["unknown", "warning"], 1), (["critical"], 1)],
)
def test_the_exit_code_is_the_worst_severity(severities, code):
    """Findings before what could not be asked."""
    assert exit_code([Finding("a.b", Severity(s), "x") for s in severities]) == code


@pytest.mark.parametrize(
    ("text", "role"),
    [
        (CONFIG, "worker"),
        ('[resolver]\nsecrets = { lua = "file:/a" }\n' + CONFIG, "resolver"),
        ('[database]\nurl = "postgresql+psycopg2://a@/b"\n[keys]\nkek = "file:/k"\n', "seeder"),
        ('[database]\nurl = "postgresql+psycopg2://a@/b"\n[webhooks]\nsecret = "file:/s"\n', "dispatcher"),
        ('[database]\nurl = "postgresql+psycopg2://a@/b"\n', "auditor"),
    ],
)
def test_the_role_is_guessed(text, role):
    """By what only that role's file has."""
    assert guess_role(configuration.loads(text)) == role


def test_an_area_that_is_not_configured_is_said_or_refused():
    """It is information, unless it was asked for."""
    config = configuration.loads('[database]\nurl = "postgresql+psycopg2://a@/b"\n')
    examination = Examination(config, "auditor")
    for name in ("freeswitch", "bypass", "inbound", "edge", "processes", "keys"):
        with pytest.raises(ConfigError, match=name):
            list(examination.findings([name]))
    found = {f.check: f.severity for f in examination.findings()}
    assert found["bypass.not_asked"] == found["edge.not_asked"] == "info"


def test_checks_have_ids_of_their_area_and_each_its_own():
    """The id is ``area.reason``; texts are one line; a severity is no OK."""
    ids = [check.id for area in AREAS.values() for check in area.checks]
    assert len(ids) == len(set(ids))
    for name, area in AREAS.items():
        assert area.name == name
        for check in area.checks:
            assert check.id.startswith(f"{name}.")
            assert check.severity in (Severity.INFO, Severity.WARNING, Severity.CRITICAL)
            for text in (check.asks, check.why, check.change):
                assert text.strip() == text != ""
                assert "\n" not in text


def test_the_table_of_checks_is_in_the_docs():
    """docs/doctor.md holds every check as the program has it, and no other."""
    page = (Path(__file__).parents[4] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert page.endswith(reference())
