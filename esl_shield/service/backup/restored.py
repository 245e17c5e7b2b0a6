"""Whether a restored database is a vault: schema, rows, keys, audit trail, and how much of the live one it lacks.

Invariants: what could not be verified is a finding; findings hold counts and names of tables, no row.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.audit import verify as audit
from esl_shield.audit.source import open_source
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.db.upgrade import driver_connection, is_current
from esl_shield.errors import ShieldError
from esl_shield.errors.database import DatabaseAway, LoginRefused
from esl_shield.resolver.samples import Sampled, Samples
from esl_shield.service.doctor import catalog, database_checks
from esl_shield.service.doctor.finding import Finding, Severity

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from esl_shield.config import Config
    from esl_shield.config.database import DatabaseConfig
    from esl_shield.vault.keys import Kek

TABLES = ("tenants", "data_keys", "tokens", "number_refs", "aliases", "calls", "audit_events", "permits")
# Doctor's checks of the schema; those of the server's settings and logins are the live server's business.
_SCHEMA_CHECKS = ("revision", "functions", "views", "policies", "row_security", "owners", "rights", "triggers")

_ORPHANS = {
    "numbers' references without their token": """
SELECT count(*) FROM shield.number_refs r
WHERE NOT EXISTS (SELECT FROM shield.tokens t WHERE t.tenant_id = r.tenant_id AND t.token = r.token)""",
    "active tokens without their number's reference": """
SELECT count(*) FROM shield.tokens t WHERE t.status = 'active'
AND NOT EXISTS (SELECT FROM shield.number_refs r WHERE r.tenant_id = t.tenant_id AND r.token = t.token)""",
    "tokens whose data key is missing": """
SELECT count(*) FROM shield.tokens t WHERE NOT EXISTS (SELECT FROM shield.data_keys k
WHERE k.tenant_id = t.tenant_id AND k.purpose = 'data' AND k.version = t.key_version)""",
}
_NEWEST = "SELECT max(at), pg_last_xact_replay_timestamp() FROM shield.audit_events"
# An event has the time of its transaction's beginning, so one that was committed late may be older than the newest
# restored one: both databases count what is not much older.
_KEPT = """
SELECT count(*) FROM shield.audit_events
WHERE at > %(newest)s::timestamptz - interval '1 day' AND at <= %(newest)s::timestamptz
"""
_LATER = """
SELECT count(*), max(at) FROM shield.audit_events
WHERE at > coalesce(%(newest)s::timestamptz, '-infinity') AND at <= coalesce(%(asked)s::timestamptz, 'infinity')
"""


@dataclass
class Loss:
    """What the restored database lacks of the live one up to the moment asked for; None where nobody could say."""

    newest_event: dt.datetime | None = None
    replayed_to: dt.datetime | None = None
    lost_events: int | None = None
    lost_s: float | None = None


@dataclass
class Verified:
    """What was seen in a restored database."""

    findings: list[Finding] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    sampled: Sampled = field(default_factory=Sampled)
    loss: Loss = field(default_factory=Loss)


@dataclass
class Verification:
    """One verification of ``config.database``, which is the restored one; ``live`` is asked for what was lost."""

    config: Config
    live: DatabaseConfig
    kek: Kek
    asked: dt.datetime | None
    trust: audit.Trust
    per_key: int
    show: Callable[[str], None]
    result: Verified = field(default_factory=Verified)

    def run(self) -> Verified:
        """Verify everything; a step that fails is a finding, and the others go on."""
        for step, verify in (
            ("schema", self._schema), ("rows", self._rows), ("decrypts", self._decrypts), ("audit", self._audit),
            ("loss", self._loss),
        ):  # fmt: skip
            self.show(f"verifying: {step}")
            try:
                self.result.findings += verify()
            except ShieldError as error:
                self._fail(step, error)
            except DBAPIError as error:
                self._fail(step, _named(error.orig or error))
            except psycopg2.Error as error:
                self._fail(step, _named(error))
        return self.result

    def _fail(self, step: str, error: ShieldError) -> None:
        sentence = f"The {step} of the restored database could not be verified: {error.args[0]}"
        self.result.findings.append(Finding(f"drill.{step}", Severity.CRITICAL, sentence))

    def _schema(self) -> Iterator[Finding]:
        facts = catalog.ask_database(self.config, "admin")
        for check in database_checks.AREA.checks:
            if check.id.partition(".")[2] in _SCHEMA_CHECKS:
                yield from check.run(facts)
        if is_current(sqlalchemy_engine(self.config.database)):
            yield Finding("drill.schema", Severity.OK, "The restored schema and functions are this release's")
        else:
            yield Finding(
                "drill.schema", Severity.CRITICAL, "the restored database has another release's schema or functions",
                "Verify it with the release that wrote it, or run `esl-shield db upgrade` on it first.",
            )  # fmt: skip

    def _rows(self) -> Iterator[Finding]:
        with _reading(self.config.database) as rows:
            for table in TABLES:
                self.result.rows[table] = rows(f"SELECT count(*) FROM shield.{table}")[0][0]
            broken = {what: count for what, sql in _ORPHANS.items() if (count := rows(sql)[0][0])}
        for what, count in broken.items():
            yield Finding("drill.rows", Severity.CRITICAL, f"there are {count} {what}", "Take another backup.")
        if not self.result.rows["tokens"]:
            yield Finding("drill.rows", Severity.WARNING, "the restored vault holds no token")
        elif not broken:
            yield Finding("drill.rows", Severity.OK, "Every row of the restored vault has what it belongs to")
        if self.result.rows["permits"]:
            yield Finding(
                "drill.permits", Severity.CRITICAL, "permits outlived the restore", "Do not open it to calls."
            )

    def _decrypts(self) -> Iterator[Finding]:
        engine = sqlalchemy_engine(self.config.database)
        with engine.connect() as connection, driver_connection(connection).cursor() as cursor:
            self.result.sampled = Samples(cursor, self.kek, self.per_key).check()
        sampled = self.result.sampled
        for error_id, count in sampled.failures.items():
            yield Finding(
                "drill.decrypts", Severity.CRITICAL, f"{count} keys or tokens failed with {error_id}",
                "See docs/errors.md; if every key failed, the KEK is another than the one of that moment.",
            )  # fmt: skip
        if sampled.tokens and not sampled.failures:
            yield Finding(
                "drill.decrypts", Severity.OK,
                f"All {sampled.keys} keys opened; {sampled.tokens} sampled tokens gave the number of their index",
            )  # fmt: skip
        elif not sampled.failures:
            yield Finding("drill.decrypts", Severity.WARNING, "there was no token to decrypt")

    def _audit(self) -> Iterator[Finding]:
        """Hold the audit trail against the calls, and against its seals up to the last restored one."""
        with _reading(self.config.database) as rows:
            unaudited = rows(_UNAUDITED)[0][0]
        if unaudited:
            what = f"{unaudited} calls have no event that allowed or refused them"
            yield Finding("drill.audit", Severity.CRITICAL, what)
        else:
            yield Finding("drill.audit", Severity.OK, "Every call has the event that allowed or refused it")
        with open_source(self.config.database) as source:
            last = source.sealing().blocks
            if last is None and not self.trust.keys:
                yield Finding("drill.seals", Severity.INFO, "No event of the restored trail is sealed")
                return
            if not self.trust.keys:
                yield Finding(
                    "drill.seals", Severity.WARNING, "the seals of the restored trail were held against nothing",
                    "Name the sealers' public keys in [backup] public_keys.",
                )  # fmt: skip
                return
            report = audit.Verification(source, self.trust, audit.Extent(last=last or audit.LAST)).run()
        for found in report.findings:
            yield Finding(
                "drill.seals", Severity.CRITICAL, found.sentence, "Run `esl-shield audit verify` on the live one."
            )
        if not report.findings:
            what = f"{report.events} events in {report.blocks} blocks are as they were sealed"
            yield Finding("drill.seals", Severity.OK, what)

    def _loss(self) -> Iterator[Finding]:
        loss = self.result.loss
        with _reading(self.config.database) as rows:
            loss.newest_event, loss.replayed_to = rows(_NEWEST)[0]
            moments = {"newest": loss.newest_event, "asked": self.asked}
            kept = rows(_KEPT, moments)[0][0]
        try:
            with _reading(self.live) as rows:
                later, newest = rows(_LATER, moments)[0]
                loss.lost_events = later + max(0, rows(_KEPT, moments)[0][0] - kept)  # a month may have been detached
        except DBAPIError as error:
            if not isinstance(_named(error.orig or error), DatabaseAway | LoginRefused):
                raise
            yield Finding(
                "drill.loss", Severity.INFO, "The live database did not answer, so what was lost is not known exactly"
            )
            return
        first = loss.newest_event
        loss.lost_s = (newest - first).total_seconds() if later and first else 0.0


_UNAUDITED = """
SELECT count(*) FROM shield.calls c
WHERE c.started_at >= (SELECT min(at) FROM shield.audit_events)
AND NOT EXISTS (SELECT FROM shield.audit_events e WHERE e.call = c.id)
"""


class _reading:  # noqa: N801 - used as a function is
    """A read-only connection; what it gives runs a statement and returns its rows."""

    def __init__(self, database: DatabaseConfig) -> None:
        self._connection = sqlalchemy_engine(database).connect()

    def __enter__(self) -> Callable[..., list[Any]]:
        self._cursor = driver_connection(self._connection).cursor()
        self._cursor.execute("SET TRANSACTION READ ONLY")
        return self._rows

    def __exit__(self, *error: object) -> None:
        self._cursor.close()
        self._connection.close()

    def _rows(self, statement: str, values: object = None) -> list[Any]:
        self._cursor.execute(statement, values)
        return list(self._cursor.fetchall())


def _named(error: BaseException) -> ShieldError:
    return call_failed("(restored)", error) if isinstance(error, psycopg2.Error) else connection_failed(error)


def restored_config(config: Config, database: DatabaseConfig) -> Config:
    """Return the configuration with the restored database in the live one's place."""
    return dataclasses.replace(config, database=database)
