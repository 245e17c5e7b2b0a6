"""WAL segments' names and the gaps between them; pgBackRest's file."""

from __future__ import annotations

import pytest

from esl_shield.config.backup import BackupConfig
from esl_shield.errors.backup import PgBackRestUnreadable
from esl_shield.service.backup.pgbackrest import read_settings
from esl_shield.service.backup.segments import Segment, gaps

SIZE = 16 << 20


def _segments(*names: str) -> list[Segment]:
    return [Segment.parse(name, SIZE) for name in names]


@pytest.mark.parametrize(
    "name",
    ["000000010000000000000001", "0000000100000000000000FF", "000000020000000100000000", "0000000A0000001200000034"],
)
def test_a_name_read_and_written_is_the_same(name):
    """A segment's name survives being read."""
    assert Segment.parse(name, SIZE).name(SIZE) == name


@pytest.mark.parametrize("size", [1 << 20, 16 << 20, 1 << 30], ids=["1M", "16M", "1G"])
def test_the_next_log_follows_the_last_segment_of_one(size):
    """A log has as many segments as fit 4 GiB."""
    last = Segment(1, (1 << 32) // size - 1)
    assert Segment(1, last.number + 1).name(size) == "000000010000000100000000"


@pytest.mark.parametrize("name", ["", "00000001", "00000001000000000000000g", "000000010000000000000001.partial"])
def test_what_is_no_segment_is_refused(name):
    """Only 24 hexadecimal digits are a segment's name."""
    with pytest.raises(ValueError, match="not the name of a WAL segment"):
        Segment.parse(name, SIZE)


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (["000000010000000000000003", "000000010000000000000004"], []),
        (["000000010000000000000003", "000000010000000000000005"], ["4-4"]),
        (["000000010000000000000003", "000000010000000000000008"], ["4-7"]),
        (["000000010000000000000001", "000000010000000000000004"], ["3-3"]),
        (["000000010000000000000003", "000000020000000000000003", "000000020000000000000004"], []),
        (["000000010000000000000003", "000000020000000000000004"], []),
        (["000000010000000000000003", "000000020000000000000005"], ["4-4"]),
        (["000000010000000000000005", "000000010000000000000003", "000000010000000000000007"], ["4-4", "6-6"]),
    ],
    ids=["none", "one", "several", "the first", "timeline", "next timeline", "gap at timeline", "two gaps"],
)
def test_gaps(there, missing):
    """Each run of missing segments from the first one needed is found, across timelines too."""
    found = gaps(_segments(*there), Segment(1, 3))
    assert [f"{first.number}-{last.number}" for first, last in found] == missing


CONF = """
[global]
repo1-path=/backup
repo1-retention-full=2
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=sesame-one
repo2-type=s3
repo2-path=/shield
repo2-cipher-pass=sesame-one
repo3-host=backup.example
repo3-path=/shield
[global:archive-push]
compress-level=3
[shield]
pg1-path=/var/lib/postgresql/15/main
repo1-retention-full=4
[other]
pg1-path=/elsewhere
"""


def test_pgbackrests_file_is_read_as_pgbackrest_reads_it(tmp_path):
    """The stanza's own section comes first; only folders of this machine have a path; a shared pass phrase is seen."""
    path = tmp_path / "pgbackrest.conf"
    path.write_text(CONF)
    path.chmod(0o644)
    settings = read_settings(BackupConfig("shield", config=str(path)))
    assert settings.database_folder == "/var/lib/postgresql/15/main"
    assert {n: r.path for n, r in settings.repositories.items()} == {1: "/backup", 2: None, 3: None}
    assert settings.repositories[1].retention == 4
    assert settings.repositories[2].same_pass_as == (1,)
    assert settings.exposed == "0644"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize("text", ["repo1-cipher-pass=sesame", "[global]\nrepo1-cipher-pass sesame\n"])
def test_a_file_that_cannot_be_read_is_refused_without_its_lines(tmp_path, text):
    """A broken file is one sentence that quotes none of its lines."""
    path = tmp_path / "pgbackrest.conf"
    path.write_text(text)
    with pytest.raises(PgBackRestUnreadable) as caught:
        read_settings(BackupConfig("shield", config=str(path)))
    assert "sesame" not in str(caught.value)
    assert caught.value.__context__ is None
