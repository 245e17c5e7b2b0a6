"""A name server of the tests' own, on loopback."""

from __future__ import annotations

import socket
import struct
import threading

from ports import HOST


class NameServer(threading.Thread):
    """Answers SRV questions about ``carrier.test`` and A questions about ``h.test`` on a loopback address."""

    ADDRESS = "127.0.0.53"

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.targets: list[tuple[int, int]] = []  # (priority, port) of each
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((self.ADDRESS, 53))
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(0.1)
        self._ended = False

    def run(self) -> None:
        """Answer until stopped."""
        while not self._ended:
            try:
                query, source = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            self._socket.sendto(self._answer(query), source)

    def stop(self) -> None:
        """Stop answering."""
        self._ended = True
        self.join(5)
        self._socket.close()

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        kind = int.from_bytes(query[end - 4 : end - 2], "big")
        records: list[bytes] = []
        if kind == 33 and query[12:].startswith(b"\x04_sip\x04_udp"):
            records = [struct.pack("!HHH", priority, 0, port) + b"\x01h\x04test\0" for priority, port in self.targets]
        elif kind == 1 and query[12:].startswith(b"\x01h\x04test"):
            records = [socket.inet_aton(HOST)]
        head = query[:2] + b"\x85\x80" + struct.pack("!HHHH", 1, len(records), 0, 0)
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for data in records)
        return head + query[12:end] + body
