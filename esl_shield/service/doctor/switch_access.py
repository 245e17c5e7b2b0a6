"""Who is let in to FreeSWITCH: phones, carriers, logins of the event socket, and whoever gets a shell."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.calls.arrivals import CONTEXT as INBOUND
from esl_shield.service.doctor.finding import NotAskedError, Problem, Severity
from esl_shield.service.doctor.switch import SwitchFacts, is_true, params

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Iterator

OTHER_DOORS = {
    "mod_xml_rpc": "answers every command over HTTP",
    "mod_erlang_event": "gives events and commands to Erlang nodes",
    "mod_event_multicast": "sends events to a multicast group",
    "mod_amqp": "sends events to a message broker",
    "mod_kafka": "sends events to a message broker",
    "mod_hep": "copies SIP messages to a capture server",
    "mod_verto": "lets browsers log in and dial",
}
STOCK_PASSWORDS = ("ClueCon", "")


def is_direct(facts: SwitchFacts) -> bool:
    """Whether FreeSWITCH holds numbers in this delivery; without [[gateways]] we do not know, so it may."""
    gateways = facts.config.gateways
    return not gateways or any(gateway.delivery == "direct" for gateway in gateways)


def carrier_profiles(facts: SwitchFacts) -> set[str]:
    """Return the profiles that have a gateway: those that face carriers or the edge."""
    return {profile for profile, _ in facts.gateways.values() if profile}


def worse_if_direct(facts: SwitchFacts, sentence: str, change: str = "") -> Problem:
    """Return a problem that is critical where FreeSWITCH holds numbers."""
    return Problem(sentence, change, Severity.CRITICAL if is_direct(facts) else Severity.WARNING)


def doors(facts: SwitchFacts) -> Iterator[Problem | str]:
    """Judge modules that are event sockets of their own."""
    for name, what in OTHER_DOORS.items():
        if name in facts.modules:
            yield worse_if_direct(facts, f"{name} is loaded and {what}", f"Unload {name}, or let nobody reach it.")


def digest(facts: SwitchFacts) -> Iterator[Problem]:
    """Judge how phones and carriers prove who they are."""
    carriers = carrier_profiles(facts)
    for name, settings in facts.profiles.items():
        if is_true(settings.get("accept-blind-auth")):
            yield Problem(f"profile {name} takes any password (accept-blind-auth)")
        if settings.get("context") == INBOUND:
            if "apply-inbound-acl" not in settings:
                yield Problem(
                    f"profile {name} takes calls from everybody, and what callers say of themselves there is believed",
                    f"Profile {name}: apply-inbound-acl with a list of the edge's addresses.",
                )
            continue
        if name in carriers:
            if not is_true(settings.get("auth-calls")) and "apply-inbound-acl" not in settings:
                yield Problem(
                    f"profile {name} faces carriers and takes calls from everybody",
                    f"Profile {name}: apply-inbound-acl with a list of the edge's and the carriers' addresses.",
                    Severity.WARNING,
                )
            continue
        if not is_true(settings.get("auth-calls")):
            yield Problem(
                f"profile {name} takes calls without a digest",
                f'Profile {name}: <param name="auth-calls" value="true"/>',
            )
        for key in ("apply-inbound-acl", "apply-proxy-acl"):
            if key in settings and is_true(settings.get("auth-calls")):
                yield Problem(
                    f"profile {name} has {key}: a listed address counts as authenticated without a digest",
                    f"Profile {name}: remove {key}.",
                )


def passwords(facts: SwitchFacts) -> Iterator[Problem]:
    """Judge users of the directory by their passwords."""
    for domain, user, settings, *_ in directory_users(facts.directory):
        letting_in = is_true(settings.get("allow-empty-password"), default=True)
        if not settings.get("password") and not settings.get("a1-hash") and letting_in:
            yield Problem(
                f"user {user}@{domain} has no password and is let in without a digest",
                f'{user}@{domain}: give it a password, or <param name="allow-empty-password" value="false"/>',
            )
        if settings.get("password", "").startswith("CHANGE-ME"):
            yield Problem(
                f"user {user}@{domain} still has the example's password", f"{user}@{domain}: set a password of its own."
            )


def agents(facts: SwitchFacts) -> Iterator[Problem]:
    """Judge whether each agent has one name: ours is the digest's user name in small letters."""
    for domain, user, settings, _, has_alias in directory_users(facts.directory):
        if "esl-password" in settings and "password" not in settings and "a1-hash" not in settings:
            continue  # a login of the event socket, no phone
        if has_alias:
            yield Problem(
                f"user {user}@{domain} has a number-alias: its phone can log in by that too, and is another agent then",
                f"{user}@{domain}: remove number-alias; let the dialplan or a group find the phone by a number.",
            )
        if user != user.lower():
            yield Problem(
                f"user {user}@{domain} has capital letters: caps, records and webhooks have the agent in small ones, "
                "and a click or a permission's call by that name does not find the phone's registration",
                f"{user}@{domain}: an id in small letters, in the directory and in the phone.",
            )


class User(NamedTuple):
    """A user of the directory; its domain's and group's params and variables are its defaults."""

    domain: str
    id: str
    params: dict[str, str]
    variables: dict[str, str]
    has_alias: bool


def directory_users(directory: ET.Element) -> Iterator[User]:
    """Yield every user but pointers to one."""
    for domain in directory.iter("domain"):
        grouped = [(group, user) for group in domain.iter("group") for user in group.iter("user")]
        alone = [(None, user) for user in [*domain.findall("user"), *domain.findall("users/user")]]
        for group, user in [*grouped, *alone]:
            if user.get("type") == "pointer":
                continue
            owners = [owner for owner in (domain, group, user) if owner is not None]
            settings: dict[str, str] = {}
            variables: dict[str, str] = {}
            for owner in owners:
                settings |= params(owner.find("params"))
                found = owner.findall("variables/variable")
                variables |= {variable.get("name", ""): variable.get("value", "") for variable in found}
            yield User(domain.get("name", ""), user.get("id", ""), settings, variables, "number-alias" in user.attrib)


def event_socket(facts: SwitchFacts) -> Iterator[Problem]:
    """Judge the event socket's password and listener."""
    settings = facts.settings("event_socket.conf") or {}
    password = settings.get("password", "ClueCon")
    if password in STOCK_PASSWORDS or password.startswith("CHANGE-ME"):
        yield Problem(
            "the event socket has a password everybody knows",
            "event_socket.conf: a password of your own, 32 random characters.",
        )
    lists = settings.get("apply-inbound-acl", "loopback.auto")  # mod_event_socket.c:2922 takes it when there is none
    if not _loopback(settings.get("listen-ip", "127.0.0.1")) and _lets_everybody(facts, lists):
        yield Problem(
            f"the event socket listens beyond this machine and the list {lists} lets everybody connect",
            'event_socket.conf: <param name="listen-ip" value="127.0.0.1"/>, or apply-inbound-acl with few addresses.',
        )


def _lets_everybody(facts: SwitchFacts, name: str) -> bool:
    if name.startswith(("any", "wan")):
        return True
    acls = facts.file("acl.conf")
    for acl in () if acls is None else acls.iter("list"):
        if acl.get("name") == name:
            wide = [n for n in acl.findall("node") if n.get("type") == "allow" and n.get("cidr", "").endswith("/0")]
            return acl.get("default") == "allow" or bool(wide)
    return False


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def listeners(facts: SwitchFacts) -> Iterator[Problem]:
    """Judge the event socket's further logins."""
    for domain, user, settings, *_ in directory_users(facts.directory):
        if not settings.get("esl-password"):
            continue
        who = f"the event socket's login {user}@{domain}"
        if settings["esl-password"].startswith("CHANGE-ME"):
            yield Problem(
                f"{who} still has the example's password",
                f"{user}@{domain}: an esl-password of its own.",
                Severity.CRITICAL,
            )
        if "esl-allowed-api" not in settings:
            yield worse_if_direct(
                facts, f"{who} may run every command", f"{user}@{domain}: list what it needs in esl-allowed-api."
            )
        events = settings.get("esl-allowed-events", "")
        if events and not re.search(r"(?i)\b(all|channel_\w+|cdr|api|private_command|custom)\b", events):
            continue
        said = "may listen to every event" if re.search(r"(?i)\ball\b", events) else "may listen to events of calls"
        if events and is_direct(facts):
            yield Problem(
                f"{who} {said}", f"{user}@{domain}: list events without calls in esl-allowed-events.", Severity.CRITICAL
            )


def connected(facts: SwitchFacts) -> Iterator[Problem]:
    """Tell who else is connected to the event socket now."""
    if facts.connected is None:
        message = "FreeSWITCH is on another machine, and only its kernel knows"
        raise NotAskedError(message, Severity.INFO)
    for peer in facts.connected:
        yield Problem(
            f"{peer} is connected to the event socket", severity=Severity.WARNING if is_direct(facts) else Severity.INFO
        )


def system(facts: SwitchFacts) -> Iterator[Problem]:
    """Judge whether there is a way to a shell."""
    for name in ("disable_system_api_commands", "disable_system_app_commands"):
        if not is_true(facts.variables.get(name)):
            yield Problem(
                f"{name} is not set: a shell can be had",
                f'vars.xml: <X-PRE-PROCESS cmd="set" data="{name}=true"/>, then restart.',
            )
