"""Audit events are found by their time, and those of no call apart from the crowd of calls' events.

A question about today reads today's and not the month's; one about keys, imports or rights reads none of the calls'. A
call pays next to nothing: the index of time is a BRIN index, events come in its order, and the other has no entry of a
call's events. Every audited call writes this table; while an index is built none can. So older months stay without once
the newer ones together have ``AT_ONCE_BYTES``, until somebody builds theirs beside the calls (docs/dba.md, "Upgrades");
the months made from now on have them.
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

AT_ONCE_BYTES = 64 * 1024 * 1024  # read in a fraction of the second that a call waits for the database
INDEXES = {
    "by_time": "USING brin (at) WITH (pages_per_range = 32, autosummarize = on)",
    "of_no_call": "USING btree (at) WHERE call IS NULL",
}
MONTHS = """
SELECT m.relname FROM (
    SELECT c.relname, sum(pg_relation_size(c.oid)) OVER (ORDER BY c.relname DESC) AS bytes
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'shield.audit_events'::regclass
) m WHERE m.bytes <= %s AND to_regclass(format('shield.%%I', m.relname || %s)) IS NULL
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for name, definition in INDEXES.items():
        run(f"CREATE INDEX audit_events_{name} ON ONLY shield.audit_events {definition}")
        for (month,) in run(MONTHS, (AT_ONCE_BYTES, f"_{name}")).fetchall():
            run(f"CREATE INDEX {month}_{name} ON shield.{month} {definition}")
            run(f"ALTER INDEX shield.audit_events_{name} ATTACH PARTITION shield.{month}_{name}")


def downgrade() -> None:
    for name in INDEXES:
        op.get_bind().exec_driver_sql(f"DROP INDEX shield.audit_events_{name}")
