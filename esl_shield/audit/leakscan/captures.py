"""Captures of a network (pcap, pcapng): every packet, and what lies across two packets of a stream.

Invariants: packets are searched whole, headers included; of each TCP stream or fragmented datagram, in the order
captured, the end of what came before is searched again with what follows, so a number split between two is found; how
many streams are remembered is bounded.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING

from esl_shield.audit.leakscan.parts import Unread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esl_shield.audit.leakscan.parts import Reader

PCAPNG = b"\x0a\x0d\x0d\x0a"
_PCAP = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
_MOST_PACKET = 16 << 20
_SEAM = 64
_MOST_STREAMS = 4096
_CUT = "it is cut short: what came before was searched"
# tcpdump.org/linktypes.html: bytes before the IP header, and where its EtherType stands.
_LINKS = {0: 4, 1: 14, 101: 0, 113: 16, 228: 0, 229: 0, 276: 20, 12: 0}
_ETHERNET = 1
_VLAN = (b"\x81\x00", b"\x88\xa8")
_IPV4, _IPV6, _TCP = 4, 6, 6
_LEAST_HEADER = 20
_ENHANCED, _SIMPLE, _INTERFACE, _SECTION = 6, 3, 1, 0x0A0D0D0A


def is_capture(head: bytes) -> bool:
    """Whether a file that begins like this is a capture."""
    return head[:4] in _PCAP or head[:4] == PCAPNG


def packets(source: Reader) -> Iterator[tuple[str, bytes]]:
    """Yield packets, and seams between packets, each under the packet's number; raises Unread."""
    read = _exactly(source)
    head = read(4) or b""
    frames = _pcapng(read, head) if head == PCAPNG else _pcap(read, head)
    tails: OrderedDict[bytes, bytes] = OrderedDict()
    for number, (link, frame) in enumerate(frames, 1):
        yield f"packet {number}", frame
        stream, payload = _payload(link, frame)
        if not payload:
            continue
        before = tails.pop(stream, b"")
        if before:
            yield f"packet {number}", before + payload[:_SEAM]
        tails[stream] = (before + payload)[-_SEAM:]
        if len(tails) > _MOST_STREAMS:
            tails.popitem(last=False)


def _exactly(source: Reader) -> Callable[[int], bytes | None]:
    def read(size: int) -> bytes | None:
        if size > _MOST_PACKET:
            raise Unread("it is a damaged capture: what came before was searched")
        parts, missing = [], size
        while missing and (piece := source.read(missing)):
            parts.append(piece)
            missing -= len(piece)
        if missing and parts:
            raise Unread(_CUT)
        return None if missing else b"".join(parts)

    return read


def _pcap(read: Callable[[int], bytes | None], head: bytes) -> Iterator[tuple[int, bytes]]:
    order = _PCAP[head]
    rest = read(20)
    if rest is None:
        raise Unread(_CUT)
    link = struct.unpack(order + "I", rest[16:])[0] & 0xFFFF
    while (header := read(16)) is not None:
        frame = read(struct.unpack(order + "I", header[8:12])[0])
        if frame is None:
            raise Unread(_CUT)
        yield link, frame


def _pcapng(read: Callable[[int], bytes | None], head: bytes) -> Iterator[tuple[int, bytes]]:
    order, links = "<", list[int]()
    kind: bytes | None = head
    while kind is not None:
        length, extra = read(4), b""
        if kind == PCAPNG:
            extra = read(4) or b""
            order, links = ("<" if extra == b"\x4d\x3c\x2b\x1a" else ">"), []
        if length is None:
            raise Unread(_CUT)
        size = struct.unpack(order + "I", length)[0] - 8 - len(extra)
        body = read(size) if size >= 0 else None
        if body is None:
            raise Unread(_CUT)
        code = struct.unpack(order + "I", kind)[0]
        if code == _INTERFACE:
            links.append(struct.unpack(order + "H", body[:2])[0])
        elif code == _ENHANCED:
            interface, _, _, captured = struct.unpack(order + "IIII", body[:16])
            yield links[interface] if interface < len(links) else -1, body[20 : 20 + captured]
        elif code != _SECTION:
            yield -1, body[:-4]  # comments, names and whatever else it holds
        kind = read(4)


def _payload(link: int, frame: bytes) -> tuple[bytes, bytes]:
    """Return what names the stream a packet belongs to and what it carries; nothing if that is no stream."""
    if link not in _LINKS:
        return b"", b""
    at = _LINKS[link]
    while link == _ETHERNET and frame[at - 2 : at] in _VLAN:
        at += 4
    packet = frame[at:]
    version = packet[0] >> 4 if len(packet) >= _LEAST_HEADER else 0
    if version == _IPV4:
        length = (packet[0] & 15) * 4
        packet = packet[: int.from_bytes(packet[2:4], "big") or None]
        addresses, protocol = packet[12:20], packet[9]
        if int.from_bytes(packet[6:8], "big") & 0x3FFF:  # a fragment: more follow, or this is not the first
            return addresses + packet[4:6], packet[length:]
    elif version == _IPV6:
        length, addresses, protocol = 40, packet[8:40], packet[6]
    else:
        return b"", b""
    body = packet[length:]
    if protocol != _TCP or len(body) < _LEAST_HEADER:
        return b"", b""
    return addresses + body[:4], body[(body[12] >> 4) * 4 :]
