"""A folder of records that could not be posted: what is taken, set aside and left."""

from __future__ import annotations

import os

import pytest

from esl_shield.errors.database import DatabaseAway
from esl_shield.errors.endings import CdrRejected, SpoolUnreadable
from esl_shield.service.spool import MOST_FILES, Spool, Swept


@pytest.fixture
def folder(tmp_path):
    """An empty folder of FreeSWITCH's."""
    return tmp_path


def put(folder, name, content=b"{}", *, age_s=60):
    path = folder / name
    path.write_bytes(content)
    when = path.stat().st_mtime - age_s
    os.utime(path, (when, when))
    return path


def refuse(_data):
    raise CdrRejected(reason="it is none")


def test_a_file_is_removed_when_its_record_was_taken(folder):
    """Only then, and only files of records: others stay."""
    put(folder, "a_1.cdr.json", b"one")
    other = put(folder, "notes.txt")
    seen = []
    assert Spool(str(folder)).sweep(seen.append) == Swept(taken=1)
    assert (seen, list(folder.iterdir())) == ([b"one"], [other])


def test_a_file_stays_when_the_database_is_away(folder):
    """The sweep ends with the error; the next finds the file."""
    path = put(folder, "1.cdr.json")

    def away(_data):
        raise DatabaseAway(problem="x")

    with pytest.raises(DatabaseAway):
        Spool(str(folder)).sweep(away)
    assert path.exists()


def test_what_is_no_record_is_set_aside_once_it_is_written(folder):
    """A young file may be half written, so it is left; an old one gets another name and is not seen again."""
    put(folder, "old.cdr.json")
    young = put(folder, "young.cdr.json", age_s=0)
    assert Spool(str(folder)).sweep(refuse) == Swept(rejected=1, left=1)
    assert {path.name for path in folder.iterdir()} == {"old.cdr.json.rejected", young.name}
    assert Spool(str(folder)).sweep(refuse) == Swept(left=1)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_plain_file_is_not_opened(folder, kind, tmp_path_factory):
    """A link in FreeSWITCH's folder leads nowhere, a FIFO hangs nobody."""
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_bytes(b"secret")
    path = folder / "1.cdr.json"
    {"link": lambda: path.symlink_to(secret), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    seen = []
    assert Spool(str(folder)).sweep(seen.append) == Swept(left=1)
    assert (seen, secret.read_bytes()) == ([], b"secret")


def test_a_sweep_is_bounded(folder):
    """A million files are taken in many sweeps."""
    for number in range(MOST_FILES + 1):
        (folder / f"{number}.cdr.json").write_bytes(b"{}")
    assert Spool(str(folder)).sweep(lambda _data: None).taken == MOST_FILES


def test_a_folder_that_is_not_there_is_said(folder):
    """One error names it."""
    with pytest.raises(SpoolUnreadable, match="none"):
        Spool(str(folder / "none")).sweep(refuse)
