"""Facts for the checks of `doctor`, made of snippets of FreeSWITCH's XML; all is well unless said otherwise."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from esl_shield import config as configuration
from esl_shield.service.doctor.switch import SwitchFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esl_shield.service.doctor.finding import Area

CONFIG = """
[database]
url = "postgresql+psycopg2://w@/shield"
[freeswitch]
address = "127.0.0.1:8021"
password = "file:/etc/esl-shield/event-socket.password"
workers = ["127.0.0.1:8084", "127.0.0.1:8085"]
[[gateways]]
name = "carrier-a"
delivery = "direct"
proxy = "192.0.2.10:5060"
caller_id = ["+442079460999"]
[[gateways]]
name = "edge"
delivery = "edge"
caller_id = ["+442079460999"]
"""
INTERNAL = {
    "context": "agents", "dialplan": "XML", "auth-calls": "true", "pass-callee-id": "false",
    "send-display-update": "false",
}  # fmt: skip
EXTERNAL = {
    "context": "carriers", "apply-inbound-acl": "shield_carriers", "disable-transfer": "true",
    "pass-callee-id": "false", "send-display-update": "false",
}  # fmt: skip
FILES = {
    "event_socket.conf": {"password": "0f3c81a2b4d59e67", "listen-ip": "127.0.0.1"},
    "switch.conf": {"loglevel": "info", "dump-cores": "no"},
    "xml_cdr.conf": {"log-b-leg": "false"},
    "json_cdr.conf": {
        "log-b-leg": "false",
        "url": "http://127.0.0.1:8091/cdr",
        "cred": "freeswitch:5d2b7c",
        "queue-capacity": "10000",
    },
    "curl.conf": {"validate-certs": "true"},
}
SHIELD = """
<extension name="shield"><condition field="destination_number" expression="^.*$">
<action application="sched_hangup" data="+2 NORMAL_TEMPORARY_FAILURE"/>
<action application="socket" data="127.0.0.1:8084|127.0.0.1:8085 async full"/>
<action application="respond" data="503 Service Unavailable"/></condition></extension>
"""
CARRIERS = """<context name="carriers"><extension name="nobody"><condition>
<action application="respond" data="404 Not Found"/></condition></extension></context>"""
DIRECTORY = """<domain name="agents.example.com">
<params><param name="dial-string" value="{outbound_redirect_fatal=true}${sofia_contact(*/${dialed_user})}"/></params>
<variables><variable name="sip-force-contact" value="NDLB-connectile-dysfunction-2.0"/></variables>
<user id="1001"><params><param name="password" value="5b8e0d2c7f"/></params>
<variables><variable name="user_context" value="agents"/></variables></user></domain>"""
MODULES = frozenset({
    "mod_sofia", "mod_event_socket", "mod_commands", "mod_dptools", "mod_dialplan_xml", "mod_curl", "mod_lua",
    "mod_xml_cdr", "mod_json_cdr",
})  # fmt: skip


def agents(*extensions: str) -> str:
    """The context of agents: these extensions, then the shield; and a carriers' context that goes nowhere."""
    return f'<context name="agents">{"".join(extensions)}{SHIELD}</context>{CARRIERS}'


def extension(name: str, expression: str, application: str, data: str, *, field: str = "destination_number") -> str:
    """One extension with one condition and one action."""
    return (
        f'<extension name="{name}"><condition field="{field}" expression="{expression}">'
        f'<action application="{application}" data="{data}"/></condition></extension>'
    )


def settings(values: dict[str, str], tag: str = "settings") -> str:
    """Params."""
    return f"<{tag}>" + "".join(f'<param name="{k}" value="{v}"/>' for k, v in values.items()) + f"</{tag}>"


def facts(
    *, dialplan: str = "", directory: str = DIRECTORY, internal: dict[str, str] | None = None,
    external: dict[str, str] | None = None, files: dict[str, dict[str, str]] | None = None, more: str = "",
    config: str = CONFIG, edge_only: bool = False, **changes: Any,
) -> SwitchFacts:  # fmt: skip
    """FreeSWITCH as we ship it, but for what is given; ``internal``, ``external`` and ``files`` add to its settings."""
    made = {name: {**FILES.get(name, {}), **(files or {}).get(name, {})} for name in {*FILES, *(files or {})}}
    conf = "".join(f'<configuration name="{name}">{settings(values)}</configuration>' for name, values in made.items())
    gateways = (
        '<gateways><gateway name="carrier-a"><param name="proxy" value="192.0.2.10:5060"/></gateway>'
        '<gateway name="edge"><param name="proxy" value="127.0.0.1:5090"/></gateway></gateways>'
    )
    conf += (
        '<configuration name="sofia.conf"><profiles><profile name="internal">'
        f'{settings({**INTERNAL, **(internal or {})})}</profile><profile name="external">{gateways}'
        f"{settings({**EXTERNAL, **(external or {})})}</profile></profiles></configuration>"
    )
    text = config.replace('delivery = "direct"', 'delivery = "edge"') if edge_only else config
    made_facts = SwitchFacts(
        config=configuration.loads(text), version="1.11.1-release", modules=MODULES, sessions_per_second=200,
        max_sessions=10000, debug_level=0,
        variables={"disable_system_api_commands": "true", "disable_system_app_commands": "true", "domain": "x"},
        configuration=_section(conf + more), dialplan=_section(dialplan or agents()), directory=_section(directory),
        gateway_states={"carrier-a": "NOREG", "edge": "NOREG"}, profiles_running=frozenset({"internal", "external"}),
        clock_offset_s=0.0, written=(), connected=(),
    )  # fmt: skip
    return dataclasses.replace(made_facts, **changes)


def wrong(area: Area[Any], gathered: Any) -> list[str]:
    """What an area finds that is not well: ``severity check: sentence``."""
    found = area.run(lambda: gathered, required=True)
    return [f"{f.severity} {f.check}: {f.sentence}" for f in found if f.severity != "ok"]


def told(lines: Iterable[str], *words: str) -> bool:
    """Whether one line has all the words."""
    return any(all(word in line for word in words) for line in lines)


def _section(text: str) -> ET.Element:
    return ET.fromstring(f"<section>{text}</section>")  # noqa: S314 - our own text
