"""What the resolver remembers: health for a second, data keys for as long as there is room."""

from __future__ import annotations

import gevent
import pytest

from esl_shield.db.health import MAX_AGE_S, Health
from esl_shield.errors.database import DatabaseAway
from esl_shield.errors.keys import KeyDestroyed, KeysMissing, WrongKek
from esl_shield.resolver.datakeys import DataKeys
from esl_shield.vault import keyring
from esl_shield.vault.keys import Kek, Key


class Counting:
    """Stands where the database is: answers from a table, counts, and can be away."""

    def __init__(self, rows=None) -> None:
        self.rows = rows or {}
        self.calls: list[tuple[object, ...]] = []
        self.away = False

    def call(self, function, *arguments):
        self.calls.append((function, *arguments))
        gevent.sleep(0)
        if self.away:
            raise DatabaseAway(problem="it was told to be")
        return self.rows.get(arguments, [])


def test_health_asks_at_most_once_a_second_however_many_ask():
    """A hundred greenlets share one question; after a second there is another, and a change is seen."""
    now = [0.0]
    database = Counting()
    health = Health(lambda: database.call("kek_ids"), clock=lambda: now[0])
    asked = [gevent.spawn(health.is_well) for _ in range(100)]
    gevent.joinall(asked)
    assert {greenlet.value for greenlet in asked} == {True}
    assert len(database.calls) == 1
    database.away = True
    assert health.is_well()
    now[0] = MAX_AGE_S
    assert not health.is_well()
    assert not health.is_well()
    assert len(database.calls) == 2
    database.away = False
    now[0] = 2 * MAX_AGE_S
    assert health.is_well()


def test_data_keys_are_fetched_once_and_the_least_used_makes_room():
    """A key is asked for once while it is kept; beyond the bound the one unused for longest goes."""
    kek, keys = Kek.new(), {version: Key.new() for version in (1, 2, 3)}
    rows = {
        (7, version): [(keyring.wrap(kek, key, tenant_id=7, purpose="data", version=version), kek.id)]
        for version, key in keys.items()
    }
    database = Counting(rows)
    kept = DataKeys(database, kek, max_keys=2)
    for version in (1, 2, 1, 3, 1):
        assert kept.get(7, version) == keys[version]
    assert [call[2] for call in database.calls] == [1, 2, 3]
    assert kept.get(7, 2) == keys[2]
    assert [call[2] for call in database.calls] == [1, 2, 3, 2]


def test_a_destroyed_key_is_forgotten():
    """A key the vault no longer has is forgotten at the next look, the others stay; without keys nothing is asked."""
    kek, keys = Kek.new(), {version: Key.new() for version in (1, 2)}
    database = Counting({
        (7, version): [(keyring.wrap(kek, key, tenant_id=7, purpose="data", version=version), kek.id)]
        for version, key in keys.items()
    })  # fmt: skip
    kept = DataKeys(database, kek)
    kept.forget_destroyed()
    assert database.calls == []
    kept.get(7, 1)
    kept.get(7, 2)
    lists = dict(database.rows)
    database.rows = Missing([(7, 1)])
    kept.forget_destroyed()
    assert database.calls[-1] == ("missing_data_keys", [7, 7], [1, 2])
    database.rows = lists | {(7, 1): [(None, kek.id)]}
    assert kept.get(7, 2) == keys[2]
    with pytest.raises(KeyDestroyed):
        kept.get(7, 1)


class Missing(list):
    """Answers every question with these rows."""

    def get(self, _arguments, _otherwise):
        return list(self)


def test_a_key_that_cannot_be_had_is_asked_for_again():
    """Neither a missing key nor one under another KEK is remembered as missing."""
    kek, key = Kek.new(), Key.new()
    wrapped = keyring.wrap(kek, key, tenant_id=7, purpose="data", version=1)
    database = Counting()
    kept = DataKeys(database, kek)
    with pytest.raises(KeysMissing):
        kept.get(7, 1)
    database.rows[7, 1] = [(wrapped, Kek.new().id)]
    with pytest.raises(WrongKek):
        kept.get(7, 1)
    database.rows[7, 1] = [(wrapped, kek.id)]
    assert kept.get(7, 1) == key
