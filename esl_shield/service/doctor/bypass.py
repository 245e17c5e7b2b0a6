"""Whether any call reaches a carrier except through the shield: what of each way out of the dialplan is a hole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from esl_shield.service.doctor.dialplan import AGAIN, UNBOUND, Action, legs, read_dialplan, shown
from esl_shield.service.doctor.finding import Area, Check, Problem, Severity
from esl_shield.service.doctor.switch import SwitchFacts, is_true, params
from esl_shield.service.doctor.switch_access import directory_users
from esl_shield.service.doctor.walk import Exit, Walker

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Iterator

OUR_SCRIPT = "esl_shield.lua"
_C, _W, _I = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_VARIABLE = re.compile(r"user_context|force_transfer_context|transfer_context")


def exits(facts: SwitchFacts) -> Iterator[Exit]:
    """Every way out of this FreeSWITCH's dialplan."""
    walker = Walker(read_dialplan(facts.dialplan), facts.variables, _menus(facts.file("ivr.conf")))
    yield from walker.walk(entries(facts), _configured(facts))


def entries(facts: SwitchFacts) -> list[tuple[str, str]]:
    """Where calls come in: (context, who comes in there)."""
    found = [(settings.get("context", "default"), f"profile {name}") for name, settings in facts.profiles.items()]
    found += [(p["context"], f"gateway {name}") for name, (_, p) in facts.gateways.items() if p.get("context")]
    for tag in ("domain", "group", "user"):
        for owner in facts.directory.iter(tag):
            who = f"{tag} {owner.get('name') or owner.get('id')}"
            for variable in owner.findall("variables/variable"):
                if _VARIABLE.fullmatch(variable.get("name", "")):
                    found.append((variable.get("value", ""), who))
    if any(is_true(settings.get("manual-redirect")) for settings in facts.profiles.values()):
        found.append(("redirected", "a phone's 302"))
    return list({context: (context, who) for context, who in reversed(found)}.values())[::-1]


def _menus(ivr: ET.Element | None) -> dict[str, list[Action]]:
    menus: dict[str, list[Action]] = {}
    for menu in () if ivr is None else ivr.iter("menu"):
        actions = menus.setdefault(menu.get("name", ""), [])
        for entry in menu.findall("entry"):
            name, _, data = entry.get("param", "").partition(" ")
            if entry.get("action") == "menu-exec-app":
                actions.append(Action(name, data, UNBOUND))
            elif entry.get("action") == "menu-sub":
                actions.append(Action("ivr", entry.get("param", "")))
    return menus


def _configured(facts: SwitchFacts) -> Iterator[tuple[Action, str]]:
    """Applications that stand in configurations: keys of a conference, agents of a queue, members of a fifo."""
    for control in _iter(facts, "conference.conf", "control"):
        name, _, data = control.get("data", "").partition(" ")
        if control.get("action") == "execute_application":
            yield Action(name, data), "a key in a conference"
        elif control.get("action") == "transfer":
            yield Action("transfer", control.get("data", "")), "a key in a conference"
    for agent in _iter(facts, "callcenter.conf", "agent"):
        yield Action("bridge", agent.get("contact", "")), f"callcenter agent {agent.get('name', '')}"
    for member in _iter(facts, "fifo.conf", "member"):
        yield Action("bridge", (member.text or "").strip()), "a member of a fifo"


def _iter(facts: SwitchFacts, name: str, tag: str) -> Iterator[ET.Element]:
    file = facts.file(name)
    return iter(()) if file is None else file.iter(tag)


def _carriers(facts: SwitchFacts) -> Iterator[Problem]:
    edges = {gateway.name for gateway in facts.config.gateways if gateway.delivery == "edge"}
    for way in _once(facts, "gateway", "uri", "line", "away"):
        if way.kind == "gateway" and way.target in edges:
            yield _hole(way, f"dials the edge {way.target} without a permit, which it refuses", "Remove it.", _I)
        elif way.kind == "gateway" and way.short:
            yield _hole(
                way,
                f"dials short numbers at {way.target} past the shield",
                "Keep it if these are emergency or service numbers.",
                _I,
            )
        elif way.fixed:
            yield _hole(way, "dials one fixed number past the shield", "Keep it if nobody minds who answers there.", _I)
        elif way.kind == "gateway":
            yield _hole(way, f"dials what it is told at the gateway {shown(way.target)}", _THROUGH)
        elif way.kind == "line":
            yield _hole(way, f"dials out of a telephone line ({way.target})", _THROUGH)
        elif way.kind == "uri":
            yield _hole(way, "dials a SIP address past the shield", "Remove it, or dial user/ID@DOMAIN.")
        else:
            yield _hole(
                way,
                "tells the phone to call elsewhere itself",
                "Remove it, or keep phones off the carriers' network.",
                _W,
            )


_THROUGH = (
    "Remove it, or send it through the shield: sched_hangup, socket, respond as in dialplan/conf/dialplan/agents.xml."
)


def _api(facts: SwitchFacts) -> Iterator[Problem]:
    for way in _once(facts, "api"):
        yield _hole(way, "runs a command that can place or move calls")


def _programs(facts: SwitchFacts) -> Iterator[Problem]:
    for way in _once(facts, "program"):
        if way.target.split()[:2] != ["lua", OUR_SCRIPT]:
            yield _hole(way, "runs a program doctor cannot read")


def _sockets(facts: SwitchFacts) -> Iterator[Problem]:
    wanted = facts.config.freeswitch.workers if facts.config.freeswitch else ()
    workers = {str(address) for address in wanted or (facts.config.esl.listen,)}
    for way in _once(facts, "socket"):
        hosts = set(way.target.split(" ")[0].split("|"))
        strange = sorted(hosts - workers)
        if strange:
            yield _hole(way, f"hands calls to {', '.join(map(shown, strange))}, which is none of [freeswitch] workers")


def _unseen(facts: SwitchFacts) -> Iterator[Problem]:
    for name in read_dialplan(facts.dialplan):
        if name.endswith(AGAIN):
            first = name.removesuffix(AGAIN)
            yield Problem(
                f"there is a second context {first}, which FreeSWITCH never uses", "Put its extensions into the first."
            )
    for way in _once(facts, "unseen", "unknown", "dialplan", "context"):
        said = {
            "unseen": "dials what stands in a variable or an endpoint doctor does not know",
            "unknown": f"uses {shown(way.target)}, an application doctor does not know",
            "dialplan": f"goes on in the dialplan {shown(way.target)}, which doctor cannot read",
            "context": "goes on in a context that stands in a variable",
        }
        yield _hole(way, said[way.kind])


def _once(facts: SwitchFacts, *kinds: str) -> Iterator[Exit]:
    seen = set()
    for way in exits(facts):
        key = (way.kind, way.path[-1], way.what)
        if way.kind in kinds and key not in seen:
            seen.add(key)
            yield way


def _hole(way: Exit, said: str, change: str = "", severity: Severity | None = None) -> Problem:
    if not way.reachable:
        severity = _I
    return Problem(f"{' -> '.join(way.path)} -> {way.what}: {said}", change, severity)


def _shielded(facts: SwitchFacts) -> Iterator[Problem]:
    if not any(way.kind == "socket" and way.reachable for way in exits(facts)):
        yield Problem("no context that calls come in to has a socket to a worker: nothing is shielded")


def _dial_strings(facts: SwitchFacts) -> Iterator[Problem]:
    for domain, user, settings, *_ in directory_users(facts.directory):
        text = settings.get("dial-string", "")
        for leg in legs(text):
            if leg.kind in ("gateway", "uri", "line"):
                yield Problem(
                    f"a call to {user}@{domain} goes to {shown(leg.shown)}",
                    f"{user}@{domain}: a dial-string of sofia_contact.",
                )


def _redirects(facts: SwitchFacts) -> Iterator[Problem]:
    told = set()
    for domain, user, settings, *_ in directory_users(facts.directory):
        text = settings.get("dial-string", "")
        if "outbound_redirect_fatal=true" in text or not _can_register(settings):
            continue
        if (domain, text) not in told:
            told.add((domain, text))
            yield Problem(
                f"a phone of {domain}, such as {user}'s, may answer a colleague's call with 302 and so have FreeSWITCH "
                "call any SIP address",
                f"Directory of {domain}: begin dial-string with {{outbound_redirect_fatal=true,presence_id=...",
            )


def _contacts(facts: SwitchFacts) -> Iterator[Problem]:
    told = set()
    for domain, user, settings, variables, _ in directory_users(facts.directory):
        forced = variables.get("sip-force-contact", "").startswith("NDLB-connectile-dysfunction")
        if not forced and _can_register(settings) and domain not in told:
            told.add(domain)
            yield Problem(
                f"a phone of {domain}, such as {user}'s, may register any SIP address as its Contact and so have "
                "FreeSWITCH call it",
            )


def _can_register(settings: dict[str, str]) -> bool:
    return bool(settings.get("password") or settings.get("a1-hash")) or is_true(
        settings.get("allow-empty-password"), default=True
    )


def _dynamic(facts: SwitchFacts) -> Iterator[Problem]:
    for module, file in (("mod_xml_curl", "xml_curl.conf"), ("mod_lua", "lua.conf"), ("mod_python3", "python3.conf")):
        configuration = facts.file(file)
        if module not in facts.modules or configuration is None:
            continue
        bound = {p.get("bindings", "") for p in configuration.iter("param") if p.get("name") == "gateway-url"}
        bound |= {params(configuration.find("settings")).get("xml-handler-bindings", "")}
        if any(re.search("dialplan|directory|configuration", text) for text in bound):
            yield Problem(
                f"{module} makes dialplan, directory or configuration for each call; doctor saw only what is in files"
            )
    for name, settings in facts.profiles.items():
        if not re.fullmatch(r"(?i)XML(,\s*XML)*", settings.get("dialplan", "XML")):
            yield Problem(f"profile {name} takes calls into a dialplan other than XML, which doctor cannot read")


AREA = Area[SwitchFacts](
    "bypass",
    "FreeSWITCH's dialplan and directory, over `[freeswitch]`",
    (
        Check("bypass.shielded", _C, "Calls that come in reach a worker",
              "A dialplan without the shield's socket shields nothing.",
              "Take dialplan/conf/dialplan/agents.xml.", _shielded),
        Check("bypass.carriers", _C, "No extension, context or feature code dials out except through the shield",
              "Who finds such a number to dial calls customers plainly, past caps, records and audit.",
              _THROUGH, _carriers),
        Check("bypass.redirects", _C, "No phone can have FreeSWITCH call elsewhere by a 302",
              "FreeSWITCH follows a redirection to any SIP address by itself, past the dialplan.",
              "dial-string: {outbound_redirect_fatal=true,...}", _redirects),
        Check("bypass.contacts", _C, "No phone can register another's address",
              "FreeSWITCH sends a call for a user to the Contact that user's phone registered, also one at a carrier.",
              'Directory, <domain>: <variable name="sip-force-contact" value="NDLB-connectile-dysfunction-2.0"/>',
              _contacts),
        Check("bypass.dial_strings", _C, "Users of the directory are phones, not carriers",
              "A dial-string to a gateway makes a colleague's number an outside line.",
              "A dial-string of sofia_contact.", _dial_strings),
        Check("bypass.commands", _C, "The dialplan runs no command that places or moves calls",
              "originate and its like dial past every extension.", "Remove it.", _api),
        Check("bypass.programs", _W, "The dialplan runs no program but the shield's script",
              "A script can dial anything.", "Remove it, or read it.", _programs),
        Check("bypass.sockets", _W, "The dialplan hands calls to the shield's workers only",
              "Whatever listens there can bridge anywhere.",
              "Name every worker in [freeswitch] workers, and remove other sockets.", _sockets),
        Check("bypass.unseen", _W, "Every way through the dialplan can be read",
              "What stands in a variable may be a carrier.", "Write it out, or look who sets the variable.", _unseen),
        Check("bypass.dynamic", _W, "Dialplan and directory are what the files say",
              "What a web server or a script makes for each call, no check of the files can see.",
              "Check there that no answer dials out.", _dynamic),
    ),
)  # fmt: skip
