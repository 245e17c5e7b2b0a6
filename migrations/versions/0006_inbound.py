"""Calls that come in: the tenants' own numbers (DIDs), how fast each is masked, and a call's direction."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("mask_buckets", "dids")
DOMAIN_NAMES = ("did", "destinations", "direction")

DOMAINS = """
CREATE DOMAIN shield.did AS text CHECK (VALUE ~ '^[+][1-9][0-9]{4,14}$');
CREATE DOMAIN shield.destinations AS text[] CHECK (cardinality(VALUE) BETWEEN 1 AND 3
    AND array_to_string(VALUE, ',', '') || ',' ~ '^((queue:[A-Za-z0-9._@-]{1,64}|[A-Za-z0-9._+-]{1,64}),){1,3}$');
CREATE DOMAIN shield.direction AS text CHECK (VALUE IN ('inbound', 'outbound'));
COMMENT ON DOMAIN shield.did IS 'a number of the call centre itself, E.164; not secret';
"""

DIDS = """
CREATE TABLE shield.dids (
    did shield.did PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES shield.tenants,
    destinations shield.destinations NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    masks_per_minute int CHECK (masks_per_minute >= 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dids_of_tenant ON shield.dids (tenant_id);
COMMENT ON COLUMN shield.dids.destinations IS 'who is rung, in order: an agent, or queue:NAME of mod_callcenter';
COMMENT ON COLUMN shield.dids.masks_per_minute IS 'callers masked in a minute, others are anonymous; NULL: no limit';
CREATE UNLOGGED TABLE shield.mask_buckets (
    tenant_id int NOT NULL,
    did shield.did PRIMARY KEY,
    minute bigint NOT NULL,
    used int NOT NULL
) WITH (fillfactor = 20);
COMMENT ON TABLE shield.mask_buckets IS 'callers of a DID masked in the minute it was last called';
"""

CALLS = """
ALTER TABLE shield.calls ADD COLUMN direction shield.direction NOT NULL DEFAULT 'outbound';
ALTER TABLE shield.calls ADD COLUMN did shield.did;
COMMENT ON COLUMN shield.calls.did IS 'the number of ours that was called; outbound calls have none';
"""


def upgrade() -> None:
    for statements in (DOMAINS, DIDS, CALLS):
        op.get_bind().exec_driver_sql(statements)
    for table in TABLES:
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY")
    run("DELETE FROM shield.logins WHERE role = 'masker'")
    run("ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY")
    run("ALTER TABLE shield.calls DROP COLUMN did, DROP COLUMN direction")
    for table in TABLES:
        run(f"DROP TABLE shield.{table}")
    for domain in DOMAIN_NAMES:
        run(f"DROP DOMAIN shield.{domain}")
