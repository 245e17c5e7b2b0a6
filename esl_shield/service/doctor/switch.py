"""What FreeSWITCH says of itself over its event socket.

Invariants: only commands that change nothing are asked; the directory and configuration hold passwords, so neither is
in a ``repr`` and neither leaves the process.
"""

from __future__ import annotations

import re
import socket
import stat
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from esl_shield.db.address import read_password
from esl_shield.errors.freeswitch import FreeSwitchAway
from esl_shield.esl.inbound import InboundSocket
from esl_shield.service.doctor.connections import Peer, peers
from esl_shield.service.doctor.finding import NotApplicableError, NotAskedError

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.values import Address

_EMPTY = ET.Element("section")
_MOST_FILES = 500
NOT_CONFIGURED = "this configuration has no [freeswitch] with the address and password of its event socket"


@dataclass(frozen=True)
class FileMode:
    """A file FreeSWITCH writes: its path and mode bits."""

    path: str
    mode: int


@dataclass(frozen=True)
class SwitchFacts:
    """FreeSWITCH's answers. Sections are ``<section>`` elements as loaded, variables expanded."""

    config: Config
    version: str
    modules: frozenset[str]
    sessions_per_second: int | None
    max_sessions: int | None
    debug_level: int | None
    variables: dict[str, str] = field(repr=False)
    configuration: ET.Element = field(repr=False)
    dialplan: ET.Element = field(repr=False)
    directory: ET.Element = field(repr=False)
    gateway_states: dict[str, str]
    profiles_running: frozenset[str]
    clock_offset_s: float  # FreeSWITCH's clock minus ours; it tells whole seconds, so up to 1 s of it is rounding
    written: tuple[FileMode, ...] | None  # None: FreeSWITCH is on another machine
    connected: tuple[Peer, ...] | None = None  # to its event socket, but for us; None: on another machine

    def settings(self, name: str) -> dict[str, str] | None:
        """Return the params of a configuration such as ``switch.conf``; None when there is none."""
        found = self.file(name)
        return None if found is None else params(found.find("settings"))

    def file(self, name: str) -> ET.Element | None:
        """Return the configuration of that name."""
        for element in self.configuration.iter("configuration"):
            if element.get("name") == name:
                return element
        return None

    @property
    def profiles(self) -> dict[str, dict[str, str]]:
        """Sofia's profiles as configured, by name: their settings."""
        sofia = self.file("sofia.conf")
        if sofia is None:
            return {}
        return {p.get("name", ""): params(p.find("settings")) for p in sofia.iter("profile")}

    @property
    def gateways(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Sofia's gateways as configured, by name: their profile and params."""
        sofia = self.file("sofia.conf")
        found = {}
        for profile in () if sofia is None else sofia.iter("profile"):
            for gateway in profile.iter("gateway"):
                found[gateway.get("name", "")] = (profile.get("name", ""), params(gateway))
        for user in self.directory.iter("user"):  # a user's gateways belong to the profile that parses the domain
            for gateway in user.iter("gateway"):
                found[gateway.get("name", "")] = ("", params(gateway))
        return found


def params(parent: ET.Element | None) -> dict[str, str]:
    """Return the ``<param>`` children; the last of a name counts, as FreeSWITCH reads them in order."""
    if parent is None:
        return {}
    return {p.get("name", "").lower(): p.get("value", "") for p in parent.findall("param")}


def is_true(text: str | None, *, default: bool = False) -> bool:
    """FreeSWITCH's switch_true."""
    if text is None:
        return default
    return text.lower() in ("yes", "on", "true", "t", "enabled", "active", "allow") or (
        text.lstrip("-").isdigit() and int(text) != 0
    )


def ask_switch(config: Config) -> SwitchFacts:
    """Ask all the checks need, once; raises NotApplicableError, FreeSwitchAway, FreeSwitchRefused, ConfigError."""
    if config.freeswitch is None:
        raise NotApplicableError(NOT_CONFIGURED)
    wanted = config.freeswitch
    password = read_password(wanted.password, "[freeswitch] password")
    with InboundSocket(wanted.address, password, timeout_s=wanted.timeout_s) as connection:
        return _Questions(connection, config, wanted.address).ask()


class _Questions:
    def __init__(self, connection: InboundSocket, config: Config, address: Address) -> None:
        self._connection = connection
        self._config = config
        self._address = address
        self._own_ports = frozenset({connection.own_port})

    def ask(self) -> SwitchFacts:
        variables = self._variables()
        states, running = self._sofia()
        return SwitchFacts(
            config=self._config,
            version=self._api("version short").strip(),
            modules=self._modules(),
            sessions_per_second=self._number("fsctl sps"),
            max_sessions=self._number("fsctl max_sessions"),
            debug_level=self._number("fsctl debug_level"),
            variables=variables,
            configuration=self._section("configuration"),
            dialplan=self._section("dialplan"),
            directory=self._section("directory"),
            gateway_states=states,
            profiles_running=running,
            clock_offset_s=self._clock(),
            written=_written(variables) if self._is_here(variables) else None,
            connected=peers(self._address.port, self._own_ports) if self._is_here(variables) else None,
        )

    def _api(self, command: str) -> str:
        return self._connection.api(command).body

    def _number(self, command: str) -> int | None:
        found = re.search(r": (-?[0-9]+)\s*$", self._api(command).strip())
        return int(found[1]) if found else None

    def _variables(self) -> dict[str, str]:
        lines = (line.partition("=") for line in self._api("global_getvar").splitlines())
        return {name: value for name, equals, value in lines if equals}

    def _modules(self) -> frozenset[str]:
        return frozenset(re.findall(r"(?m)^[^,\n]*,[^,\n]*,(mod_[a-z0-9_]+),", self._api("show modules")))

    def _section(self, name: str) -> ET.Element:
        text = self._api(f"xml_locate {name}")
        if not text.lstrip().startswith("<"):
            return _EMPTY
        return self._parse(text, name)

    def _sofia(self) -> tuple[dict[str, str], frozenset[str]]:
        text = self._api("sofia xmlstatus")
        if not text.lstrip().startswith("<"):  # mod_sofia is not loaded; the check of modules says so
            return {}, frozenset()
        root = self._parse(text, "sofia's status")
        states = {g.findtext("name", ""): g.findtext("state", "") for g in root.iter("gateway")}
        running = {p.findtext("name", "") for p in root.iter("profile") if "RUNNING" in p.findtext("state", "")}
        return states, frozenset(running)

    def _parse(self, text: str, what: str) -> ET.Element:
        # FreeSWITCH writes what it has in memory: no document type, hence no entities to expand
        text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)
        try:
            return ET.fromstring(text)  # noqa: S314
        except ET.ParseError:
            problem = f"its {what} is no XML"
        raise FreeSwitchAway(address=self._address, problem=problem)

    def _clock(self) -> float:
        before = time.time()
        text = self._api("strepoch").strip()
        after = time.time()
        return int(text) + 0.5 - (before + after) / 2 if text.isdigit() else 0.0

    def _is_here(self, variables: dict[str, str]) -> bool:
        return self._address.is_loopback and variables.get("hostname") == socket.gethostname()


def _written(variables: dict[str, str]) -> tuple[FileMode, ...]:
    """Return the modes of FreeSWITCH's logs, CDRs and databases on this machine, where everybody may go to look."""
    found = []
    for name in ("log_dir", "db_dir"):
        folder = Path(variables.get(name, "/nonexistent"))
        for path in [folder, *sorted(folder.glob("*"))[:_MOST_FILES], *sorted(folder.glob("*/*"))[:_MOST_FILES]]:
            try:
                if all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents):
                    found.append(FileMode(str(path), path.stat().st_mode))
            except OSError:
                continue  # rotated away, or in a folder that is not ours to look into: then it is not open either
    return tuple(found)


def needs(value: int | None, what: str) -> int:
    """Return the value; raises NotAskedError when FreeSWITCH did not say it."""
    if value is None:
        message = f"FreeSWITCH did not tell {what}"
        raise NotAskedError(message)
    return value
