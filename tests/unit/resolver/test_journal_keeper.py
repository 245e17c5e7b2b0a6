"""Who may write a journal: one resolver at a time."""

from __future__ import annotations

import gevent
import pytest

from esl_shield.audit.journal import Journal, read_journal
from esl_shield.audit.signing import Signer
from esl_shield.errors.config import ConfigError
from esl_shield.resolver import counting
from esl_shield.resolver.counting import JournalKeeper

SIGNER = Signer(b"k" * 32)


def keeper(folder):
    """The journal of one more resolver with the same configuration."""
    return JournalKeeper(Journal(str(folder / "journal.ndjson"), SIGNER, name="r1", login="resolver"))


def test_the_next_resolver_waits_for_the_one_before(tmp_path):
    """Its run begins when the other's has ended, so the chain holds."""
    old, new = keeper(tmp_path), keeper(tmp_path)
    old.start()
    starting = gevent.spawn(new.start)
    gevent.sleep(0)
    assert not starting.ready()
    old.stop()
    starting.get(timeout=10)
    new.stop()
    kinds = [record.fields["kind"] for record in read_journal(str(tmp_path / "journal.ndjson"))]
    assert kinds == ["start", "stop", "start", "stop"]


def test_a_second_resolver_does_not_start_beside(tmp_path, monkeypatch):
    """One that waits in vain is told why."""
    monkeypatch.setattr(counting, "LOCK_PATIENCE_S", 0.0)
    old = keeper(tmp_path)
    old.start()
    with pytest.raises(ConfigError, match="another resolver writes it"):
        keeper(tmp_path).start()
    old.stop()
