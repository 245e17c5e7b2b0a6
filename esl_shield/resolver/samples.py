"""Sample decrypts: whether the keys and the ciphertext of a database still belong together.

Invariants: every wrapped key is opened, and of each version of each tenant's data key some tokens are decrypted; a
number is compared with the blind index without being told to anybody, and is gone with the comparison; what is reported
are counts and error ids, neither numbers nor tokens.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esl_shield.errors.keys import CryptoError
from esl_shield.vault import cipher, keyring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.vault.keys import Kek, Key

_KEYS = "SELECT tenant_id, purpose, version, wrapped, kek_id FROM shield.data_keys ORDER BY tenant_id, purpose, version"
_FROM = """
SELECT token, ciphertext FROM shield.tokens
WHERE tenant_id = %s AND key_version = %s AND token {} %s ORDER BY token LIMIT %s
"""
_BY_INDEX = """
SELECT count(*) FROM shield.number_refs
WHERE tenant_id = %s AND number_index = %s AND index_version = %s AND token = %s
"""
_DIGITS = 8
UNINDEXED = "drill.index_differs"


@dataclass
class Sampled:
    """How many keys were opened and tokens decrypted and found again; ``failures`` counts error ids."""

    keys: int = 0
    tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)


class Samples:
    """Decrypts samples over one cursor of a login that reads the tables."""

    def __init__(self, cursor: Any, kek: Kek, per_key: int) -> None:
        self._cursor = cursor
        self._kek = kek
        self._per_key = per_key
        self._sampled = Sampled()

    def check(self) -> Sampled:
        """Open every key and decrypt; raises psycopg2's errors."""
        data: dict[tuple[int, int], Key] = {}
        index: dict[tuple[int, int], Key] = {}
        for tenant, purpose, version, wrapped, kek_id in self._rows(_KEYS):
            try:
                key = keyring.unwrap(
                    self._kek, bytes(wrapped), tenant_id=tenant, purpose=purpose, version=version, kek_id=kek_id
                )
            except CryptoError as error:
                self._sampled.failures[error.error_id] += 1
                continue
            (data if purpose == "data" else index)[tenant, version] = key
            self._sampled.keys += 1
        for (tenant, version), key in data.items():
            self._decrypt(tenant, version, key, {v: k for (t, v), k in index.items() if t == tenant})
        return self._sampled

    def _decrypt(self, tenant: int, version: int, key: Key, index: dict[int, Key]) -> None:
        for token, ciphertext in self._some(tenant, version):
            try:
                number = cipher.decrypt(key, bytes(ciphertext), tenant, token, version)
            except CryptoError as error:
                self._sampled.failures[error.error_id] += 1
                continue
            wanted = ((v, keyring.blind_index(k, number, tenant)) for v, k in index.items())
            if not any(self._rows(_BY_INDEX, tenant, digest, v, token)[0][0] for v, digest in wanted):
                self._sampled.failures[UNINDEXED] += 1
                continue
            self._sampled.tokens += 1

    def _some(self, tenant: int, version: int) -> Iterator[tuple[str, bytes]]:
        """Take tokens that follow a random one: tokens are drawn at random, so neighbours have nothing in common."""
        prefix = self._rows("SELECT token_prefix FROM shield.tenants WHERE id = %s", tenant)[0][0]
        start = f"{prefix}{secrets.randbelow(10**_DIGITS):0{_DIGITS}}"
        found = self._rows(_FROM.format(">="), tenant, version, start, self._per_key)
        if len(found) < self._per_key:
            found += self._rows(_FROM.format("<"), tenant, version, start, self._per_key - len(found))
        yield from found

    def _rows(self, statement: str, *values: object) -> list[Any]:
        self._cursor.execute(statement, values or None)
        return list(self._cursor.fetchall())
