"""The method ff1: the token itself is the number, encrypted with the key of its prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esl_shield.errors.methods import MethodRefused
from esl_shield.vault import prefixes
from esl_shield.vault.prefixes import Ff1Tokens

if TYPE_CHECKING:
    from esl_shield.resolver.datakeys import MethodKeys
    from esl_shield.resolver.permits import Redeemed
    from esl_shield.vault.numbers import SubscriberNumber
    from esl_shield.vault.prefixes import TokenPrefix


class Ff1Method:
    """Decrypts tokens; one that stands for no number its prefix allows is refused."""

    name = prefixes.FF1
    budget_s = 1.0  # a key's first use; afterwards a tenth of a millisecond

    def __init__(self, keys: MethodKeys) -> None:
        self._keys = keys

    def close(self) -> None:
        """Nothing is open."""

    def number_of(self, redeemed: Redeemed, prefix: TokenPrefix) -> SubscriberNumber:
        """Return the token's number; raises MethodRefused, CryptoError, DatabaseAway."""
        key = self._keys.get(redeemed.tenant_id, prefix.key_version or 0)
        number = Ff1Tokens(key, prefix).number_of(redeemed.token)
        if number is None:
            raise MethodRefused(method=self.name, reason="token_nobody")
        return number
