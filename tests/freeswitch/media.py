"""RTP of one telephone: audio that is silence or speech, digits by RFC 4733, and what comes back."""

from __future__ import annotations

import re
import secrets
import socket
import struct
import threading
import time

from ports import HOST, free_port

TELEPHONE_EVENT = 101
_SIGNALS = "0123456789*#ABCD"


class Media:
    """RTP of one phone: a stream of silence, digits by RFC 4733, and what comes back."""

    def __init__(self) -> None:
        self.port = free_port()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, self.port))
        self._socket.settimeout(0.02)
        self._to: tuple[str, int] | None = None
        self.sequence, self._stamp, self._source = 1, 0, secrets.randbits(32)
        self._pending: list[bytes] = []
        self.digits: list[str] = []
        self.packets = 0
        self.loud = 0  # packets of audio that are not silence
        self.speaks = False
        self._last_event = -1
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def towards(self, sdp: str) -> None:
        """Send to the address a description names."""
        host, port = re.search(r"^c=IN IP4 (\S+)", sdp, re.MULTILINE), re.search(r"^m=audio (\d+)", sdp, re.MULTILINE)
        if host and port:
            self._to = (HOST if host[1] == "0.0.0.0" else host[1], int(port[1]))  # noqa: S104 - hold of old

    def press(self, signal: str) -> None:
        """Queue a digit: 8 packets, the last 3 marked as its end."""
        code = _SIGNALS.index(signal)
        for position in range(8):
            end = 0x80 if position >= 5 else 0
            self._pending.append(struct.pack("!BBH", code, end | 10, min(position + 1, 6) * 160))

    def stop(self) -> None:
        """End the stream."""
        self._stopping.set()
        self._thread.join(2)
        self._socket.close()

    def _run(self) -> None:
        pressed_at = 0
        following = time.monotonic()
        while not self._stopping.is_set():
            self._receive(following - time.monotonic())
            if time.monotonic() < following:
                continue
            following += 0.02
            if not self._to:
                continue
            if self._pending:
                pressed_at = pressed_at or self._stamp
                self._send(TELEPHONE_EVENT, pressed_at, self._pending.pop(0))
                pressed_at = pressed_at if len(self._pending) % 8 else 0
            else:
                self._send(8, self._stamp, (b"\x24\xa4" if self.speaks else b"\xd5\xd5") * 80)
            self._stamp += 160

    def _send(self, kind: int, stamp: int, payload: bytes) -> None:
        header = struct.pack("!BBHII", 0x80, kind, self.sequence & 0xFFFF, stamp & 0xFFFFFFFF, self._source)
        self.sequence += 1
        assert self._to
        self._socket.sendto(header + payload, self._to)

    def _receive(self, within_s: float) -> None:
        self._socket.settimeout(max(within_s, 0.001))
        try:
            data = self._socket.recv(2048)
        except TimeoutError:
            return
        kind, stamp = data[1] & 0x7F, struct.unpack("!I", data[4:8])[0]
        if kind == TELEPHONE_EVENT:
            if stamp != self._last_event:
                self.digits.append(_SIGNALS[data[12]])
                self._last_event = stamp
            return
        self.packets += 1
        self.loud += len(set(data[12:]) - {0xD5, 0x55}) > 1
