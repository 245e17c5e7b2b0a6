"""The KEKs a process has: the one new keys are wrapped under, and earlier ones while keys are still wrapped under them.

Invariants: a key is opened by the KEK whose fingerprint is kept beside it, or by none; earlier KEKs open keys and wrap
none; a KEK the configuration names and that cannot be opened is an error, never left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esl_shield.vault.keys import Kek, open_kek

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esl_shield.config.resolver import KeysConfig


class Keks:
    """The current KEK and earlier ones."""

    def __init__(self, current: Kek, previous: Iterable[Kek] = ()) -> None:
        self.current = current
        self._by_id = {kek.id: kek for kek in (*previous, current)}

    @classmethod
    def of(cls, kek: AnyKek) -> Keks:
        """Take one KEK for a ring of one."""
        return kek if isinstance(kek, Keks) else cls(kek)

    @property
    def id(self) -> str:
        """The current KEK's fingerprint."""
        return self.current.id

    @property
    def ids(self) -> frozenset[str]:
        """The fingerprints of all."""
        return frozenset(self._by_id)

    def choose(self, kek_id: str) -> Kek:
        """Return the KEK of this fingerprint; the current one when there is none, which then opens nothing."""
        return self._by_id.get(kek_id, self.current)

    def check(self) -> None:
        """Return if each could be used now; raises CryptoError."""
        for kek in self._by_id.values():
            kek.check()


AnyKek = Kek | Keks


def open_keks(config: KeysConfig, *previous: str) -> Keks:
    """Open what [keys] names, and the KEKs of further URIs; raises the errors of ``open_kek``."""
    earlier = [open_kek(uri, config.device) for uri in (*config.previous, *previous)]
    return Keks(open_kek(config.kek, config.device), earlier)
