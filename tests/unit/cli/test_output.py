import datetime as dt
import json
import uuid
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from esl_shield.cli import output
from esl_shield.cli.careful import hide_numbers, may_be_number

ROWS = [
    {"at": dt.datetime(2030, 1, 1, 8, tzinfo=dt.timezone(dt.timedelta(hours=8))), "n": None, "talk": Decimal("1.500")},
    {"at": dt.datetime(2030, 1, 2, microsecond=123456, tzinfo=dt.UTC), "n": "x\x1b[2J\n京", "talk": 2},
]


def test_table(capsys):
    """A table has titles, aligned columns, dashes for nothing, and escapes for control characters."""
    output.print_rows(ROWS, ["at", "n"], "table")
    assert capsys.readouterr().out.splitlines() == [
        "AT                    N",
        "2030-01-01T00:00:00Z  -",
        "2030-01-02T00:00:00Z  x\\x1b[2J\\n京",
    ]


def test_empty_table(capsys):
    """A table of no rows is its titles."""
    output.print_rows([], ["at", "n"], "table")
    assert capsys.readouterr().out == "AT  N\n"


def test_json(capsys):
    """JSON is one object a line, with moments in UTC."""
    output.print_rows(ROWS, ["at", "talk"], "json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"at": "2030-01-01T00:00:00Z", "talk": 1.5}, {"at": "2030-01-02T00:00:00Z", "talk": 2}]


def test_result(capsys):
    """What was done is a line for each thing, or one object."""
    output.print_result({"created": 1}, ["one\x1b", "two"], "table")
    output.print_result({"created": 1}, ["one", "two"], "json")
    assert capsys.readouterr().out == 'one\\x1b\ntwo\n{"created": 1}\n'


def test_stream(capsys):
    """Rows that come one by one have titles and the widths given; a longer value pushes the rest aside."""
    output.print_stream(ROWS, {"n": 3, "at": 0}, "table")
    assert capsys.readouterr().out.splitlines() == [
        "N    AT",
        "-    2030-01-01T00:00:00Z",
        "x\\x1b[2J\\n京  2030-01-02T00:00:00Z",
    ]


def test_record(capsys):
    """One object is its fields, one a line; nested values stay on theirs."""
    output.print_record({"id": uuid.UUID(int=1), "labels": {"a": "b\n"}, "aliases": ["x", "y"]}, "table")
    assert capsys.readouterr().out == ("id       00000000-0000-0000-0000-000000000001\nlabels   a=b\\n\naliases  x,y\n")


@given(st.text(max_size=50))
def test_cell_is_printable(text):
    """Whatever a cell holds, nothing of it moves the cursor."""
    assert output.cell(text).isprintable()
    assert output.cell([text, {"k": text}]).isprintable()


def test_hidden_numbers():
    """What may be a number is hidden in names of files, and nothing else."""
    assert hide_numbers("/srv/13800138001.csv") == "/srv/(hidden).csv"
    assert hide_numbers("/srv/１３８００１３８００１.csv") == "/srv/(hidden).csv"
    assert hide_numbers("+86 138-0013-8001") == "(hidden)"
    assert hide_numbers("customers-2030.csv") == "customers-2030.csv"
    assert not may_be_number("C-2023")
