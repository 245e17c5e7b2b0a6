"""Zip and tar archives: each member is a part, and may itself be packed."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING, cast

from esl_shield.audit.leakscan.parts import Unread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from esl_shield.audit.leakscan.parts import Allowance, Reader

ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_TAR_MAGIC_AT = 257
TAR_HEAD = 512
_ENCRYPTED = 1
# What is read in one step is lost when its end is missing.
_STEP = 512


def is_tar(head: bytes) -> bool:
    """Whether a file that begins like this is a tar archive."""
    return head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar"


class Metered:
    """A reader that counts what it gives, and turns a damaged member into Unread."""

    def __init__(self, source: IO[bytes], allowance: Allowance) -> None:
        self._source = source
        self._allowance = allowance

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end; raises Unread."""
        try:
            data = self._source.read(min(size, _STEP))
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError):
            raise Unread("it is damaged: what came before was searched") from None
        self._allowance.take(len(data))
        return data


def zipped(source: Path | IO[bytes], allowance: Allowance) -> Iterator[tuple[str, Reader | str]]:
    """Yield members by name, each with a reader or the reason it cannot be read; raises Unread for the archive."""
    try:
        archive = zipfile.ZipFile(source)
        members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise Unread("it is a damaged zip archive, or a part of one") from None
    with archive:
        for member in members:
            if member.is_dir():
                continue
            try:
                stream = archive.open(member)
            except (RuntimeError, NotImplementedError, zipfile.BadZipFile, OSError):
                locked = member.flag_bits & _ENCRYPTED
                yield member.filename, "it is encrypted" if locked else "it is packed in an unknown way, or damaged"
                continue
            with stream:
                yield member.filename, Metered(stream, allowance)


def tarred(source: Reader, allowance: Allowance) -> Iterator[tuple[str, Reader | str]]:
    """Yield members by name, each with its reader; raises Unread for the archive."""
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    yield member.name, Metered(stream, allowance)
                elif member.linkname:
                    yield f"{member.name} -> {member.linkname}", io.BytesIO()
    except (tarfile.TarError, EOFError, OSError, ValueError):
        raise Unread("it is a damaged tar archive: what came before was searched") from None
