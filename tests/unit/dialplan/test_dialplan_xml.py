"""The configuration a user copies says what the documentation promises of it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

CONF = Path(__file__).parents[3] / "dialplan" / "conf"
FILES = sorted(CONF.rglob("*.xml"))
TOKEN = "70001234567893"
# Set by FreeSWITCH itself before it reads its configuration.
BUILT_IN = {"local_ip_v4", "script_dir"}


def _parse(name):
    return ET.fromstring((CONF / name).read_bytes())  # noqa: S314 - our own files


def _settings(name):
    return {p.get("name"): p.get("value") for p in _parse(name).find(".//settings").iter("param")}


def _variables():
    sets = (element.get("data") for element in _parse("esl_shield_vars.xml").iter("X-PRE-PROCESS"))
    return dict(data.split("=", 1) for data in sets)


def _context(name):
    (context,) = [c for c in _parse("dialplan/agents.xml").iter("context") if c.get("name") == name]
    return {extension.get("name"): extension for extension in context}


def _agents():
    return _context("agents")


def _matches(extension, dialled):
    condition = extension.findall("condition")[-1]
    assert condition.get("field") == "destination_number"
    return re.fullmatch(condition.get("expression"), dialled)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_files_are_well_formed_and_use_defined_variables(path):
    """Each file is XML as FreeSWITCH reads it, and every $${variable} is set by us or by FreeSWITCH."""
    text = path.read_text(encoding="utf-8")
    ET.fromstring(text)  # noqa: S314 - our own files
    for line in text.splitlines():
        # FreeSWITCH drops the rest of such a line.
        assert "X-PRE-PROCESS" not in line or re.fullmatch(r"\s*<X-PRE-PROCESS [^>]*/>", line)
    assert set(re.findall(r"\$\$\{(\w+)\}", text)) <= _variables().keys() | BUILT_IN


def test_extensions_stand_in_the_order_that_keeps_emergencies_free():
    """Emergency numbers first, colleagues next, feature codes, then the shield, and strangers refused last."""
    features = ["conference", "pickup", "eavesdrop"]
    assert list(_agents()) == ["emergency", "internal", *features, "shield", "strangers"]


@pytest.mark.parametrize("number", ["110", "112", "119", "120", "122", "911", "999", "000"])
def test_emergency_numbers_never_reach_the_shield(number):
    """They match the first extension, whole, and it bridges them itself."""
    emergency = _agents()["emergency"]
    assert _matches(emergency, number)
    assert not _matches(emergency, number + "0")
    assert [a.get("application") for a in emergency.iter("action")] == ["set", "bridge"]


def test_tokens_reach_the_shield_only():
    """No extension before the shield matches a token or a long number."""
    extensions = _agents()
    for dialled in (TOKEN, "13800138042", "", "abc", "1" * 8, "*3" + TOKEN, "*8", "*99"):
        matching = [name for name, extension in extensions.items() if _matches(extension, dialled)]
        assert matching == ["shield", "strangers"]


TRANSFERS = {"110": "emergency", "1002": "internal", "*31002": "conference", TOKEN: "shield", "13800138042": "shield"}


@pytest.mark.parametrize(
    ("dialled", "name"), [*TRANSFERS.items(), *dict.fromkeys(["abc", "*81002", "*91002", ""], "nowhere").items()]
)
def test_a_transferred_customer_reaches_colleagues_conferences_and_the_shield(dialled, name):
    """The first extension that matches; feature codes of agents are not for customers."""
    matching = [found for found, extension in _context("shield_transfers").items() if _matches(extension, dialled)]
    assert matching[0] == name


def test_no_way_leads_from_a_transfer_to_a_carrier_but_the_worker_and_emergencies():
    """Bridges go to colleagues' phones and the emergency gateway; nothing follows a phone that forwards."""
    for context in ("agents", "shield_transfers"):
        bridges = {
            name: action.get("data")
            for name, extension in _context(context).items()
            for action in extension.iter("action")
            if action.get("application") in ("bridge", "transfer", "deflect", "redirect", "execute_extension", "lua")
        }
        colleague = "[outbound_redirect_fatal=true]user/$1@$${domain}"
        assert bridges == {"emergency": "sofia/gateway/emergency/$1", "internal": colleague}


def test_only_a_leg_of_edge_delivery_is_handed_over_after_a_transfer():
    """shield_domain stands on these alone: a leg of direct delivery would show the worker its number."""
    first = _context("shield_transfers")["shield"].find("condition")
    assert (first.get("field"), first.get("expression")) == ("${shield_domain}", "^.+$")
    script = (CONF.parent / "scripts" / "esl_shield.lua").read_text(encoding="utf-8")
    assert "shield_domain" not in script
    assert "shield_side=customer,force_transfer_context=shield_transfers" in script


def test_listening_is_for_supervisors_of_the_domain():
    """The directory says who is one, both conditions and eavesdrop itself compare the domain, no digit lets it talk."""
    eavesdrop = _agents()["eavesdrop"]
    first, second, _ = eavesdrop.findall("condition")
    assert (first.get("field"), first.get("expression")) == ("${shield_supervisor}", "^true$")
    assert (second.get("field"), second.get("expression")) == ("${domain_name}", "^$${domain}$")
    data = [action.get("data") for action in eavesdrop.iter("action")]
    assert data[1:3] == ["eavesdrop_require_group=${domain_name}", "eavesdrop_enable_dtmf=false"]


def test_a_leg_without_a_digest_never_reaches_a_worker():
    """The shield's first condition asks for the digest; who has none is refused in the dialplan."""
    shield, strangers = _agents()["shield"], _agents()["strangers"]
    first = shield.find("condition")
    assert (first.get("field"), first.get("expression"), len(first)) == ("${sip_authorized}", "^true$", 0)
    assert [a.get("data") for a in strangers.iter("action")] == ["403 Forbidden"]


def test_the_shield_is_armed_before_the_call_is_handed_over():
    """The last three actions, in this order: the time limit, the hand-off, the refusal."""
    shield = _agents()["shield"]
    assert [(a.get("application"), a.get("data")) for a in shield.iter("action")][-3:] == [
        ("sched_hangup", "+2 NORMAL_TEMPORARY_FAILURE"),
        ("socket", "$${shield_workers} async full"),
        ("respond", "503 Service Unavailable"),
    ]


def test_every_worker_is_named_with_its_port():
    """Without a port FreeSWITCH would connect to another program's."""
    for worker in _variables()["shield_workers"].split("|"):
        assert re.fullmatch(r"[\d.]+:\d+", worker)


NEVER_SHOWN = {
    "manage-presence": "false", "pass-callee-id": "false", "send-display-update": "false", "track-calls": "false",
    "sip-trace": "no", "sip-capture": "no", "debug": "0", "accept-blind-auth": "false", "accept-blind-reg": "false",
}  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("internal", NEVER_SHOWN | {"auth-calls": "true", "context": "agents", "challenge-realm": "$${domain}"}),
        ("external", NEVER_SHOWN | {"disable-transfer": "true", "context": "carriers"}),
    ],
)
def test_profiles_neither_show_nor_trust(profile, expected):
    """Agents authenticate by digest, and no profile passes on what the other side says of itself."""
    assert expected.items() <= _settings(f"sip_profiles/{profile}.xml").items()


def test_no_address_list_stands_for_a_digest():
    """apply-inbound-acl on the agents' profile would mark calls as authorised without one."""
    assert "apply-inbound-acl" not in _settings("sip_profiles/internal.xml")
    assert _settings("sip_profiles/external.xml")["apply-inbound-acl"] == "shield_carriers"


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [("xml_cdr", "log-b-leg", "false"), ("json_cdr", "log-b-leg", "false"), ("cdr_csv", "legs", "a"),
     ("cdr_sqlite", "legs", "a")],
)  # fmt: skip
def test_no_cdr_module_writes_the_customers_leg(module, name, value):
    """The b-leg is the one that knows the number."""
    assert _settings(f"autoload_configs/{module}.conf.xml")[name] == value


def test_the_core_logs_no_dial_string_and_dumps_no_memory():
    """debug1 prints dial string variables, a core file holds everything."""
    settings = _settings("autoload_configs/switch.conf.xml")
    assert settings["loglevel"] in ("info", "notice", "warning", "err")
    assert settings["dump-cores"] == "no"
    # 100,000 calls an hour are 27.8 calls a second of two legs each.
    assert int(settings["sessions-per-second"]) > 56
    assert _variables()["disable_system_api_commands"] == _variables()["disable_system_app_commands"] == "true"


def test_the_event_socket_is_for_this_machine():
    """It listens on loopback, behind a list, without the password everybody knows."""
    settings = _settings("autoload_configs/event_socket.conf.xml")
    assert settings["listen-ip"] == "127.0.0.1"
    assert settings["apply-inbound-acl"] == "loopback.auto"
    assert settings["password"].startswith("CHANGE-ME")


def test_the_wallboard_may_see_no_channel():
    """Every channel event of a b-leg holds the number, so its login lists none of them; and it is no phone."""
    (wallboard,) = [u for u in _parse("directory/agents.xml").iter("user") if u.get("id") == "wallboard"]
    params = {p.get("name"): p.get("value") for p in wallboard.iter("param")}
    assert not re.search("CHANNEL|ALL|CUSTOM|API|PRIVATE|BACKGROUND", params["esl-allowed-events"])
    assert params["esl-allowed-api"] == "status"
    assert params["esl-allowed-log"] == "false"
    assert "password" not in params
    assert params["allow-empty-password"] == "false"


def test_every_user_has_a_password_of_some_kind():
    """A user without one would be let in without a digest (sofia_reg.c: allow-empty-password is true by default)."""
    for user in _parse("directory/agents.xml").iter("user"):
        params = {p.get("name"): p.get("value") for p in user.iter("param")}
        assert params.get("password", "").startswith("CHANGE-ME") or params.get("allow-empty-password") == "false"


def test_direct_gateways_go_where_the_request_uri_points():
    """Each gateway's proxy and realm are the same variable, and all of them are in one profile."""
    gateways = [g for name in ("carriers", "edge") for g in _parse(f"sip_profiles/external/{name}.xml").iter("gateway")]
    assert {g.get("name") for g in gateways} == {"carrier-a", "carrier-b", "emergency", "edge"}
    for gateway in gateways:
        params = {p.get("name"): p.get("value") for p in gateway.iter("param")}
        assert params["proxy"] == params["realm"]


def test_the_readme_names_every_file():
    """A user is told where each file goes."""
    text = (CONF.parent / "README.md").read_text(encoding="utf-8")
    for path in FILES:
        assert path.relative_to(CONF).as_posix() in text
