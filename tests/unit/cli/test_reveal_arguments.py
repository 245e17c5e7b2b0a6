"""What a reveal's texts may hold, and how its answer is spelled."""

from __future__ import annotations

import datetime as dt
import json
import stat
import uuid

import pytest

from esl_shield.cli.reveals import _check_text
from esl_shield.cli.watermark import sink, spell
from esl_shield.errors.reveals import NoTerminal, TextRejected
from esl_shield.errors.tokens import NumberInArgument
from esl_shield.resolver.asking import Ticket

ROW = {
    "id": uuid.UUID(int=7), "case_id": "K-1", "requester": "li", "requester_person": "Li Wei", "approver": "chen",
    "approver_person": "陈宇",
}  # fmt: skip
OPENED_AT = dt.datetime(2030, 1, 31, 18, tzinfo=dt.UTC)
MARKS = ("case K-1", "requested by Li Wei (li)", "approved by 陈宇 (chen)", "2030-01-31T18:00:00Z", str(ROW["id"]))
CALL = {
    "started_at": "2030-01-01T00:00:00Z", "id": "c", "agent": "1001", "token": "7", "alias": None, "state": "BUSY",
    "hangup_cause": "\x1b[2J", "talk_s": None,
}  # fmt: skip


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\x1b[2J", "x" * 65])
def test_a_text_that_is_not_one_line_is_refused(text):
    """Empty, several lines, control characters, too long."""
    with pytest.raises(TextRejected) as caught:
        _check_text("--case", text, "CN")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "13800138777",
        "+86 138 0013 8777",
        "call 138-0013-8777",
        "１３８００１３８７７７",
        "11010519491231002X",
        "+442079460777",
    ],
)
def test_a_text_that_holds_a_number_is_refused(text):
    """Numbers and identity numbers, in any spelling, and none of it is repeated."""
    with pytest.raises(NumberInArgument) as caught:
        _check_text("--reason", text, "CN")
    assert text not in str(caught.value)


@pytest.mark.parametrize("text", ["K-2031", "（2026）沪01民初123号", "2026-11-22/0007", "客户投诉，3月3日来电"])
def test_the_ids_of_cases_pass(text):
    """Courts' and complaints' own spellings, Chinese ones too."""
    _check_text("--case", text, "CN")


def test_every_line_of_an_answer_is_marked():
    """Whatever part is cut out or photographed, both people, case, time and id are in it; nothing moves the cursor."""
    number = {"token": "7", "number": "+8613800138777"}
    calls = {"token": "7", "total": 3, "calls": [CALL, CALL]}
    for answer, lines in ((number, 1), (calls, 4), ({"token": None, "total": 0, "calls": []}, 1)):
        text = spell(ROW, OPENED_AT, answer, "table")
        assert text.endswith("\n")
        assert len(text.splitlines()) == lines
        assert "\x1b" not in text
        for line in text.splitlines():
            assert all(mark in line for mark in MARKS), line
        for line in map(json.loads, spell(ROW, OPENED_AT, answer, "json").splitlines()):
            assert line["mark"]["approved_by"] == "陈宇 (chen)"
    assert "3 calls, the latest 2 of them" in spell(ROW, OPENED_AT, calls, "table")


def test_a_new_file_is_private_and_only_there_when_it_was_written(tmp_path):
    """Mode 0600 whatever the umask; a file that got no answer is gone; one that was there stays as it was."""
    with sink(tmp_path / "answer") as write:
        write("x\n")
    assert stat.S_IMODE((tmp_path / "answer").stat().st_mode) == 0o600
    with sink(tmp_path / "unused"):
        pass
    assert not (tmp_path / "unused").exists()
    with pytest.raises(FileExistsError), sink(tmp_path / "answer"):
        pass
    assert (tmp_path / "answer").read_text() == "x\n"


def test_an_answer_goes_to_no_pipe():
    """Without a terminal and without a file nothing is opened."""
    with pytest.raises(NoTerminal), sink(None):
        pass


def test_a_ticket_shows_nothing():
    """Not in its representation, and two are never the same."""
    ticket = Ticket()
    assert ticket.hex() not in f"{ticket!r}{ticket}{ticket:>40}"
    assert ticket.hash not in (bytes.fromhex(ticket.hex()), Ticket().hash)
