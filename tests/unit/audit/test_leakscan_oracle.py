"""The fast search held against the exhaustive one, over texts that try to hide numbers from it."""

from __future__ import annotations

import random

import pytest
from leak_finder import Numbers
from leak_oracle import Exhaustive

from esl_shield.audit.leakscan import digits
from esl_shield.audit.leakscan.digits import CLASSES, GROUPED, Cutter
from esl_shield.audit.leakscan.spellings import Speller

# ruff: noqa: S311
TEXTS = 200
NUMBERS = (
    "13800138001", "+8613800138001", "008613800138001", "138 0013 8001", "138-0013-8001", "138.0013.8001",
    "(0) 138 0013 8001", "+86-138-0013-8001", "138  0013  8001", "+44 (0)20 7946 0018", "+1.202.555.0143",
    "13 80 01 38 00 1", "+86 13 80 01 38 00 1", "1380013 8001", "13800 138001", "138 00138001", "010 1234 5678",
    "+442079460018", "+4420.7946.0018", "138\u00a00013\u00a08001", "138\u20110013\u20118001", "138.00.13.80.01",
    "+44/20/7946/0018", "010---12345678", "+1 (202) 555-0143",
)  # fmt: skip
AROUND = (
    " ", "  ", "\n", ":", "-", ".", "+", "/", "_", "(", ")", "x", "e", "Z", "=", ",", '"', "<", "@", "%20", "\\u0031",
    "2026-11-22 10:15:07.123456", "2026-11-22", "192.0.2.17", "10.0.0.1:5060", "99.10%", "e3b0c442-98fc-4c14-9afb",
    "1790000000123456", "77123456789019", "0123456789abcdef01234567", "MTM4MDAxMzgwMDE=", "port=31337", "0-0", "1 2 3",
    "12 34 56", "123 456", "12 34567", "123.4567",
)  # fmt: skip


def _digits(chance: random.Random) -> str:
    return "".join(chance.choices("0123456789", k=chance.choice((1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 11, 18))))


def _text(chance: random.Random) -> bytes:
    parts = []
    for _ in range(60):
        kind = chance.random()
        parts.append(
            chance.choice(NUMBERS) if kind < 0.15 else chance.choice(AROUND) if kind < 0.75 else _digits(chance)
        )
        if chance.random() < 0.3:  # else stretches grow so long that numbers of chance run into each other
            parts.append(" and ")
    return "".join(parts).encode()


@pytest.fixture(autouse=True, params=[0, 1 << 30], ids=["masks", "patterns"])
def _way(request, monkeypatch):
    """Texts of every length are searched by masks, and by patterns alone."""
    monkeypatch.setattr(digits, "SIEVED_BYTES", request.param)


@pytest.fixture(scope="module")
def vault() -> Numbers:
    """Numbers of China, Britain and America."""
    return Numbers()


def test_the_fast_search_finds_what_the_exhaustive_one_finds(vault):
    """Over generated texts every run that shows itself is found, and none that is not there, to the byte."""
    fast, slow = Cutter(vault.shape, vault.least), Exhaustive(vault.shape, vault.least)
    seen = 0
    for seed in range(TEXTS):
        text = _text(random.Random(seed))
        classes = text.translate(CLASSES)
        every, found = set(slow.runs(text, classes, 0, len(text))), set(fast.runs(text, classes, 0, len(text)))
        assert found <= every, seed
        assert {run for run in every - found if slow.shows(classes, run)} == set(), seed
        seen += len(found)
    assert seen > TEXTS


@pytest.mark.parametrize("size", [0, 900, 1023, 70_000])
def test_digits_of_every_length_and_beginning_are_looked_at(vault, size):
    """What begins with any three digits, as long as a number or longer, is found in any place of a text of any size."""
    fast, slow = Cutter(vault.shape, vault.least), Exhaustive(vault.shape, vault.least)
    chance = random.Random(size)
    rows = [
        f"{head:03d}{''.join(chance.choices('0123456789', k=length - 3))}"
        for head in range(1000)
        for length in range(vault.least - 1, 20)
    ]
    rows += [f"{home}{chance.randrange(10**8):08d}" for home in ("138", "86138", "0086138", "4479", "1202") * 200]
    chance.shuffle(rows)
    text = ("z" * size + "z".join(rows)).encode()
    found = list(fast.runs(text, text.translate(CLASSES), 0, len(text)))
    assert len(found) == len(set(found)) > len(rows) // 20
    assert set(found) == set(slow.runs(text, text.translate(CLASSES), 0, len(text)))
    for row in [*rows[::500], *rows[-100:]]:  # a text of one row alone: its first and last byte are digits
        one = b"z" * min(size, 1100) + row.encode()
        runs = [set(cutter.runs(one, one.translate(CLASSES), 0, len(one))) for cutter in (fast, slow)]
        assert runs[0] == runs[1], row


def test_decoded_text_is_searched_as_well(vault):
    """What base64, escapes and the like decode to is the same with either way of cutting."""
    fast, slow = (Speller(made(vault.shape, vault.least)) for made in (Cutter, Exhaustive))
    for seed in range(TEXTS // 4):
        text = _text(random.Random(seed))
        missed = set(slow.hits(text, 0, len(text))) ^ set(fast.hits(text, 0, len(text)))
        assert [hit for hit in missed if GROUPED not in hit.spelling] == [], seed


def test_a_window_finds_its_share(vault):
    """Searched in two windows, each run is found by the one its first digit lies in, and by no other."""
    fast, slow = Cutter(vault.shape, vault.least), Exhaustive(vault.shape, vault.least)
    for seed in range(TEXTS // 4):
        text = _text(random.Random(seed))
        classes = text.translate(CLASSES)
        cut = random.Random(-seed).randrange(len(text))
        runs = [*fast.runs(text, classes, 0, cut), *fast.runs(text, classes, cut, len(text))]
        assert len(runs) == len(set(runs)), seed
        every = set(slow.runs(text, classes, 0, len(text)))
        assert set(runs) <= every, seed
        assert [run for run in every - set(runs) if slow.shows(classes, run)] == [], seed


def test_one_way_of_looking_does_not_hide_what_another_sees(vault):
    """A number with dots is found also when one with spaces stands behind it."""
    cutter = Cutter(vault.shape, vault.least)
    text = b"to 138.0013.8001 " + b"and " * 50 + b"138 0013 8002 " + b"and " * 50 + b"+1.202.555.0143"
    found = {run.digits for run in cutter.runs(text, text.translate(CLASSES), 0, len(text))}
    assert found >= {b"13800138001", b"13800138002", b"+12025550143"}
