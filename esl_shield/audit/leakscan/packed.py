"""Gzip, bzip2 and xz as readers of what they hold, several streams behind each other included.

Invariants: at most a chunk is unpacked at a time; what is cut short or damaged is ``Unread`` after all that could be
unpacked was given.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import zlib
from typing import TYPE_CHECKING, Protocol

from esl_shield.audit.leakscan.parts import CHUNK_BYTES, Unread

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.audit.leakscan.parts import Allowance, Reader

GZIP, BZIP2, XZ = b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """zlib's object with the manners of those of bz2 and lzma: it keeps what it did not get to."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(_GZIP_WINDOW)
        self._damaged = False

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail and not self._damaged

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._damaged:
            raise zlib.error
        data = self._object.unconsumed_tail + data
        before = self._object.copy()
        try:
            return self._object.decompress(data, max_length)
        except zlib.error:
            # What zlib unpacked before it came to the damage it has thrown away: fetch it byte by byte.
            unpacked = _as_far_as_it_goes(before, data)
            self._damaged = True
            if not unpacked:
                raise
            return unpacked


def _as_far_as_it_goes(stream: zlib._Decompress, data: bytes) -> bytes:
    parts = []
    with contextlib.suppress(zlib.error):
        for at in range(len(data)):
            parts.append(stream.decompress(data[at : at + 1]))  # noqa: PERF401 - what came before an error is kept
    return b"".join(parts)


_MAKERS: dict[bytes, Callable[[], _Decompressor]] = {
    GZIP: _Gzip,
    BZIP2: bz2.BZ2Decompressor,
    XZ: lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ),
}


def unpacker(head: bytes) -> Callable[[], _Decompressor] | None:
    """Return what makes decompressors for a file that begins like this, None if it is not packed."""
    return next((maker for magic, maker in _MAKERS.items() if head.startswith(magic)), None)


class Unpacked:
    """A reader of what a packed stream holds."""

    def __init__(self, source: Reader, make: Callable[[], _Decompressor], allowance: Allowance) -> None:
        self._source = source
        self._make = make
        self._allowance = allowance
        self._stream = make()

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end; raises Unread where it is damaged."""
        while True:
            packed = b""
            if self._stream.eof:
                packed = self._stream.unused_data.lstrip(b"\0") or self._source.read(CHUNK_BYTES).lstrip(b"\0")
                if not packed:
                    return b""
                self._stream = self._make()
            elif self._stream.needs_input:
                packed = self._source.read(CHUNK_BYTES)
                if not packed:
                    raise Unread("it is cut short: what came before was searched")
            try:
                data = self._stream.decompress(packed, min(size, CHUNK_BYTES))
            except (OSError, EOFError, lzma.LZMAError, zlib.error):
                raise Unread("it is damaged: what came before was searched") from None
            if data:
                self._allowance.take(len(data))
                return data
