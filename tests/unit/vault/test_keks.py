"""Several KEKs at once: each key is opened by the one that wraps it, new ones are wrapped under the current one."""

from __future__ import annotations

import pytest

from esl_shield.config.resolver import KeysConfig
from esl_shield.errors.keys import KekExposed, KekMissing, WrongKek
from esl_shield.vault import keyring
from esl_shield.vault.keks import Keks, open_keks
from esl_shield.vault.keys import Kek, Key, create_kek, open_kek

NAMES = {"tenant_id": 5, "purpose": "data", "version": 1}


@pytest.fixture
def uris(tmp_path):
    """Two KEKs in files."""
    found = [f"file:{tmp_path}/{name}" for name in ("new", "old")]
    for uri in found:
        create_kek(uri)
    return found


def test_each_key_is_opened_by_its_own_kek(uris):
    """The current KEK and an earlier one open what they wrap; a third's key is refused."""
    keks = open_keks(KeysConfig(uris[0], (uris[1],)))
    assert keks.ids == {open_kek(uri).id for uri in uris}
    assert keks.id == open_kek(uris[0]).id
    key, stranger = Key.new(), Kek.new()
    for kek in map(open_kek, uris):
        wrapped = keyring.wrap(kek, key, **NAMES)
        assert keyring.unwrap(keks, wrapped, kek_id=kek.id, **NAMES) == key
    with pytest.raises(WrongKek):
        keyring.unwrap(keks, keyring.wrap(stranger, key, **NAMES), kek_id=stranger.id, **NAMES)


def test_an_earlier_kek_that_cannot_be_opened_is_an_error(uris, tmp_path):
    """A KEK somebody named is never left out in silence."""
    with pytest.raises(KekMissing, match="gone"):
        open_keks(KeysConfig(uris[0], (f"file:{tmp_path}/gone",)))
    (tmp_path / "old").chmod(0o444)
    with pytest.raises(KekExposed):
        open_keks(KeysConfig(uris[0], (uris[1],)))
    with pytest.raises(KekExposed):
        open_keks(KeysConfig(uris[0]), uris[1])


def test_one_kek_is_a_ring_of_one():
    """What takes several takes one."""
    kek = Kek.new()
    ring = Keks.of(kek)
    assert (ring.current, ring.ids, Keks.of(ring)) == (kek, {kek.id}, ring)


@pytest.mark.parametrize("previous", [("/etc/kek",), ("",), ("file:/a", "https://x"), ("file:/new",)])
def test_what_previous_takes(previous: tuple[str, ...]):
    """Earlier KEKs are spelled as the current one, which is not among them."""
    with pytest.raises(ValueError, match="previous"):
        KeysConfig("file:/new", previous)
