"""FreeSWITCH's settings, each as it must be and as it must not."""

from __future__ import annotations

import pytest
from doctor_facts import CONFIG, DIRECTORY, MODULES, facts, told, wrong

from esl_shield.service.doctor.switch import FileMode, is_true
from esl_shield.service.doctor.switch_checks import AREA


def _user(*params: str) -> str:
    inner = "".join(f'<param name="{name}" value="{value}"/>' for name, value in (p.split("=", 1) for p in params))
    user = f'<user id="7"><params>{inner}</params></user>'
    return f'<domain name="x"><groups><group name="g"><users>{user}</users></group></groups></domain>'


BAD = {
    "old": ({"version": "1.8.7"}, "warning freeswitch.version", "1.8.7"),
    "no sofia": ({"modules": MODULES - {"mod_sofia"}}, "critical freeswitch.modules", "mod_sofia"),
    "no curl": ({"modules": MODULES - {"mod_curl"}}, "critical freeswitch.modules", "mod_curl"),
    "xml_rpc": ({"modules": MODULES | {"mod_xml_rpc"}}, "critical freeswitch.doors", "mod_xml_rpc"),
    "a broker": ({"modules": MODULES | {"mod_amqp"}, "edge_only": True}, "warning freeswitch.doors", "mod_amqp"),
    "profile down": ({"profiles_running": frozenset({"internal"})}, "warning freeswitch.profiles", "external"),
    "stock rate": ({"sessions_per_second": 30}, "warning freeswitch.rate", "30"),
    "rate not told": ({"sessions_per_second": None}, "unknown freeswitch.rate", "sessions per second"),
    "few sessions": ({"max_sessions": 1000}, "warning freeswitch.sessions", "1000"),
    "b-leg by default": (
        {"files": {"xml_cdr.conf": {"log-b-leg": "true"}}},
        "critical freeswitch.cdr_legs",
        "mod_xml_cdr",
    ),
    "b-leg json": ({"files": {"json_cdr.conf": {"log-b-leg": "yes"}}}, "critical freeswitch.cdr_legs", "mod_json_cdr"),
    "b-leg, an edge": (
        {"files": {"xml_cdr.conf": {"log-b-leg": "1"}}, "edge_only": True},
        "warning freeswitch.cdr_legs",
        "mod_xml_cdr",
    ),
    "both legs csv": (
        {"files": {"cdr_csv.conf": {"legs": "ab"}}, "modules": MODULES | {"mod_cdr_csv"}},
        "critical freeswitch.cdr_legs",
        "mod_cdr_csv",
    ),
    "another CDR": ({"modules": MODULES | {"mod_odbc_cdr"}}, "warning freeswitch.cdr_legs", "mod_odbc_cdr"),
    "no records": ({"modules": MODULES - {"mod_json_cdr"}}, "warning freeswitch.call_records", "not loaded"),
    "records nowhere": ({"files": {"json_cdr.conf": {"url": ""}}}, "warning freeswitch.call_records", "nowhere"),
    "records unsigned": ({"files": {"json_cdr.conf": {"cred": ""}}}, "warning freeswitch.call_records", "a cred"),
    "records in the way": (
        {"files": {"json_cdr.conf": {"queue-capacity": ""}}},
        "warning freeswitch.call_records",
        "queue-capacity",
    ),
    "records forgotten": (
        {"files": {"json_cdr.conf": {"log-errors-to-disk": "false"}}},
        "warning freeswitch.call_records",
        "forgets",
    ),
    "debug": ({"files": {"switch.conf": {"loglevel": "debug"}}}, "warning freeswitch.log_level", "debug"),
    "debug5": ({"files": {"switch.conf": {"loglevel": "debug5"}}}, "critical freeswitch.log_level", "debug5"),
    "level 7": ({"files": {"switch.conf": {"loglevel": "7"}}}, "warning freeswitch.log_level", "7"),
    "debug_level": ({"debug_level": 3}, "critical freeswitch.log_level", "debug_level is 3"),
    "trace": ({"internal": {"sip-trace": "yes"}}, "critical freeswitch.traces", "sip-trace"),
    "capture": ({"external": {"sip-capture": "yes"}, "edge_only": True}, "warning freeswitch.traces", "sip-capture"),
    "presence": ({"internal": {"manage-presence": "true"}}, "warning freeswitch.displays", "manage-presence"),
    "passive presence": (
        {"internal": {"manage-presence": "passive"}},
        "warning freeswitch.displays",
        "manage-presence",
    ),
    "callee": ({"internal": {"pass-callee-id": "true"}}, "warning freeswitch.displays", "pass-callee-id"),
    "display": ({"external": {"send-display-update": "true"}}, "warning freeswitch.displays", "external"),
    "calls kept": ({"internal": {"track-calls": "true"}}, "warning freeswitch.displays", "track-calls"),
    "refer": ({"external": {"disable-transfer": "false"}}, "warning freeswitch.transfers", "external"),
    "blind": ({"internal": {"accept-blind-auth": "true"}}, "critical freeswitch.digest", "any password"),
    "no digest": ({"internal": {"auth-calls": "false"}}, "critical freeswitch.digest", "without a digest"),
    "inbound from everybody": (
        {"internal": {"context": "shield-inbound", "auth-calls": "false"}},
        "critical freeswitch.digest",
        "is believed",
    ),
    "address for digest": (
        {"internal": {"apply-inbound-acl": "lan"}},
        "critical freeswitch.digest",
        "apply-inbound-acl",
    ),
    "proxy for digest": ({"internal": {"apply-proxy-acl": "lan"}}, "critical freeswitch.digest", "apply-proxy-acl"),
    "a second name": (
        {"directory": _user("password=x").replace('id="7"', 'id="li.wei" number-alias="7"')},
        "warning freeswitch.agents",
        "li.wei@x has a number-alias",
    ),
    "a capital": (
        {"directory": _user("password=x").replace('id="7"', 'id="Li.wei"')},
        "warning freeswitch.agents",
        "capital letters",
    ),
    "no password": ({"directory": _user("x=y")}, "critical freeswitch.passwords", "7@x has no password"),
    "example's password": ({"directory": _user("password=CHANGE-ME-7")}, "critical freeswitch.passwords", "example's"),
    "ClueCon": (
        {"files": {"event_socket.conf": {"password": "ClueCon"}}},
        "critical freeswitch.event_socket",
        "everybody knows",
    ),
    "example's ESL": (
        {"files": {"event_socket.conf": {"password": "CHANGE-ME-EVENT-SOCKET"}}},
        "critical freeswitch.event_socket",
        "everybody knows",
    ),
    "ESL for all": (
        {"files": {"event_socket.conf": {"listen-ip": "::", "apply-inbound-acl": "any_v4.auto"}}},
        "critical freeswitch.event_socket",
        "any_v4.auto",
    ),
    "ESL for a wide list": (
        {
            "files": {"event_socket.conf": {"listen-ip": "198.51.100.1", "apply-inbound-acl": "wide"}},
            "more": '<configuration name="acl.conf"><list name="wide" default="deny">'
            '<node type="allow" cidr="0.0.0.0/0"/></list></configuration>',
        },
        "critical freeswitch.event_socket",
        "wide",
    ),
    "all events": (
        {"directory": _user("password=p", "esl-password=q", "esl-allowed-events=ALL", "esl-allowed-api=status")},
        "critical freeswitch.listeners",
        "every event",
    ),
    "channel events": (
        {
            "directory": _user(
                "password=p", "esl-password=q", "esl-allowed-events=HEARTBEAT,CHANNEL_CREATE", "esl-allowed-api=status"
            )
        },
        "critical freeswitch.listeners",
        "events of calls",
    ),
    "every command": (
        {"directory": _user("password=p", "esl-password=q", "esl-allowed-events=HEARTBEAT")},
        "critical freeswitch.listeners",
        "every command",
    ),
    "shell": (
        {"variables": {"disable_system_app_commands": "true"}},
        "warning freeswitch.system",
        "disable_system_api_commands",
    ),
    "gateway missing": (
        {"config": CONFIG + '[[gateways]]\nname = "x"\ndelivery = "edge"\n'},
        "critical freeswitch.gateways",
        "no gateway x",
    ),
    "gateway not running": (
        {"gateway_states": {"edge": "NOREG"}},
        "critical freeswitch.gateways",
        "carrier-a is configured and not running",
    ),
    "gateway failed": (
        {"gateway_states": {"edge": "FAIL_WAIT", "carrier-a": "REGED"}},
        "critical freeswitch.gateways",
        "edge is FAIL_WAIT",
    ),
    "other proxy": (
        {"config": CONFIG.replace("192.0.2.10", "192.0.2.11")},
        "warning freeswitch.gateways",
        "192.0.2.11",
    ),
    "core dumps": ({"files": {"switch.conf": {"dump-cores": "yes"}}}, "warning freeswitch.core_dumps", "memory"),
    "certificates": (
        {"files": {"curl.conf": {"validate-certs": "false"}}},
        "warning freeswitch.certificates",
        "certificate",
    ),
    "open log": (
        {"written": (FileMode("/var/log/freeswitch/freeswitch.log", 0o100644),)},
        "warning freeswitch.files",
        "freeswitch.log",
    ),
}


def test_what_we_ship_is_well():
    """Nothing is wrong with the facts of a FreeSWITCH set up as we ship it, with direct delivery or an edge alone."""
    assert wrong(AREA, facts()) == []
    assert wrong(AREA, facts(edge_only=True, modules=MODULES - {"mod_curl", "mod_lua"})) == []


@pytest.mark.parametrize("name", BAD)
def test_what_must_not_be_is_found(name):
    """Each wrong setting is one finding of its check, with its severity, and nothing else is said."""
    changes, check, words = BAD[name]
    found = wrong(AREA, facts(**changes))
    assert told(found, f"{check}:", words), found
    assert {line.split(":")[0].split(" ")[1] for line in found} == {check.split(" ")[1]}


def test_carriers_profile_without_a_list_lets_strangers_in():
    """A profile that faces carriers takes calls from listed addresses only."""
    gathered = facts()
    for profile in gathered.configuration.iter("profile"):
        for param in list(profile.iter("param")):
            if param.get("name") == "apply-inbound-acl":
                param.set("name", "nothing")
    assert told(
        wrong(AREA, gathered), "warning freeswitch.digest", "external faces carriers and takes calls from everybody"
    )


def test_what_is_absent_has_freeswitchs_default():
    """pass-callee-id and send-display-update are on, log-b-leg is true, the password is ClueCon."""
    gathered = facts()
    for param in gathered.configuration.iter("param"):
        param.set(
            "name",
            {"pass-callee-id": "a", "send-display-update": "b", "log-b-leg": "c", "password": "d"}.get(
                param.get("name"), param.get("name")
            ),
        )
    found = wrong(AREA, gathered)
    for words in ("pass-callee-id", "send-display-update", "mod_xml_cdr", "mod_json_cdr", "everybody knows"):
        assert told(found, words), words


def test_no_password_is_in_a_finding_or_in_the_facts_repr():
    """What is read of the directory and of event_socket.conf is never shown."""
    gathered = facts(directory=DIRECTORY + _user("esl-password=hush-hush"))
    said = "".join(wrong(AREA, gathered)) + repr(gathered)
    for secret in ("0f3c81a2b4d59e67", "5b8e0d2c7f", "hush-hush"):
        assert secret not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [("yes", True), ("TRUE", True), ("1", True), ("0", False), ("-1", True), ("no", False), ("", False)],
)
def test_truth_is_freeswitchs(text, expected):
    """The words of switch_true."""
    assert is_true(text) is expected
