"""Bringing a tenant's rows to its newest keys, in the background: ciphertexts and blind indexes.

Invariants: a batch is one transaction with its audit event and the place reached, so whatever kills the job leaves
whole batches and the job goes on where it was; a row is changed only if it is still the one that was read, so whoever
changed it meanwhile wins and the page is read again; a new ciphertext is opened and compared before it is offered; a
row that cannot be decrypted is left as it is and told, and the job is not finished without it; rows are locked in one
order, and for as long as one batch takes.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from esl_shield.errors.database import DatabaseAway
from esl_shield.errors.keys import (
    CipherDamaged,
    CipherOtherVersion,
    CipherUnknownFormat,
    KeyDestroyed,
    KeysChanged,
    RowsLeft,
)
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.resolver.datakeys import DataKeys
from esl_shield.vault import cipher, keyring
from esl_shield.vault.donotcall import associated
from esl_shield.vault.seedkeys import open_keys, seeding_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esl_shield.resolver.functions import Functions
    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.seedkeys import TenantKeys

Work = Literal["reencrypt", "reindex"]
MAX_BATCH = 500
# A page of small rates is small too, so that the rate holds over every second.
BATCHES_PER_S = 4
PATIENCE_S = 60.0
_PAUSE_S = 1.0
_MAX_NAMED = 5
_UNREADABLE = (CipherDamaged, CipherOtherVersion, CipherUnknownFormat, KeyDestroyed)


class Due(NamedTuple):
    """What there is to do for one tenant: to which version, after which token, how many tokens it has and are done."""

    tenant_id: int
    tenant: str
    version: int
    after: str
    tokens: int
    done: int
    due: bool


class _Row(NamedTuple):
    """A token, its ciphertext if there is something to do, and the data key version of that."""

    token: str
    ciphertext: bytes | None
    key_version: int


@dataclass
class Progress:
    """What a job did so far, in tokens, and to which key version."""

    version: int = 0
    seen: int = 0
    changed: int = 0
    left: list[str] = field(default_factory=list)


class Rate:
    """Lets so many rows pass in a second; None lets all."""

    def __init__(
        self, rows_per_s: int | None, *, clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._rows_per_s = rows_per_s
        self._clock = clock
        self._wait = wait
        self._free_at = clock()

    @property
    def batch(self) -> int:
        """How many rows to take at a time."""
        return MAX_BATCH if self._rows_per_s is None else max(1, min(MAX_BATCH, self._rows_per_s // BATCHES_PER_S))

    def take(self, rows: int) -> None:
        """Wait until these rows are within the rate."""
        if self._rows_per_s is None or not rows:
            return
        now = self._clock()
        if self._free_at > now:
            self._wait(self._free_at - now)
        self._free_at = max(self._free_at, now) + rows / self._rows_per_s


class Rekeyer:
    """One job over the rekeyer's login."""

    def __init__(
        self, database: Functions, kek: AnyKek, work: Work, rate: Rate, *, patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic, wait: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._database = database
        self._kek = kek
        self._work = work
        self._rate = rate
        self._patience_s = patience_s
        self._clock = clock
        self._wait = wait
        self._data_keys = DataKeys(database, kek)

    def due(self, tenant: str | None, *, again: bool = False) -> list[Due]:
        """Ask what there is to do, of one tenant or of all; ``again``: from the first token on.

        Raises TenantUnknown, DatabaseAway, DatabaseRefused.
        """
        rows = [Due(*row) for row in self._database.call("begin_rekeyings", self._work, tenant, again)]
        if tenant is not None and not rows:
            raise TenantUnknown(tenant=tenant)
        return rows

    def run(self, due: Due) -> Iterator[Progress]:
        """Do one tenant to its end; yields after each batch.

        Raises KeysChanged (the key was rotated again: ask what is due again), RowsLeft at the end if rows were left,
        CryptoError of the keys, DatabaseAway when the database stayed away for a minute, DatabaseRefused.
        """
        keys = self._keys(due)
        progress = Progress(due.version)
        after, limit = due.after, self._rate.batch
        while True:
            page = [_Row(*row) for row in self._ask("rekey_page", due.tenant_id, self._work, after, limit)]
            rows = list(self._made(due, keys, page, progress))
            self._rate.take(len(rows))
            # The place reached stays before the first row that was left, so that the job again meets it again.
            reached = "" if progress.left else page[-1].token if page else ""
            if rows and not self._offer(due, reached, rows, progress):
                continue
            progress.seen += len(page)
            yield progress
            if len(page) < limit:
                break
            after = page[-1].token
        self._carry_list(due, keys, progress)
        self._ask("finish_rekeying", due.tenant_id, self._work, due.version, len(progress.left))
        if progress.left:
            tokens = ", ".join(progress.left[:_MAX_NAMED])
            raise RowsLeft(count=len(progress.left), tenant=due.tenant, tokens=tokens)

    def _carry_list(self, due: Due, keys: TenantKeys, progress: Progress) -> None:
        """Bring the do-not-call list to the key too; raises KeysChanged."""
        after, limit = uuid.UUID(int=0), self._rate.batch
        while page := self._ask("do_not_call_page", due.tenant_id, self._work, after, limit):
            rows: list[dict[str, str]] = []
            for entry, ciphertext, version in page:
                try:
                    made = self._make(due, keys, _Row(associated(entry), blob := bytes(ciphertext), version), blob)
                except _UNREADABLE:
                    progress.left.append(f"list entry {entry}")
                    continue
                after_ = made["after"] if self._work == "reencrypt" else made["index"]
                rows.append({"entry": str(entry), "before": made["before"], "after": after_})
            self._rate.take(len(rows))
            if rows:
                verdict, matched = self._ask("rekey_do_not_call", due.tenant_id, self._work, due.version, rows)[0]
                if verdict != "DONE":
                    raise KeysChanged(tenant=due.tenant)
                if matched < len(rows):  # changed meanwhile, maybe by a job for the other kind of key: read again
                    continue
            after = page[-1][0]

    def _keys(self, due: Due) -> TenantKeys:
        rows = self._ask("seeding_tenant", due.tenant)
        if not rows:
            raise TenantUnknown(tenant=due.tenant)
        keys = open_keys(self._kek, seeding_tenant(due.tenant, *rows[0]))
        if due.version != (keys.data_version if self._work == "reencrypt" else keys.index_version):
            raise KeysChanged(tenant=due.tenant)
        return keys

    def _made(self, due: Due, keys: TenantKeys, page: Sequence[_Row], progress: Progress) -> Iterator[dict[str, str]]:
        for row in page:
            if row.ciphertext is None:
                continue
            try:
                yield self._make(due, keys, row, row.ciphertext)
            except _UNREADABLE:
                if row.token not in progress.left:
                    progress.left.append(row.token)

    def _make(self, due: Due, keys: TenantKeys, row: _Row, ciphertext: bytes) -> dict[str, str]:
        data = self._data_keys.get(due.tenant_id, row.key_version)
        number = cipher.decrypt(data, ciphertext, due.tenant_id, row.token, row.key_version)
        made = {"token": row.token, "before": ciphertext.hex()}
        if self._work == "reencrypt":
            after = cipher.encrypt(keys.data, number, due.tenant_id, row.token, due.version)
            if cipher.decrypt(keys.data, after, due.tenant_id, row.token, due.version) != number:
                raise CipherDamaged
            return {**made, "after": after.hex()}
        if keys.previous_index is None:
            raise KeysChanged(tenant=due.tenant)
        indexes = {"index": keys.index, "previous": keys.previous_index}
        return made | {name: keyring.blind_index(key, number, due.tenant_id).hex() for name, key in indexes.items()}

    def _offer(self, due: Due, last: str, rows: list[dict[str, Any]], progress: Progress) -> bool:
        """Offer a batch; False when some rows had been changed meanwhile, so that the page must be read again."""
        function = "reencrypt_tokens" if self._work == "reencrypt" else "reindex_tokens"
        verdict, matched = self._ask(function, due.tenant_id, due.version, last, rows)[0]
        if verdict != "DONE":
            raise KeysChanged(tenant=due.tenant)
        progress.changed += matched
        return bool(matched == len(rows))

    def _ask(self, function: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Call the database, for a while again and again when it is away: each batch may be offered twice."""
        until = self._clock() + self._patience_s
        while True:
            try:
                return self._database.call(function, *arguments)
            except DatabaseAway:
                if self._clock() >= until:
                    raise
            self._wait(_PAUSE_S)
