"""A corpus with a leak in each cell of a table: every spelling in every container, each with a number of its own.

``plant`` writes it and says what a search must find, and where.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import sqlite3
import struct
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# ruff: noqa: E501
# What stands around a leak: stamps, identifiers, addresses and ports, as in the logs of a switch.
BEFORE = b"\n".join(
    b"2026-11-22 10:15:%02d.123456 99.10%% [DEBUG] sofia.c:7499 10.0.0.%d:5060 e3b0c442-98fc-4c14-9afb-f4c8996fb924 port=31%03d"
    % (i % 60, i, i)
    for i in range(60)
)
AFTER = b"\no=FreeSWITCH 1790000000 1790000001 IN IP4 192.0.2.7\ntoken=77123456789019 epoch=1790000000123456\n" * 12


@dataclass(frozen=True)
class Spelling:
    """One way to write a number: national digits to bytes, what it is reported as, where its first digit stands."""

    name: str
    write: Callable[[str], bytes]
    reported: str
    first: int = 0


def _escape(form: str) -> Callable[[str], bytes]:
    return lambda n: "".join(form % ord(digit) for digit in n).encode("ascii")


def _grouped(text: str) -> Callable[[str], bytes]:
    return lambda n: text.format(n[:3], n[3:7], n[7:]).encode("utf-8")


def _encoded(before: bytes, encode: Callable[[bytes], bytes] = base64.b64encode) -> Callable[[str], bytes]:
    return lambda n: encode(before + n.encode("ascii") + b" was called")


SPELLINGS = (
    Spelling("national", lambda n: n.encode(), "plain"),
    Spelling("in letters", lambda n: b"u" + n.encode() + b"x", "plain", 1),
    Spelling("e164", lambda n: b"+86" + n.encode(), "plain", 1),
    Spelling("sip", lambda n: b"<sip:+86" + n.encode() + b"@192.0.2.1:5060>", "plain", 6),
    Spelling("no plus", lambda n: b"86" + n.encode(), "plain"),
    Spelling("abroad", lambda n: b"0086" + n.encode(), "plain"),
    Spelling("trunk", lambda n: b"0" + n.encode(), "plain"),
    Spelling("spaces", _grouped("{} {} {}"), "grouped"),
    Spelling("country and spaces", _grouped("+86 {} {} {}"), "grouped", 1),
    Spelling("dashes", _grouped("{}-{}-{}"), "grouped"),
    Spelling("dots", _grouped("{}.{}.{}"), "grouped"),
    Spelling("brackets", _grouped("({}) {}-{}"), "grouped", 1),
    Spelling("no-break spaces", _grouped("{}\u00a0{}\u00a0{}"), "grouped"),
    Spelling("pluses", _grouped("{}+{}+{}"), "grouped"),
    Spelling("URL, spaces", _grouped("{}%20{}%20{}"), "URL, grouped"),
    Spelling("URL, plus", lambda n: b"sip%3A%2B86" + n.encode() + b"%40192.0.2.1", "plain", 9),
    Spelling("URL, space before", lambda n: b"to%20" + n.encode(), "URL", 5),
    Spelling("URL, every digit", _escape("%%%02x"), "URL"),
    Spelling("escapes, x", _escape("\\x%02x"), "escapes"),
    Spelling("escapes, u", _escape("\\u%04x"), "escapes"),
    Spelling("escapes, entities", _escape("&#%d;"), "escapes"),
    Spelling("full-width", lambda n: n.translate({48 + i: 0xFF10 + i for i in range(10)}).encode(), "full-width"),
    Spelling("hex", lambda n: n.encode().hex().encode(), "hex"),
    Spelling("base64, 0", _encoded(b"number"), "base64", 8),
    Spelling("base64, 1", _encoded(b"number="), "base64", 9),
    Spelling("base64, 2", _encoded(b"a number"), "base64", 10),
    Spelling("base64, URL-safe", _encoded(b"\xfb\xff\xfe=", base64.urlsafe_b64encode), "base64", 5),
    Spelling("base64, at the end", lambda n: base64.b64encode(b"to=" + n.encode()), "base64", 4),
    Spelling("base64, lines", _encoded(b"-" * 50, base64.encodebytes), "base64", 66),
    Spelling("base64, JSON", lambda n: base64.b64encode(f'{{"to":"{n[:3]} {n[3:7]} {n[7:]}"}}'.encode()), "base64, grouped", 9),
    Spelling("base64 in a URL", lambda n: quote(base64.b64encode(b"to=" + n.encode() + b"?")).encode(), "base64", 4),
    Spelling("UTF-16LE", lambda n: f"to {n} x".encode("utf-16-le"), "UTF-16", 6),
    Spelling("UTF-16BE", lambda n: f"to {n} x".encode("utf-16-be"), "UTF-16", 7),
    Spelling("UTF-32", lambda n: f"to {n} x".encode("utf-32-le"), "UTF-32", 12),
)  # fmt: skip


@dataclass(frozen=True)
class Leak:
    """A planted number and what must be reported of it; ``offset`` and ``place`` exclude each other."""

    number: str
    file: str
    line: int | None
    offset: int | None
    place: str | None
    spelling: str


def _gzip(name: str, data: bytes) -> bytes:
    return gzip.compress(data)


def _zip(name: str, data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"d/{name}", data)
    return packed.getvalue()


def _tar(name: str, data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(f"d/{name}")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


# Suffix, what packs, and how the member is told.
CONTAINERS: tuple[tuple[str, Callable[[str, bytes], bytes], str], ...] = (
    ("log", lambda name, data: data, ""),
    ("log.gz", _gzip, ""),
    ("log.bz2", lambda name, data: bz2.compress(data), ""),
    ("log.xz", lambda name, data: lzma.compress(data), ""),
    ("zip", _zip, "!d/{}"),
    ("tar", _tar, "!d/{}"),
    ("tar.gz", lambda name, data: gzip.compress(_tar(name, data)), "!d/{}"),
    ("zip.tar", lambda name, data: _tar(f"{name}.zip", _zip(name, data)), "!d/{0}.zip!d/{0}"),
    ("gz.zip", lambda name, data: _zip(f"{name}.gz", gzip.compress(data)), "!d/{}.gz"),
)


def udp(payload: bytes) -> bytes:
    """An Ethernet frame with a SIP message over IPv4 and UDP."""
    datagram = struct.pack(">HHHH", 5060, 5080, 8 + len(payload), 0) + payload
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
    return b"\2" * 12 + b"\x08\x00" + header + datagram


def tcp(payload: bytes) -> bytes:
    """An Ethernet frame with a segment of one TCP stream over IPv4."""
    segment = struct.pack(">HHIIBBHHH", 5060, 5080, 1, 1, 0x50, 0x10, 999, 0, 0) + payload
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
    return b"\2" * 12 + b"\x08\x00" + header + segment


def pcap(frames: list[bytes]) -> bytes:
    """A capture in libpcap's format."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)


def pcapng(frames: list[bytes]) -> bytes:
    """A capture in pcapng's format."""

    def block(kind: int, body: bytes) -> bytes:
        body += b"\0" * (-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack("<HHI", 1, 0, 65535))
    packets = (block(6, struct.pack("<IIIII", 0, 0, 0, len(frame), len(frame)) + frame) for frame in frames)
    return section + interface + b"".join(packets)


class Corpus:
    """Plants leaks below a folder; ``leaks`` says what must be found."""

    def __init__(self, folder: Path, numbers: Iterator[str]) -> None:
        self.folder = folder
        self._numbers = numbers
        self.leaks: list[Leak] = []

    def plant(self) -> None:
        """Write every cell of the table."""
        for spelling in SPELLINGS:
            for suffix, pack, told in CONTAINERS:
                self._file(spelling, suffix, pack, told)
            self._captures(spelling)
        self._split_segments()
        self._tables()

    def _file(self, spelling: Spelling, suffix: str, pack: Callable[[str, bytes], bytes], told: str) -> None:
        number = next(self._numbers)
        name = f"{spelling.name}.txt"
        written = spelling.write(number)
        offset = len(BEFORE) + 1 + spelling.first
        path = self.folder / f"{spelling.name}.{suffix}"
        path.write_bytes(pack(name, BEFORE + b"\n" + written + AFTER))
        line = None if b"\0" in written else BEFORE.count(b"\n") + 2 + written[: spelling.first].count(b"\n")
        self.leaks.append(Leak(number, f"{path}{told.format(name)}", line, offset, None, spelling.reported))

    def _captures(self, spelling: Spelling) -> None:
        for suffix, write in (("pcap", pcap), ("pcapng", pcapng)):
            number = next(self._numbers)
            path = self.folder / f"{spelling.name}.{suffix}"
            frames = [udp(BEFORE[:900]), udp(b"INVITE\r\nTo: " + spelling.write(number) + b"\r\n"), udp(AFTER[:900])]
            path.write_bytes(write(frames))
            self.leaks.append(Leak(number, str(path), None, None, "packet 2", spelling.reported))

    def _split_segments(self) -> None:
        number = next(self._numbers)
        path = self.folder / "split.pcap"
        path.write_bytes(pcap([tcp(b"To: " + number[:5].encode()), udp(b"other"), tcp(number[5:].encode() + b"\r\n")]))
        self.leaks.append(Leak(number, str(path), None, None, "packet 3", "plain"))

    def _tables(self) -> None:
        text, blob, whole = next(self._numbers), next(self._numbers), next(self._numbers)
        path = self.folder / "cdr.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE cdr (a, b)")
        connection.execute("INSERT INTO cdr VALUES ('x', 'y')")
        connection.execute("INSERT INTO cdr VALUES (?, ?)", ("to " + text, b"\0\1" + blob.encode("utf-16-le")))
        connection.execute("INSERT INTO cdr VALUES (?, 1790000000)", (int(whole),))
        connection.commit()
        connection.close()
        data = path.read_bytes()
        for number, row, spelling, written in (
            (text, 2, "plain", text.encode()), (blob, 2, "UTF-16", blob.encode("utf-16-le")), (whole, 3, "plain", None),
        ):  # fmt: skip
            self.leaks.append(Leak(number, str(path), None, None, f"cdr row {row}", spelling))
            if written is not None:
                self.leaks.append(Leak(number, str(path), None, data.index(written), None, spelling))
