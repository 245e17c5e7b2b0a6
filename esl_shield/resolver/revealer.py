"""The resolver's part of a reveal: a ticket in; a number, or a number's calls, out.

Invariants: the database takes the ticket away and writes the audit event before anything is decrypted or told; every
refusal is the same answer; a number is turned into its blind index only for a live ticket of a step that names one, and
the answer is the same whether the number is known or not; the number lives in the local variables of one call and is in
no exception.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from esl_shield.audit.journal import DECRYPTS
from esl_shield.errors.keys import CryptoError
from esl_shield.resolver.functions import no_count
from esl_shield.resolver.permits import counting_unanswered
from esl_shield.resolver.redeem import AWAY, REFUSED, REVEALED, Outcome
from esl_shield.vault import cipher, keyring
from esl_shield.vault.numbers import SubscriberNumber

if TYPE_CHECKING:
    import uuid

    from esl_shield.resolver.datakeys import DataKeys
    from esl_shield.resolver.forms import RevealForm
    from esl_shield.resolver.functions import Count, Functions
    from esl_shield.vault.keks import AnyKek


class _Redeemed(NamedTuple):
    """A row of ``redeem_reveal``."""

    reveal: uuid.UUID
    tenant_id: int
    kind: str
    token: str
    ciphertext: bytes | None
    key_version: int
    total: int | None
    calls: list[dict[str, Any]] | None


class Revealer:
    """Exchanges tickets for answers; safe to call from many greenlets."""

    def __init__(self, database: Functions, keys: DataKeys, kek: AnyKek, count: Count = no_count) -> None:
        self._count = count
        self._database = database
        self._keys = keys
        self._kek = kek

    def answer(self, form: RevealForm) -> Outcome:
        """Answer an authenticated caller; raises DatabaseAway, DatabaseRefused, CryptoError."""
        return self._disclose(form) if form.number is None else self._bind(form, SubscriberNumber(form.number))

    def _bind(self, form: RevealForm, number: SubscriberNumber) -> Outcome:
        """Tell the database which number a step is about, without telling it the number."""
        rows = self._database.call("reveal_index_key", form.ticket_hash)
        if not rows:
            return Outcome(REFUSED, "ticket")
        indexes = []
        for tenant_id, version, wrapped, kek_id in rows:
            key = keyring.unwrap(
                self._kek, bytes(wrapped), tenant_id=tenant_id, purpose="index", version=version, kek_id=kek_id
            )
            indexes.append(keyring.blind_index(key, number, tenant_id))
        versions = [version for _, version, _, _ in rows]
        if not self._database.call("bind_reveal", form.ticket_hash, indexes, versions)[0][0]:
            return Outcome(REFUSED, "bind")
        return Outcome(REVEALED, "bound", "{}")

    def _disclose(self, form: RevealForm) -> Outcome:
        with counting_unanswered(self._count):
            rows = self._database.call("redeem_reveal", form.ticket_hash)
        if not rows:
            return Outcome(REFUSED, "ticket")
        found = _Redeemed(*rows[0])
        if found.ciphertext is None:
            answer = {"token": found.token, "total": found.total, "calls": found.calls}
            return Outcome(REVEALED, "calls", json.dumps(answer))
        self._count(DECRYPTS)
        try:
            key = self._keys.get(found.tenant_id, found.key_version)
            number = cipher.decrypt(key, found.ciphertext, found.tenant_id, found.token, found.key_version)
        except CryptoError as error:
            self._database.call("note_reveal", found.reveal, error.error_id)
            return Outcome(AWAY, error.error_id, call=str(found.reveal))
        return Outcome(REVEALED, "number", json.dumps({"token": found.token, "number": number.reveal()}))
