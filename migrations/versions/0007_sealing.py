"""Tamper evidence: which transaction wrote an audit event, the blocks events are sealed into, the code of the time."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("audit_code", "audit_blocks")

# The default is stable, not volatile: events that are there get this transaction's number without a rewrite.
EVENTS = """
ALTER TABLE shield.audit_events ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX audit_events_in_order ON shield.audit_events (xid, id);
COMMENT ON COLUMN shield.audit_events.xid IS 'the transaction that wrote it; events are sealed in the order (xid, id)';
"""

BLOCKS = """
CREATE TABLE shield.audit_blocks (
    number bigint PRIMARY KEY CHECK (number > 0),
    header text NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64),
    entries bytea NOT NULL,
    leaves bytea NOT NULL CHECK (octet_length(leaves) > 0 AND mod(octet_length(leaves), 32) = 0),
    last_xid xid8 NOT NULL,
    last_id bigint NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_blocks_in_order ON shield.audit_blocks (last_xid, last_id);
COMMENT ON TABLE shield.audit_blocks IS 'sealed blocks, append-only; docs/audit-format.md says what each byte is';
COMMENT ON COLUMN shield.audit_blocks.header IS 'the very text that is hashed, chained and signed';
COMMENT ON COLUMN shield.audit_blocks.entries IS 'which events, at which position: ids, transactions, times, checksums';
COMMENT ON COLUMN shield.audit_blocks.leaves IS 'the leaf hashes of the Merkle tree, in the order of entries';
COMMENT ON COLUMN shield.audit_blocks.last_xid IS 'for finding an event''s block; what counts is the header';
CREATE TABLE shield.audit_code (
    hash shield.sha256 PRIMARY KEY,
    manifest text NOT NULL,
    first_block bigint NOT NULL
);
COMMENT ON TABLE shield.audit_code IS 'functions, rights and policies as blocks found them; blocks sign the hash';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(EVENTS)
    run(BLOCKS)
    for table in TABLES:
        run(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        run(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY")
    run("DELETE FROM shield.logins WHERE role = 'sealer'")
    run("ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY")
    for table in TABLES:
        run(f"DROP TABLE shield.{table}")
    run("ALTER TABLE shield.audit_events DROP COLUMN xid")
