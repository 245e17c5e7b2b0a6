"""Area ``config``: what the configuration file itself says, and its secrets' files."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.service.doctor.files import FileFacts, look, process_user
from esl_shield.service.doctor.finding import Area, Check, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config

_WIDE = {4: 16, 6: 32}  # networks shorter than this are wider than a site


@dataclass(frozen=True)
class ConfigFacts:
    """The configuration, the role it is for, and its files; ``user`` is the Unix user the process runs as."""

    config: Config
    role: str
    user: int
    file: FileFacts
    secrets: dict[str, FileFacts]


def look_at_config(config: Config, role: str) -> ConfigFacts:
    """Look at the configuration's file and at every file it names."""
    named = {"[database] password": config.database.password}
    if role == "resolver":
        named |= {f"[resolver] secrets.{caller}": source for caller, source in config.resolver.secrets.items()}
    if config.freeswitch:
        named["[freeswitch] password"] = config.freeswitch.password
    if config.webhooks:
        named["[webhooks] secret"] = config.webhooks.secret
    if config.clicks:
        named["[clicks] password"] = config.clicks.password
    if config.canary:
        named["[canary] password"] = config.canary.password
        named["[canary] signing_key"] = config.canary.signing_key
        named["[canary.database] password"] = config.canary.database.password
    secrets = {key: look(source.removeprefix("file:")) for key, source in named.items() if source}
    return ConfigFacts(config, role, process_user(config.source), look(config.source), secrets)


def _file(facts: ConfigFacts) -> Iterator[Problem]:
    if facts.file.others_write:
        yield Problem(
            f"{facts.file.path} has mode {facts.file.octal}: others can change it",
            f"chmod 0600 {facts.file.path}",
            Severity.CRITICAL,
        )
    elif facts.file.others_read:
        yield Problem(
            f"{facts.file.path} has mode {facts.file.octal}: others can read it", f"chmod 0600 {facts.file.path}"
        )
    if facts.file.open_folder:
        folder = facts.file.open_folder
        yield Problem(
            f"others can put another file in the place of {facts.file.path}", f"chmod go-w {folder}", Severity.CRITICAL
        )


def _secrets(facts: ConfigFacts) -> Iterator[Problem]:
    for key, file in facts.secrets.items():
        if file.mode is None:
            yield Problem(
                f"{key}: {file.path} is not there, or not to be seen by who runs doctor",
                "Put it there, or run doctor as the process's user.",
            )
            continue
        if not file.regular:
            yield Problem(f"{key}: {file.path} is not a file")
        elif file.others_read or file.others_write:
            yield Problem(
                f"{key}: {file.path} has mode {file.octal}: others can read or change it", f"chmod 0400 {file.path}"
            )
        if file.owner not in (0, facts.user):
            yield Problem(f"{key}: {file.path} belongs to another user", f"chown it to the {facts.role}'s user.")
        if file.open_folder:
            yield Problem(
                f"{key}: others can put another file in the place of {file.path}", f"chmod go-w {file.open_folder}"
            )


def _gateways(facts: ConfigFacts) -> Iterator[Problem | str]:
    config = facts.config
    if facts.role not in ("worker", "resolver"):
        return
    if not config.gateways:
        yield Problem("there are no [[gateways]]: no call can go anywhere", severity=Severity.CRITICAL)
    for gateway in config.gateways:
        if not gateway.caller_id and facts.role == "worker":
            yield f"the gateway {gateway.name} has no caller_id: customers see whatever the carrier puts there"
        if facts.role == "resolver" and gateway.number_format == "national" and not gateway.country:
            yield Problem(f"the gateway {gateway.name} is national and has no country", severity=Severity.CRITICAL)
    wanted = {"lua" if gateway.delivery == "direct" else "edge" for gateway in config.gateways}
    if facts.role == "resolver":
        for caller in sorted(wanted - config.resolver.secrets.keys()):
            yield Problem(
                f"[resolver] secrets has none for {caller}, which a gateway needs", severity=Severity.CRITICAL
            )
        for caller in sorted(config.resolver.secrets.keys() & {"lua", "edge"} - wanted):
            yield f"[resolver] secrets has one for {caller}, and no gateway is of that delivery"


def _listens(facts: ConfigFacts) -> Iterator[Problem | str]:
    config = facts.config
    for role, key, listen, allow in (
        ("worker", "[esl]", config.esl.listen, config.esl.allow),
        ("resolver", "[resolver]", config.resolver.listen, config.resolver.allow),
    ):
        if role != facts.role or listen.is_loopback:
            continue
        for text in allow:
            network = ipaddress.ip_network(text)
            if network.prefixlen < _WIDE[network.version]:
                yield Problem(
                    f"{key} allow has {text}, which is wider than a site", f"{key} allow: name the callers' addresses."
                )
        if role == "resolver":
            yield "[resolver] listen is reachable over a network, where numbers pass in clear unless it is a tunnel"


CONFIG = Area[ConfigFacts](
    "config",
    "the configuration file and the files it names",
    (
        Check("config.file", Severity.WARNING, "Only its owner can read or change the configuration",
              "Who changes it sends the database's login, or calls, elsewhere.", "chmod 0600 it.", _file),
        Check("config.secrets", Severity.CRITICAL, "Files with passwords and secrets are for their process alone",
              "What others can read is no secret; the process refuses such a file.", "chmod 0400 it.", _secrets),
        Check("config.gateways", Severity.WARNING, "Gateways, their secrets and caller IDs fit each other",
              "A delivery without its caller's secret cannot be redeemed.",
              "Use the same [[gateways]] in the worker's and the resolver's file.", _gateways),
        Check("config.listens", Severity.WARNING, "Listeners are on loopback or let in few addresses",
              "The worker believes what its event socket says; the resolver gives numbers.",
              "Put both sides on one machine, or in a tunnel with sslmode and certificates of its own.", _listens),
    ),
)  # fmt: skip
