"""Every planted leak is found at its place, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from leak_corpus import CONTAINERS, SPELLINGS, Corpus, Leak

from esl_shield.audit.leakscan.scan import Scan


def test_every_leak_is_found_where_it_was_planted(lab, tmp_path):
    """Each spelling in each container is reported with its place and token, once, and nothing else is."""
    count = len(SPELLINGS) * (len(CONTAINERS) + 2) + 4
    numbers = [f"13800{i * 7919 % 1000000:06d}" for i in range(count)]
    lab.seed([f"+86{number}" for number in numbers])
    folder = tmp_path / "corpus"
    folder.mkdir()
    corpus = Corpus(folder, iter(numbers))
    corpus.plant()
    found, unread = [], []
    scan = Scan(lab.leaks(), found.append, lambda *what: unread.append(what))
    scan.path(folder)
    owner = {token: number.removeprefix("+86") for number, token in lab.tokens.items()}
    told = Counter(Leak(owner[f.token], f.file, f.line, f.offset, f.place, f.spelling) for f in found)
    planted = Counter(corpus.leaks)
    assert not unread
    assert sorted(map(str, (planted - told).elements())) == []
    assert sorted(map(str, (told - planted).elements())) == []
    assert scan.totals.files == len(list(Path(folder).iterdir()))
