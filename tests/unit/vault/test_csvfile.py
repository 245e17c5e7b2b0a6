import contextlib
import csv
import io
import os
import stat
import subprocess
import sys
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.errors.tokens import CsvRejected, LabelRejected, OutputRejected
from esl_shield.vault import csvfile
from esl_shield.vault.csvfile import Header, Output, Source

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
KNOWN = ("number", "alias", "expires_at")


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _records_of_pipe(content):
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as writing:
        writing.write(content)
    with os.fdopen(read_end, "rb") as reading:
        return [record for _, record in Source(reading, "pipe").records()]


@pytest.fixture
def read(tmp_path):
    """Read bytes as a CSV file: a function from content to records."""

    def _read(content):
        path = tmp_path / "in.csv"
        path.write_bytes(content)
        with path.open("rb") as stream:
            return list(Source(stream, "in.csv").records())

    return _read


def test_records(read):
    """Records come with the number of their first line; empty lines are passed over; a field may have several lines."""
    content = b'number,alias\n1,"a\nb"\n\n2,c\r\n3,"d""e"'
    assert read(content) == [(1, ["number", "alias"]), (2, ["1", "a\nb"]), (5, ["2", "c"]), (6, ["3", 'd"e'])]


def test_bom(read):
    """A byte order mark before the header is no part of it."""
    assert read("\ufeffnumber\n1\n".encode())[0] == (1, ["number"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("number\n１\n".encode("gbk"), "line 2 is not UTF-8"),
        (b"number\n13800138001\xff\n", "line 2 is not UTF-8"),
        ("number\n1\n".encode("utf-16"), "NUL byte"),
        (b"number\n1380\x00\n", "line 2 holds a NUL byte"),
        (b'number\n"13800138001\n', "line 2"),
        (b'number\n"1"3800138001\n', "line 2"),
        (b"number\r13800138001\r", "new-line character"),
        (b"number\n" + b"1" * (csvfile.MAX_FIELD_CHARS + 1), "field larger"),
        (b"number\n" + b"1" * (csvfile.MAX_LINE_BYTES + 1), "line 2 is longer"),
        (b'number\n"' + b"1\n" * csvfile.MAX_FIELD_CHARS, "field larger"),
    ],
)
def test_broken_files(read, content, problem):
    """A file of another encoding, broken quoting or endless lines is refused with its line and without its content."""
    with pytest.raises(CsvRejected, match=r"in\.csv cannot be imported") as caught:
        read(content)
    assert problem in str(caught.value)
    assert "138001" not in str(caught.value)


def test_field_limit_is_put_back(read):
    """Reading leaves the csv module's own limit as it was."""
    before = csv.field_size_limit()
    read(b"number\n1\n")
    assert csv.field_size_limit() == before


@given(st.lists(st.lists(ANY_TEXT, min_size=2, max_size=5)))
def test_round_trip(rows):
    """Whatever csv writes is read back as it was, but for carriage returns outside of quotes."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    assert _records_of_pipe(text.getvalue().encode()) == rows


@given(
    st.lists(st.sampled_from([b"a,b\n", "\u2028é,b\r\n".encode(), b'"x\ny",z\n', b"\n", b"\xff\n", b"a\0\n", b"c"])),
    st.sampled_from([1, 2, 3, 7, 64]),
)
def test_blocks_do_not_show(parts, size):
    """Wherever a block ends, records, line numbers and errors are those of a file read in one."""

    def outcome(block_bytes):
        with mock.patch.object(csvfile, "_BLOCK_BYTES", block_bytes):
            try:
                return _records_of_pipe("\ufeff".encode() + b"".join(parts))
            except CsvRejected as error:
                return str(error)

    assert outcome(size) == outcome(2**16)


def test_a_line_over_many_blocks(read, monkeypatch):
    """A line that never ends is refused where it is too long, not when memory is."""
    monkeypatch.setattr(csvfile, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(csvfile, "_BLOCK_BYTES", 7)
    assert read(b"number\n" + b"1" * 90 + b"\n") == [(1, ["number"]), (2, ["1" * 90])]
    with pytest.raises(CsvRejected, match="line 2 is longer than 100 bytes"):
        read(b"number\n" + b"1" * 300 + b"\n1\n")


@given(st.binary(max_size=300))
def test_takes_any_bytes(content):
    """Any bytes are records or one of our errors."""
    with contextlib.suppress(CsvRejected):
        _records_of_pipe(content)


@pytest.mark.parametrize(
    ("record", "labels", "error"),
    [
        (None, [], "it is empty"),
        (["13800138001", "alias"], [], "no column number"),
        (["number;alias"], [], "separated by commas"),
        (["number", "number"], [], "names the column number twice"),
        (["number", "city"], ["town"], "no column 'town'"),
        (["number", "city", "city"], ["city"], "names the column city twice"),
    ],
)
def test_bad_headers(tmp_path, record, labels, error):
    """A header that is missing, ambiguous or without a column asked for is refused without repeating its cells."""
    (tmp_path / "x").write_bytes(b"")
    with (tmp_path / "x").open("rb") as stream, pytest.raises((CsvRejected, LabelRejected), match=error) as caught:
        Header.read(Source(stream, "x"), record, KNOWN, labels)
    assert "138001" not in str(caught.value)


def test_header(tmp_path):
    """Columns are found in any order and case, others are dropped, a ragged record has no cells."""
    (tmp_path / "x").write_bytes(b"")
    with (tmp_path / "x").open("rb") as stream:
        header = Header.read(Source(stream, "x"), ["City", " Alias", "NUMBER ", "note"], KNOWN, ["City"])
    assert header.cells(["B", "a", "1", "n"]) == {"number": "1", "alias": "a", "City": "B"}
    assert header.cells(["B", "a", "1"]) is None
    assert header.number_of(["B", "a", "1"]) == "1"
    assert header.number_of(["B"]) == ""


def test_output_appears_whole(tmp_path):
    """An output has its name, mode 0600, only after commit; the partial file is gone."""
    path = tmp_path / "out.csv"
    with Output(path) as output:
        output.write([["a", "b,c"]])
        assert not path.exists()
        output.commit()
    assert path.read_text() == 'a,"b,c"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _names(tmp_path) == ["out.csv"]


def test_output_of_a_failure(tmp_path):
    """After an error an earlier output is as it was, and nothing else is left."""
    path = tmp_path / "out.csv"
    path.write_text("before")
    with contextlib.suppress(ZeroDivisionError), Output(path) as output:
        output.write([["half"]])
        raise ZeroDivisionError
    assert path.read_text() == "before"
    assert _names(tmp_path) == ["out.csv"]


def test_output_begins_anew(tmp_path):
    """The partial file of a killed import is written over, and is private whatever its mode was."""
    partial = tmp_path / "out.csv.partial"
    partial.write_text("old" * 1000)
    partial.chmod(0o666)
    with Output(tmp_path / "out.csv") as output:
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        output.write([["new"]])
        output.commit()
    assert (tmp_path / "out.csv").read_text() == "new\n"


def test_output_of_two(tmp_path):
    """A second import that would write the same output is refused, the first goes on."""
    with Output(tmp_path / "out.csv") as first:
        with pytest.raises(OutputRejected, match="another import"):
            Output(tmp_path / "out.csv").__enter__()
        first.write([["first"]])
        first.commit()
    assert (tmp_path / "out.csv").read_text() == "first\n"


def test_output_is_no_link(tmp_path):
    """A link in the partial file's place is not followed."""
    (tmp_path / "target").write_text("precious")
    (tmp_path / "out.csv.partial").symlink_to(tmp_path / "target")
    with pytest.raises(OutputRejected):
        Output(tmp_path / "out.csv").__enter__()
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize("name", ["none/out.csv", "."])
def test_output_that_cannot_be(tmp_path, name):
    """An output in no folder, or in a folder's place, is one clear error."""
    with pytest.raises(OutputRejected):
        Output(tmp_path / name).__enter__()


def test_full_disk(tmp_path):
    """A full disk is one clear error and leaves no file."""
    code = """
import resource, signal, sys
from pathlib import Path
from esl_shield.errors.tokens import OutputRejected
from esl_shield.vault.csvfile import Output
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with Output(Path(sys.argv[1])) as output:
        for _ in range(10_000):
            output.write([["x" * 100]])
        output.commit()
except OutputRejected as error:
    sys.exit(str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out.csv")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("[import.bad_output]")
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("output", "rejected"), [("a.csv", "a.rejected.csv"), ("a", "a.rejected.csv"), ("a.b.csv", "a.b.rejected.csv")]
)
def test_rejected_path(tmp_path, output, rejected):
    """Rejected rows go beside the output."""
    assert csvfile.rejected_path(tmp_path / output) == tmp_path / rejected


@pytest.mark.parametrize("value", ["=1+1", "+VIP", "-5", "@SUM(A1)", "\t=1", "\r=1"])
def test_defused(value):
    """A value a spreadsheet would run has an apostrophe before it; others are as they were."""
    assert csvfile.defused(value) == "'" + value
    assert csvfile.defused("a" + value) == "a" + value
