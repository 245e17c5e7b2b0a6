"""A vault whose audit events are sealed in this process, for tests that tamper with it."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from esl_shield.audit.heads import HeadFile
from esl_shield.audit.sealing import Sealer
from esl_shield.audit.signing import Signer
from esl_shield.audit.source import Source, open_source
from esl_shield.audit.verify import Extent, Trust, Verification

if TYPE_CHECKING:
    from pathlib import Path

    from esl_shield.audit.findings import Report
    from esl_shield.config.database import DatabaseConfig


class SealingSite:
    """Events as functions of ours write them, a sealer, an auditor, and a superuser who tampers."""

    def __init__(self, database: Any, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.seed = secrets.token_bytes(32)
        self.heads_path = folder / "heads.ndjson"
        self.sealer_login: DatabaseConfig = database.login("sealer")
        self.auditor_login: DatabaseConfig = database.login("auditor")
        self.sealer = self.new_sealer()
        self.public_key = folder / "sealing.pub"
        self.public_key.write_text(self.signer.public.hex + "\n")

    @property
    def signer(self) -> Signer:
        """The sealer's key."""
        return Signer(self.seed)

    def new_sealer(self, *, seed: bytes | None = None, heads: str | None = None, **options: Any) -> Sealer:
        """Another sealer over a connection of its own."""
        return Sealer(
            self.database.open(self.sealer_login), Signer(seed or self.seed),
            HeadFile(heads or str(self.heads_path)), **options,
        )  # fmt: skip

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """As a superuser."""
        return self.database.query(statement, *values)

    def write_events(self, count: int, kind: str = "call.authorized") -> None:
        """Write events, each in a transaction of its own, with a little of everything in them."""
        for number in range(count):
            detail = json.dumps({"gateway": "carrier", "n": number, "text": "tab\t back\\slash \u00e9"})
            self.sql(
                "INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail)"
                " VALUES (1, %s, %s, '91000000000018', gen_random_uuid(), %s)",
                kind, f"agent {number}", detail,
            )  # fmt: skip

    def seal(self) -> int:
        """Seal all there is; returns how many events."""
        sealed = 0
        while step := self.sealer.step().sealed:
            sealed += step
        self.sealer.export()
        return sealed

    def verify_after(self, tamper: str, values: object = None, **options: Any) -> Report:
        """What is found after a superuser ran this, in a transaction that is then rolled back."""
        connection = self.database.connect()
        connection.autocommit = False
        try:
            with connection.cursor() as cursor:
                cursor.execute(tamper, values)
            trust = Trust(str(self.heads_path), (self.signer.public,))
            return Verification(Source(connection), trust, **options).run()
        finally:
            connection.rollback()

    def verify(self, *, heads: bool = True, extent: Extent | None = None, **more: Any) -> Report:
        """As an auditor who holds the exported heads and the public key."""
        trust = Trust(str(self.heads_path) if heads else None, (self.signer.public,))
        with open_source(self.auditor_login) as source:
            return Verification(source, trust, extent or Extent(), **more).run()
