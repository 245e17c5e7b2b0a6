"""A real Kamailio on loopback with the files of ``edge/``, and a stand-in for the resolver that counts."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from gevent import socket  # a double of FreeSWITCH may live in this thread and must go on answering
from ports import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

EDGE = Path(__file__).resolve().parents[2] / "edge"
# Another Kamailio than the one on PATH: its binary, and the folder of its modules.
KAMAILIO = os.environ.get("KAMAILIO", "kamailio")
MODULES = os.environ.get("KAMAILIO_MODULES", "")
COMMAND = [KAMAILIO, *(["-L", MODULES] if MODULES else [])]
SECRET = "5e0f7a1c9b3d4e6f8a2b1c0d9e8f7a6b"
MASK_SECRET = "a7c1e5f9b3d7052846c8eaf0b2d4f618"
SEAL_KEY = "k1-6b0d1f0a3c5e7f9b2d4f6a8c0e1b3d5f"
TAG_KEY = "t1-0c2e4a6b8d0f1a3c5e7f9b2d4f6a8c0e"
READY_S = 15.0


@dataclass
class Resolver:
    """Answers as the resolver's contract says: ``/redeem`` each permit once, ``/mask`` a known number's token."""

    numbers: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    status: int = 0
    forms: list[dict[str, str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Listen."""
        outer = self
        self.gate = threading.Event()
        self.gate.set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server((HOST, free_port()), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://{HOST}:{self._server.server_address[1]}/redeem"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.forms.append(form)
        self.gate.wait(10)
        verdict = self._masked if request.path == "/mask" else self._verdict
        status, text = verdict(request.headers.get("Authorization", ""), form)
        with contextlib.suppress(OSError):
            request.send_response(status)
            request.send_header("Content-Type", "text/plain")
            request.send_header("Content-Length", str(len(text)))
            request.end_headers()
            request.wfile.write(text.encode())

    def _verdict(self, authorization: str, form: dict[str, str]) -> tuple[int, str]:
        if self.status:
            return self.status, {403: "destination", 404: "refused"}.get(self.status, "away")
        if (
            authorization != f"Bearer {SECRET}"
            or form.get("permit") in self.used
            or form.get("token") not in self.numbers
        ):
            return 404, "refused"
        self.used.add(form["permit"])
        return 200, self.numbers[form["token"]]

    def _masked(self, authorization: str, form: dict[str, str]) -> tuple[int, str]:
        if self.status:
            return self.status, "away"
        if authorization != f"Bearer {MASK_SECRET}" or form.get("number") not in self.tokens:
            return 404, "refused"
        return 200, self.tokens[form["number"]]

    def stop(self) -> None:
        """Stop listening."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


_UACREG = """id(int,auto) l_uuid(string) l_username(string) l_domain(string) r_username(string) r_domain(string) \
realm(string) auth_username(string) auth_password(string) auth_ha1(string,null) auth_proxy(string) expires(int) \
flags(int) reg_delay(int) contact_addr(string) socket(string)
1:alpha:acct:carrier.example:acct:carrier.example:carrier.example:acct:pw::{proxy}:300:16:0:{outside}:udp\\:{outside}
"""


def registration(folder: Path, proxy: str, outside: int) -> str:
    """The part of site.cfg that makes an edge on this port register as ``acct`` by way of a proxy (its URI)."""
    folder.mkdir()
    (folder / "version").write_text("id(int,auto) table_name(string) table_version(int)\n0:uacreg:5\n")
    here = f"{HOST}:{outside}"
    proxy, escaped = (value.replace(":", "\\:") for value in (proxy, here))
    (folder / "uacreg").write_text(_UACREG.format(proxy=proxy, outside=escaped))
    return (
        f'loadmodule "db_text.so"\nmodparam("uac", "reg_db_url", "text://{folder}")\n'
        f'modparam("uac", "reg_contact_addr", "{here}")\nmodparam("uac", "reg_timer_interval", 1)\n'
        f'modparam("uac", "default_socket", "udp:{here}")\n'
    )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Edge:
    """One Kamailio; ``carriers`` are lines of carriers.list."""

    def __init__(
        self,
        folder: Path,
        resolver_url: str,
        carriers: Sequence[str],
        *,
        freeswitch: str = HOST,
        defines: str = "",
        extra: str = "",
        inside: int = 0,
        outside: int = 0,
        key: str = SEAL_KEY,
        key_before: str = "",
        tls: str = "",
        secret: str = SECRET,
        nameserver: str = "",
        apart: bool = False,
        inbound: bool = False,
        no_response_ms: int = 1500,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.inside = (HOST, inside or free_port())
        self.outside = (HOST, outside or free_port())
        self.tls_port = free_port()
        self.log = folder / "kamailio.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "SHIELD_EDGE_SECRET": secret,
            "SHIELD_EDGE_MASK_SECRET": MASK_SECRET,
            "SHIELD_EDGE_KEY": key,
            "SHIELD_EDGE_TAG_KEY": TAG_KEY,
        }
        if key_before:
            self.environment["SHIELD_EDGE_KEY_BEFORE"] = key_before
        self._prefix: list[str] = []
        if nameserver:  # a resolv.conf of its own, seen by this process alone
            (folder / "resolv.conf").write_text(f"nameserver {nameserver}\n")
            mount = f'mount --bind {folder}/resolv.conf "$(readlink -f /etc/resolv.conf)" && exec "$@"'
            self._prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
        for path in EDGE.iterdir():
            if path.is_file():
                shutil.copy(path, folder)
        (folder / "carriers.list").write_text("".join(f"{line}\n" for line in carriers))
        (folder / "tls.cfg").write_text(tls)
        outside_host = f"{HOST}:{self.outside[1]}"
        (folder / "site.cfg").write_text(
            f"""
listen=udp:{HOST}:{self.inside[1]} name "inside"
listen=udp:{outside_host} name "outside"
listen=tcp:{outside_host} name "outside-tcp"
{"#!define WITH_TLS" if tls else ""}
{f'listen=tls:{HOST}:{self.tls_port} name "outside-tls"' if tls else ""}
#!define EDGE_FREESWITCH "{freeswitch}"
#!define EDGE_INSIDE "{HOST}:{self.inside[1]}"
#!define EDGE_OUTSIDE "{outside_host}"
#!define EDGE_OUTSIDE_TCP "{outside_host}"
#!define EDGE_OUTSIDE_TLS "{HOST}:{self.tls_port}"
#!define EDGE_RESOLVER "{resolver_url}"
{"#!define WITH_INBOUND" if inbound else ""}
#!define EDGE_MASK "{resolver_url.replace("/redeem", "/mask")}"
#!define EDGE_INBOUND_FROM "90"
#!define EDGE_INBOUND_TO "91"
#!define EDGE_CARRIERS "{folder}/carriers.list"
#!define EDGE_TLS "{folder}/tls.cfg"
#!define EDGE_PING_FROM "sip:edge@{HOST}"
#!define EDGE_PING_S 1
#!define EDGE_NO_RESPONSE_MS {no_response_ms}
#!define EDGE_PIKE_DENSITY 100000
#!define EDGE_WORKERS 2
{"" if apart else "#!define EDGE_CARRIERS_ON_FREESWITCH"}
{defines}
{extra}
route[SITE_CARRIERS] {{
    if ($var(gateway) == "edge-a" || $var(gateway) == "edge") $var(set) = 1;
    if ($var(gateway) == "edge-b") $var(set) = 2;
    if ($var(gateway) =~ "^set-[0-9]+$") $var(set) = $(var(gateway){{s.substr,4,0}}{{s.int}});
}}
"""
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def command(self) -> list[str]:
        """What is run."""
        folder = str(self.folder)
        return [
            *self._prefix, *COMMAND, "-DD", "-E", "-f", f"{folder}/kamailio.cfg", "-m", "64", "-M", "16",
            "-w", folder, "-Y", folder, "-P", f"{folder}/kamailio.pid",
        ]  # fmt: skip

    def start(self) -> None:
        """Start Kamailio and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,  # one group to end: children outlive a main process that is killed
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - started from the main thread
            )
        deadline = time.monotonic() + READY_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HOST, 0))
            probe.settimeout(0.05)
            port = probe.getsockname()[1]
            for attempt in range(10_000):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.log.read_text()[-4000:])
                probe.sendto(
                    f"OPTIONS sip:edge@{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:{port};branch=z9hG4bKp{attempt}\r\n"
                    f"From: <sip:p@{HOST}>;tag=p\r\nTo: <sip:edge@{HOST}>\r\nCall-ID: ready-{attempt}\r\n"
                    "CSeq: 1 OPTIONS\r\nMax-Forwards: 1\r\nContent-Length: 0\r\n\r\n".encode(),
                    self.outside,
                )
                with contextlib.suppress(OSError):
                    if probe.recv(65535).startswith(b"SIP/2.0 200"):
                        return

    def kill(self) -> None:
        """End it and all its processes without a chance to say anything."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def restart(self) -> None:
        """Kill it and start it again with nothing kept."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End it, and whatever of it would outlive its main process."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        self.kill()
