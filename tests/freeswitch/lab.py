"""A private FreeSWITCH on loopback that runs the files of ``dialplan/``, and its event socket.

The configuration is ours, copied; only addresses, passwords and, for the worst case, the CDR modules' b-leg switches
are changed, each by a substitution that must find its text.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from polling import until
from ports import HOST, free_port

DIALPLAN = Path(__file__).resolve().parents[2] / "dialplan"
DOMAIN = "agents.example.com"
ESL_PASSWORD = "only-on-loopback"
AGENT_PASSWORD = "CHANGE-ME-{user}"
LUA_SECRET = "0123456789abcdef0123456789abcdef"
INTAKE_SECRET = "fedcba9876543210fedcba9876543210"

_MODULES = (
    "mod_logfile", "mod_event_socket", "mod_sofia", "mod_dptools", "mod_commands", "mod_dialplan_xml", "mod_curl",
    "mod_lua", "mod_xml_cdr", "mod_json_cdr", "mod_cdr_csv", "mod_cdr_sqlite", "mod_conference",
    "mod_tone_stream", "mod_hash",
)  # fmt: skip

_MASTER = """<?xml version="1.0"?>
<document type="freeswitch/xml">
<X-PRE-PROCESS cmd="include" data="esl_shield_vars.xml"/>
{overrides}
<section name="configuration">
<X-PRE-PROCESS cmd="include" data="autoload_configs/*.xml"/>
<configuration name="modules.conf"><modules>{modules}</modules></configuration>
<configuration name="logfile.conf"><settings><param name="rotate-on-hup" value="false"/></settings>
<profiles>{logs}</profiles>
</configuration>
<configuration name="sofia.conf"><profiles>
<X-PRE-PROCESS cmd="include" data="sip_profiles/*.xml"/>
</profiles></configuration>
</section>
<section name="dialplan">
<X-PRE-PROCESS cmd="include" data="dialplan/*.xml"/>
</section>
<section name="directory">
<X-PRE-PROCESS cmd="include" data="directory/*.xml"/>
</section>
</document>
"""

_LOG = """<profile name="{name}"><settings><param name="logfile" value="{path}"/>
<param name="rollover" value="0"/></settings>
<mappings><map name="all" value="{levels}"/></mappings></profile>
"""
_QUEUE = """<configuration name="callcenter.conf"><settings/>
<queues><queue name="sales@{domain}">
<param name="strategy" value="longest-idle-agent"/><param name="moh-sound" value="silence"/>
<param name="time-base-score" value="queue"/><param name="max-wait-time" value="30"/>
<param name="tier-rules-apply" value="false"/></queue></queues>
<agents><agent name="1002" type="callback" contact="[leg_timeout=10]user/1002@{domain}" status="Available"
 max-no-answer="3" wrap-up-time="0" reject-delay-time="1" busy-delay-time="1"/></agents>
<tiers><tier agent="1002" queue="sales@{domain}" level="1" position="1"/></tiers>
</configuration>
"""
_UP_TO_INFO = "console,alert,crit,err,warning,notice,info"

_RTP_START = 16384 + os.getpid() % 16 * 1000  # two runs at once must not share media ports
_LAB_ONLY = {
    "autoload_configs/json_cdr.conf.xml": [("CHANGE-ME-INTAKE", INTAKE_SECRET)],
    "autoload_configs/acl.conf.xml": [("192.0.2.0/24", "127.0.0.0/8"), ("192.0.2.5/32", "127.0.0.1/32")],
    "autoload_configs/event_socket.conf.xml": [("CHANGE-ME-EVENT-SOCKET", ESL_PASSWORD)],
    "autoload_configs/switch.conf.xml": [
        ('name="loglevel" value="info"', 'name="loglevel" value="debug"'),
        ('name="rtp-start-port" value="16384"', f'name="rtp-start-port" value="{_RTP_START}"'),
        ('name="rtp-end-port" value="32768"', f'name="rtp-end-port" value="{_RTP_START + 998}"'),
    ],
}
_B_LEG_CDRS = {
    "autoload_configs/xml_cdr.conf.xml": [('"log-b-leg" value="false"', '"log-b-leg" value="true"')],
    "autoload_configs/json_cdr.conf.xml": [('"log-b-leg" value="false"', '"log-b-leg" value="true"')],
    "autoload_configs/cdr_csv.conf.xml": [('"legs" value="a"', '"legs" value="ab"')],
    "autoload_configs/cdr_sqlite.conf.xml": [('"legs" value="a"', '"legs" value="ab"')],
}


@dataclass
class Ports:
    """Where everything of the lab listens, all on loopback."""

    agents: int = field(default_factory=free_port)
    carriers: int = field(default_factory=free_port)
    inbound: int = field(default_factory=free_port)
    esl: int = field(default_factory=free_port)
    worker_a: int = field(default_factory=free_port)
    worker_b: int = field(default_factory=free_port)
    resolver: int = field(default_factory=free_port)
    carrier_a: int = field(default_factory=free_port)
    carrier_b: int = field(default_factory=free_port)
    edge: int = field(default_factory=free_port)
    emergency: int = field(default_factory=free_port)
    intake: int = field(default_factory=free_port)


class EventSocket:
    """FreeSWITCH's own event socket: one connection for ``api`` calls or for listening."""

    def __init__(self, port: int, *, login: str = f"auth {ESL_PASSWORD}") -> None:
        # From another address of loopback: while nobody listens the kernel may draw that very port for our end, and the
        # connection to itself would keep FreeSWITCH from listening.
        self._socket = socket.create_connection((HOST, port), timeout=10, source_address=("127.0.0.2", 0))
        self._buffer = b""
        self._frame()
        self.command(login)

    def _fill(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError
        self._buffer += data

    def _frame(self) -> bytes:
        while b"\n\n" not in self._buffer:
            self._fill()
        head, self._buffer = self._buffer.split(b"\n\n", 1)
        length = re.search(rb"Content-Length: (\d+)", head)
        if not length:
            return head
        while len(self._buffer) < int(length[1]):
            self._fill()
        body, self._buffer = self._buffer[: int(length[1])], self._buffer[int(length[1]) :]
        return head + b"\n\n" + body

    def command(self, text: str) -> str:
        """Send one command and return its reply's text."""
        self._socket.sendall(text.encode() + b"\n\n")
        return self._frame().decode()

    def api(self, text: str) -> str:
        """Run an API command and return its answer."""
        return self.command(f"api {text}").split("\n\n", 1)[-1]

    def close(self) -> None:
        """End the connection; a reader in another thread returns."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Tap:
    """A listener on ``event plain all``: what any program with the event socket's password sees."""

    def __init__(self, port: int) -> None:
        self._connection = EventSocket(port)
        self._connection.command("event plain all")
        self._frames: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._connection._socket.settimeout(None)
            while True:
                self._frames.append(self._connection._frame())
        except (OSError, ValueError):
            return

    @property
    def events(self) -> list[bytes]:
        """Every event so far."""
        return list(self._frames)

    def close(self) -> None:
        """Stop listening."""
        self._connection.close()
        self._thread.join(5)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class FreeSwitch:
    """The process, its folders and its event socket."""

    def __init__(self, binary: str, folder: Path, ports: Ports, *, b_leg_cdrs: bool = False) -> None:
        self.folder, self.ports = folder, ports
        self.conf, self.log, self.db = folder / "conf", folder / "log", folder / "db"
        self.debug_log, self.info_log = self.log / "debug.log", self.log / "info.log"
        self._binary = binary
        self._configure(b_leg_cdrs=b_leg_cdrs)
        options = {"conf": self.conf, "log": self.log, "db": self.db, "scripts": DIALPLAN / "scripts"}
        for name in ("run", "temp", "cache", "storage", "recordings", "certs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            options[name] = folder / name
        command = [binary, "-nf", "-nonat", "-np"]
        for name, path in options.items():
            command += [f"-{name}", str(path)]
        self.esl: EventSocket | None = None
        self.console = folder / "console.log"  # at debug as well
        self._output = self.console.open("wb")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - started from the main thread, before others
        )
        try:
            until(self._is_ready, "FreeSWITCH runs both SIP profiles", within_s=60)
        except BaseException:
            self.stop()
            raise
        self.esl = EventSocket(ports.esl)

    def _configure(self, *, b_leg_cdrs: bool) -> None:
        shutil.copytree(DIALPLAN / "conf", self.conf)
        for folder in (self.log, self.db):
            folder.mkdir()
        secret = self.folder / "lua.secret"
        secret.write_text(LUA_SECRET + "\n")
        b_legs = _B_LEG_CDRS if b_leg_cdrs else {}
        for name in _LAB_ONLY | b_legs:
            replacements = [*_LAB_ONLY.get(name, []), *b_legs.get(name, [])]
            text = (self.conf / name).read_text()
            for old, new in replacements:
                assert old in text, f"{name} no longer has {old}"
                text = text.replace(old, new)
            (self.conf / name).write_text(text)
        modules = list(_MODULES)
        if self._has("mod_callcenter"):
            modules.append("mod_callcenter")
            (self.conf / "autoload_configs" / "callcenter.conf.xml").write_text(_QUEUE.format(domain=DOMAIN))
        (self.conf / "freeswitch.xml").write_text(
            _MASTER.format(
                logs=_LOG.format(name="debug", path=self.debug_log, levels=_UP_TO_INFO + ",debug")
                + _LOG.format(name="info", path=self.info_log, levels=_UP_TO_INFO),
                modules="".join(f'<load module="{name}"/>' for name in modules),
                overrides="\n".join(
                    f'<X-PRE-PROCESS cmd="set" data="{name}={value}"/>'
                    for name, value in self._variables(secret).items()
                ),
            )
        )

    def _has(self, module: str) -> bool:
        """Whether this FreeSWITCH was built with a module."""
        return any(Path(self._binary).resolve().parents[1].glob(f"lib*/freeswitch/mod/{module}.so"))

    def _variables(self, secret: Path) -> dict[str, object]:
        p = self.ports
        return {
            "domain": DOMAIN,
            "shield_workers": f"{HOST}:{p.worker_a}|{HOST}:{p.worker_b}",
            "shield_resolver_url": f"http://{HOST}:{p.resolver}/redeem",
            "shield_secret_file": secret,
            "shield_agents_ip": HOST,
            "shield_agents_port": p.agents,
            "shield_carriers_ip": HOST,
            "shield_carriers_port": p.carriers,
            "shield_inbound_port": p.inbound,
            "shield_edge": f"{HOST}:{p.edge}",
            "shield_carrier_a": f"{HOST}:{p.carrier_a}",
            "shield_carrier_b": f"{HOST}:{p.carrier_b}",
            "shield_emergency": f"{HOST}:{p.emergency}",
            "shield_esl_port": p.esl,
            "shield_intake_url": f"http://{HOST}:{p.intake}/cdr",
            "shield_cdr_spool": self.log / "json_cdr",
        }

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            message = f"FreeSWITCH ended: see {self.folder}"
            raise RuntimeError(message)
        try:
            connection = EventSocket(self.ports.esl)
        except OSError:
            return False
        status = connection.api("sofia status")
        connection.close()
        return status.count("RUNNING") == 3

    def channels(self) -> int:
        """How many channels there are now."""
        return int(re.search(r"(\d+) total", self.esl.api("show channels count"))[1])

    def quiet(self) -> None:
        """Wait until no channel is left, so that every CDR and event of the calls has been written."""
        until(lambda: self.channels() == 0, "all channels ended", within_s=30)

    def stop(self) -> None:
        """End the process."""
        if self.esl:
            self.esl.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._output.close()
