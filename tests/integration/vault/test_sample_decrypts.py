"""Sample decrypts over a vault that was tampered with."""

from __future__ import annotations

import pytest

from esl_shield.resolver.samples import Samples
from esl_shield.vault.keys import create_kek, open_kek

CANARIES = [f"138001380{n:02}" for n in range(12)]


def _check(vault, kek=None, per_key=100):
    with vault.database.connect().cursor() as cursor:
        return Samples(cursor, kek or vault.kek, per_key).check()


@pytest.fixture
def filled(vault):
    """A vault with twelve tokens."""
    done = vault.import_(vault.write("in.csv", "number", CANARIES))
    assert done.returncode == 0, done.stderr
    return vault


def test_a_sound_vault(filled):
    """Every key opens and as many tokens as asked for, of every tenant, give the number of their index."""
    filled.add_tenant("other", "55")
    assert (_check(filled).keys, _check(filled).tokens, _check(filled).failures) == (4, 12, {})
    assert _check(filled, per_key=5).tokens == 5


DAMAGE = "UPDATE shield.tokens SET ciphertext = set_byte(ciphertext, 25, get_byte(ciphertext, 25) # 1)"
LOST_INDEX = """
UPDATE shield.number_refs SET number_index = sha256(number_index) WHERE token = (SELECT min(token) FROM shield.tokens)
"""
SWAP = """
UPDATE shield.tokens t SET ciphertext = o.ciphertext FROM shield.tokens o
WHERE o.token = (SELECT min(token) FROM shield.tokens) AND t.token = (SELECT max(token) FROM shield.tokens)
"""
DAMAGE_KEY = "UPDATE shield.data_keys SET wrapped = sha256(wrapped) WHERE purpose = 'data'"


@pytest.mark.parametrize(
    ("statement", "failures"),
    [
        (DAMAGE, {"cipher.damaged": 12}),
        (LOST_INDEX, {"drill.index_differs": 1}),
        (SWAP, {"cipher.damaged": 1}),
        (DAMAGE_KEY, {"keys.damaged": 1}),
    ],
    ids=["ciphertext", "index", "swapped", "wrapped key"],
)
def test_what_does_not_belong_together_is_found(filled, statement, failures):
    """Damaged and exchanged ciphertext, references and keys are counted, each with its error's id."""
    filled.database.query(statement)
    sampled = _check(filled)
    assert dict(sampled.failures) == failures
    assert not any(number in repr(sampled) for number in CANARIES)


def test_another_kek(filled, tmp_path):
    """Under another KEK no key opens."""
    create_kek(f"file:{tmp_path}/other")
    assert dict(_check(filled, open_kek(f"file:{tmp_path}/other")).failures) == {"keys.wrong_kek": 2}
