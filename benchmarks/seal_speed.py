"""What seals cost and how fast they are made and proved: `python benchmarks/seal_speed.py [EVENTS]`, fsync on.

Prints what the transaction's number and its index add to writing an event, events sealed a second, events verified a
second, and the verifier's peak memory.
"""

from __future__ import annotations

import resource
import secrets
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy.engine import Engine, make_url

from esl_shield.audit.heads import HeadFile
from esl_shield.audit.sealing import Sealer
from esl_shield.audit.signing import Signer
from esl_shield.audit.source import open_source
from esl_shield.audit.verify import Trust, Verification
from esl_shield.config.database import DatabaseConfig
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.db.engine import Database, sqlalchemy_engine
from esl_shield.db.logins import make_login
from esl_shield.db.upgrade import make_roles, upgrade

EVENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
INSERT = """
INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail)
SELECT 1, 'call.authorized', '1001', '91000000000018', gen_random_uuid(), '{"gateway": "carrier-a", "delivery": "edge"}'
FROM generate_series(1, %s)
"""


def main() -> None:
    """Run on a PostgreSQL of its own."""
    with EmbeddedPostgres() as postgres, tempfile.TemporaryDirectory() as folder:
        admin = DatabaseConfig(postgres.url(), connect_timeout_s=5, statement_timeout_s=600)
        engine = sqlalchemy_engine(admin)
        make_roles(engine)
        upgrade(engine)
        _print_write_cost(engine)
        with engine.begin() as connection:
            connection.exec_driver_sql(INSERT, (EVENTS,))
        logins = {}
        for role in ("sealer", "auditor"):
            make_login(engine, f"bench_{role}", postgres.password(f"bench_{role}"), role=role)
            url = postgres.url(f"bench_{role}", make_url(postgres.url()).database)
            logins[role] = DatabaseConfig(url, connect_timeout_s=5, statement_timeout_s=600, pool_size=1)
        signer, heads = Signer(secrets.token_bytes(32)), str(Path(folder) / "heads")
        sealer = Sealer(Database(logins["sealer"], application_name="bench"), signer, HeadFile(heads))
        started, sealed = time.perf_counter(), 0
        while step := sealer.step().sealed:
            sealed += step
        sealer.export()
        print(f"sealed    {sealed / (time.perf_counter() - started):9.0f} events/s")
        started, cpu = time.perf_counter(), time.process_time()
        with open_source(logins["auditor"]) as source:
            report = Verification(source, Trust(heads, (signer.public,))).run()
        print(f"verified  {report.events / (time.perf_counter() - started):9.0f} events/s, {report.count} findings")
        print(
            f"          {report.events / (time.process_time() - cpu):9.0f} events per second of the verifier's own CPU"
        )
        print(f"memory    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:9.0f} MB at most")


def _print_write_cost(engine: Engine) -> None:
    """Write events with the transaction's number and its index, and without the index."""
    with engine.begin() as connection:
        best = {"with the index": 1e9, "without": 1e9}
        for turn in list(best) * 8:
            change = "CREATE INDEX IF NOT EXISTS audit_events_in_order ON shield.audit_events (xid, id)"
            if turn == "without":
                change = "DROP INDEX shield.audit_events_in_order"
            connection.exec_driver_sql(f"{change}; TRUNCATE shield.audit_events")
            started = time.perf_counter()
            connection.exec_driver_sql(INSERT, (10_000,))
            best[turn] = min(best[turn], (time.perf_counter() - started) / 10_000 * 1e6)
        for turn, cost_us in best.items():
            print(f"written {turn:14} {cost_us:6.1f} us an event at best")
        connection.rollback()


if __name__ == "__main__":
    main()
