"""Files as they are in a hostile world."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import resource
import sqlite3
import struct
import tarfile
import threading
import zipfile

import pytest
from leak_corpus import pcap, pcapng, udp
from leak_finder import search

from esl_shield.audit.leakscan import digits, parts
from esl_shield.audit.leakscan.parts import CHUNK_BYTES
from esl_shield.audit.leakscan.search import AHEAD_BYTES, BACK_BYTES

NUMBER = b"13800138001"


@pytest.mark.parametrize("edge", [CHUNK_BYTES, CHUNK_BYTES - AHEAD_BYTES, 2 * CHUNK_BYTES - AHEAD_BYTES])
@pytest.mark.parametrize(
    "spelled", [NUMBER, b"138 0013 8001", b"MTM4MDAxMzgwMDE=", b"%31%33%38%30%30%31%33%38%30%30%31"]
)
def test_a_number_across_two_reads_is_found_once(tmp_path, edge, spelled):
    """Wherever a chunk or a window ends, the number is reported once, at its exact offset and line."""
    path = tmp_path / "log"
    for shift in (-len(spelled) - 1, -len(spelled), -7, -4, -1, 0, 1, -BACK_BYTES, BACK_BYTES):
        at = edge + shift
        path.write_bytes((b"x" * 99 + b"\n") * (at // 100) + b" " * (at % 100) + spelled + b"\n" + b"y\n" * 5000)
        found = search(path).found
        assert [(f.offset, f.line) for f in found] == [(at, at // 100 + 1)], shift


def test_a_growing_file_is_searched_to_where_it_was(tmp_path):
    """A log that is written to faster than it is read does not keep the search for ever."""
    path = tmp_path / "log"
    path.write_bytes(b"x\n" * 100_000 + NUMBER + b"\n")
    stop = threading.Event()

    def grow():
        with path.open("ab") as log:
            while not stop.is_set():
                log.write(b"z\n" * 100_000)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        assert [f.line for f in search(path).found] == [100_001]
    finally:
        stop.set()
        writer.join()


def test_links_loops_fifos_and_sockets(tmp_path):
    """Links are not followed, FIFOs not opened; a number in a link's target is found, and hidden."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "out").symlink_to("/nowhere/+8613800138001")
    (tmp_path / "real").write_bytes(NUMBER)
    (tmp_path / "again").symlink_to(tmp_path / "real")
    result = search(tmp_path)
    assert [(f.file, f.place) for f in result.found] == [
        (f"{tmp_path}/out -> /nowhere/+*************", "name"),
        (f"{tmp_path}/real", None),
    ]
    assert (result.scan.totals.left_out, result.unread) == (1, [])


def test_a_path_given_as_a_link_is_followed_and_a_fifo_is_refused(tmp_path):
    """What somebody names is what he means."""
    (tmp_path / "real").write_bytes(NUMBER)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "fifo")
    assert len(search(tmp_path / "link").found) == 1
    assert search(tmp_path / "fifo").unread[0][0] == f"{tmp_path}/fifo"
    assert search(tmp_path / "none").unread == [(f"{tmp_path}/none", "No such file or directory")]


def test_names_are_searched_and_hidden(tmp_path):
    """A number in the name of a file, a folder or an archive's member is a finding, and shown nowhere."""
    folder = tmp_path / "+86 138 0013 8001"
    folder.mkdir()
    (folder / "rec-13800138001.txt").write_bytes(b"x\n" + NUMBER)
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("13800138001.wav", b"RIFF")
    (folder / "b.gz").write_bytes(gzip.compress(NUMBER + b"\n" + os.urandom(999).hex().encode())[:-9])
    result = search(tmp_path)
    hidden = f"{tmp_path}/+" + "*" * len("86 138 0013 8001")
    assert [(f.file, f.place, f.line) for f in result.found] == [
        (hidden, "name", None),
        (f"{hidden}/a.zip!***********.wav", "name", None),
        (f"{hidden}/b.gz", None, 1),
        (f"{hidden}/rec-***********.txt", "name", None),
        (f"{hidden}/rec-***********.txt", None, 2),
    ]
    assert [name for name, _ in result.unread] == [f"{hidden}/b.gz"]
    assert b"8001" not in repr((result.found, result.unread)).encode()


def _tar(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("log")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


LOG = b"a line\n" * 20_000 + NUMBER + b"\n" + os.urandom(60_000)
DAMAGED = {
    "gzip cut": gzip.compress(LOG)[:-2000],
    "gzip without its trailer": gzip.compress(LOG)[:-4],
    "gzip with rubbish behind": gzip.compress(LOG) + b"rubbish",
    "gzip with a flipped bit": gzip.compress(LOG)[:-8] + b"12345678",
    "bzip2 with rubbish behind": bz2.compress(LOG) + b"rubbish",
    "xz cut": lzma.compress(LOG)[:-2000],
    "tar cut": _tar(LOG)[:-20_000],
    "tar.gz cut": gzip.compress(_tar(LOG))[:-2000],
    "capture cut": pcap([udp(b"To: " + NUMBER), udp(b"x" * 500)])[:-100],
    "capture of nonsense": pcap([udp(b"To: " + NUMBER)]) + struct.pack("<IIII", 0, 0, 2**31, 0) + b"x" * 99,
    "capture, next generation, cut": pcapng([udp(b"To: " + NUMBER), udp(b"x" * 500)])[:-100],
    "SQLite cut": b"SQLite format 3\0" + b"\0" * 5000 + NUMBER + b"\0" * 5000,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_damaged_is_searched_as_far_as_it_goes_and_told(tmp_path, kind):
    """A number before the damage is found, and the file is said not to be searched to its end, once."""
    (tmp_path / "file").write_bytes(DAMAGED[kind])
    result = search(tmp_path)
    assert len(result.found) == 1
    assert len(result.unread) == 1
    assert result.scan.totals.unread == 1


CLOSED = {
    "zip of rubbish": b"PK\x03\x04" + os.urandom(500),
    "pg_dump": b"PGDMP\x01\x0e\0" + os.urandom(500),
    "zstd": b"\x28\xb5\x2f\xfd" + os.urandom(500),
    "lzip": b"LZIP\x01" + os.urandom(500),
    "compress": b"\x1f\x9d\x90" + os.urandom(500),
    "Parquet": b"PAR1" + os.urandom(500),
    "Avro": b"Obj\x01" + os.urandom(500),
    "PDF": b"%PDF-1.7\n" + os.urandom(500),
    "7z": b"7z\xbc\xaf\x27\x1c" + os.urandom(500),
}


@pytest.mark.parametrize("kind", CLOSED)
def test_what_cannot_be_looked_into_is_told(tmp_path, kind):
    """A format that would hide everything is never passed over as clean."""
    (tmp_path / "file").write_bytes(CLOSED[kind])
    assert [name for name, _ in search(tmp_path).unread] == [f"{tmp_path}/file"]


def test_an_encrypted_member_is_told_and_the_others_searched(tmp_path):
    """One locked member does not keep the search from the rest of an archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("locked", b"secret")
        archive.writestr("open", NUMBER)
    data = bytearray(packed.getvalue())
    data[6] |= 1  # the first member's flags, here and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    result = search(tmp_path)
    assert result.unread == [(f"{tmp_path}/a.zip!locked", "it is encrypted")]
    assert [f.file for f in result.found] == [f"{tmp_path}/a.zip!open"]


def _bomb(times: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros", "w", force_zip64=True) as member:
            for _ in range(times):
                member.write(b"\0" * (1 << 20))
        archive.writestr("behind", NUMBER)
    return packed.getvalue()


def test_what_a_log_of_sqlite_holds_is_found(tmp_path):
    """Rows that are in the write-ahead log and not yet in the database are found in the log itself."""
    path = tmp_path / "cdr.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES ('13800138001')")
    connection.commit()
    found = search(tmp_path).found
    connection.close()
    assert [f.file for f in found] == [f"{path}-wal"]


def test_streams_behind_each_other_are_one(tmp_path):
    """Of a gzip, bzip2 or xz file of several streams the last is searched as well."""
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        (tmp_path / f"log.{name}").write_bytes(pack(b"one\n") + pack(b"two\n" + NUMBER))
    result = search(tmp_path)
    assert [f.line for f in result.found] == [3] * 3
    assert result.unread == []


def test_a_folder_that_may_not_be_read_and_a_file_that_vanishes_are_told_or_left(tmp_path, monkeypatch):
    """No permission is told with its reason; what is gone when its turn comes is no fault."""
    for name in ("gone", "locked"):
        (tmp_path / name).write_bytes(NUMBER)
    opened = os.open

    def open_(path, *arguments, **more):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        if str(path).endswith("gone"):
            path.unlink()
        return opened(path, *arguments, **more)

    monkeypatch.setattr(os, "open", open_)
    result = search(tmp_path)
    assert result.unread == [(f"{tmp_path}/locked", "Permission denied")]
    assert result.found == []


def test_a_bomb_costs_little(tmp_path, monkeypatch):
    """What unpacks to a thousand times its size is left off, told, and never held in memory."""
    monkeypatch.setattr(parts, "_LEAST_ALLOWANCE", 16 << 20)
    bomb = _bomb(64)
    (tmp_path / "bomb.zip").write_bytes(bomb)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"\0" * (64 << 20)))
    for _ in range(8):
        bomb = gzip.compress(bomb, 1)
    (tmp_path / "deep.gz").write_bytes(bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = search(tmp_path)
    assert {name for name, _ in result.unread} >= {
        f"{tmp_path}/bomb.gz",
        f"{tmp_path}/bomb.zip!zeros",
        f"{tmp_path}/deep.gz",
    }
    assert result.scan.totals.bytes < 64 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_deleted_rows_are_found_in_the_pages(tmp_path):
    """What SQLite has deleted and not overwritten is found in the file itself."""
    path = tmp_path / "cdr.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA secure_delete = off")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES ('13800138001')")
    connection.commit()
    connection.execute("DELETE FROM t")
    connection.commit()
    connection.close()
    found = search(path).found
    assert [(f.place, f.offset is not None) for f in found] == [(None, True)]


def test_memory_is_flat(tmp_path, monkeypatch):
    """Memory does not grow with what is searched, and what is remembered of runs is bounded."""
    monkeypatch.setattr(digits, "MOST_REMEMBERED", 1000)
    path = tmp_path / "log"
    with path.open("wb") as log:
        for block in range(32):
            log.write(
                b"".join(b"%016d is all that is in this line of a log\n" % (block * 20_000 + i) for i in range(20_000))
            )
        log.write(b"".join(b"138 %04d %04d\n" % (i // 10_000 + 13, i % 10_000) for i in range(5_000, 15_000)))
    first = search(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    search(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10  # KiB
    assert len(first.found) == 1
    assert len(first.scan._search.speller._cutter._known) <= 1000
