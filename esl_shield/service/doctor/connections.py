"""Who else is connected to FreeSWITCH's event socket, read from the kernel's table where FreeSWITCH runs.

Invariants: nothing is asked of FreeSWITCH; a program's name is told where this user may see it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = ("tcp", "tcp6")
_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[([0-9]+)\]")


@dataclass(frozen=True)
class Peer:
    """The other end of a connection; ``program`` is empty where it is not to be seen."""

    address: str
    port: int
    program: str = ""

    def __str__(self) -> str:
        return f"{self.program} ({self.address})" if self.program else self.address


def peers(port: int, own_ports: frozenset[int], proc: Path = Path("/proc")) -> tuple[Peer, ...] | None:
    """Return who is connected to a local TCP port, but for our own connections; None where the kernel does not tell."""
    rows: list[tuple[str, int, str, int, str]] = []
    for name in _TABLES:
        try:
            rows += _rows((proc / "net" / name).read_text(encoding="ascii"))
        except OSError:
            if name == _TABLES[0]:
                return None
    found = {(far, far_port) for _, near_port, far, far_port, _ in rows if near_port == port} - {
        (far, far_port) for _, near_port, far, far_port, _ in rows if near_port == port and far_port in own_ports
    }
    inodes = {(near, near_port): inode for near, near_port, _, far_port, inode in rows if far_port == port}
    programs = _programs({inodes[end] for end in found if end in inodes}, proc)
    return tuple(
        Peer(far, far_port, programs.get(inodes.get((far, far_port), ""), "")) for far, far_port in sorted(found)
    )


def _rows(table: str) -> Iterator[tuple[str, int, str, int, str]]:
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _ESTABLISHED:  # noqa: PLR2004 - proc(5): inode is the tenth
            yield (*_end(fields[1]), *_end(fields[2]), fields[9])


def _end(text: str) -> tuple[str, int]:
    """Read ``0100007F:1F55``: words of four bytes, each in the machine's order, here little-endian."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    ordered = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    ip = ipaddress.ip_address(ordered)
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip), int(port, 16)


def _programs(inodes: set[str], proc: Path) -> dict[str, str]:
    """Return the names of the programs that hold these sockets, as far as this user may look."""
    found: dict[str, str] = {}
    for process in proc.glob("[0-9]*") if inodes else ():
        for handle in _handles(process):
            match = _SOCKET.fullmatch(handle)
            if match and match[1] in inodes:
                with contextlib.suppress(OSError):  # ended meanwhile
                    found[match[1]] = f"{(process / 'comm').read_text().strip()[:32]}, process {process.name}"
    return found


def _handles(process: Path) -> Iterator[str]:
    """Yield what a process has open; nothing of another user's, or of one that ended."""
    with contextlib.suppress(OSError):
        for handle in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                yield str(handle.readlink())
