"""The usual method: the token's row holds the number's ciphertext."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esl_shield.vault import cipher

if TYPE_CHECKING:
    from esl_shield.resolver.datakeys import DataKeys
    from esl_shield.resolver.permits import Redeemed
    from esl_shield.vault.numbers import SubscriberNumber


class StoredMethod:
    """Decrypts under the tenant's data key."""

    name = "stored"
    budget_s = 1.2  # a key's first use: the database, and the device the KEK may be in

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    def number_of(self, redeemed: Redeemed, prefix: None = None) -> SubscriberNumber:
        """Return the token's number; raises CryptoError, DatabaseAway. ``prefix`` says nothing of stored tokens."""
        del prefix
        if redeemed.ciphertext is None or redeemed.key_version is None:
            message = "a row without a ciphertext"
            raise TypeError(message)
        key = self._keys.get(redeemed.tenant_id, redeemed.key_version)
        blob = bytes(redeemed.ciphertext)
        return cipher.decrypt(key, blob, redeemed.tenant_id, redeemed.token, redeemed.key_version)
