"""A token's later life: caps of its own, legal holds, erasure; and how a tenant's labels are shown."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = ("label_masks", "holds", "erasures")
DOMAIN_NAMES = ("mask_pattern", "label_name", "calls_a_day")

DOMAINS = """
CREATE DOMAIN shield.calls_a_day AS int CHECK (VALUE >= 0);
CREATE DOMAIN shield.label_name AS text CHECK (length(VALUE) BETWEEN 1 AND 64 AND VALUE !~ '[[:cntrl:]]');
CREATE DOMAIN shield.mask_pattern AS text
    CHECK (VALUE ~ '^(phone|id_card|bank_card|name|address|hidden|clear|keep [0-6] [0-6])$');
COMMENT ON DOMAIN shield.mask_pattern IS 'how a label is shown; vault/masking.py reads it';
"""

# Erasing and replacing find a token's index rows without knowing its number.
TOKENS = """
ALTER TABLE shield.tokens ADD COLUMN per_day shield.calls_a_day;
COMMENT ON COLUMN shield.tokens.per_day IS 'its own cap; NULL: its tenant''s; the largest int: none';
CREATE INDEX number_refs_of_token ON shield.number_refs (tenant_id, token);
"""

HOLDS = """
CREATE TABLE shield.holds (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id int NOT NULL REFERENCES shield.tenants,
    token shield.token NOT NULL,
    case_id shield.case_id NOT NULL,
    reason shield.reason NOT NULL,
    login text NOT NULL DEFAULT session_user,
    held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_by text,
    released_at timestamptz,
    release_reason shield.reason
);
CREATE UNIQUE INDEX holds_standing ON shield.holds (tenant_id, token, case_id) WHERE released_at IS NULL;
COMMENT ON TABLE shield.holds IS 'legal holds: while one stands its token is neither erased nor given another number';
"""

ERASURES = """
CREATE TABLE shield.erasures (
    tenant_id int NOT NULL REFERENCES shield.tenants,
    token shield.token NOT NULL,
    id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    case_id shield.case_id NOT NULL,
    reason shield.reason NOT NULL,
    login text NOT NULL DEFAULT session_user,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased shield.detail NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    settled_at timestamptz,
    PRIMARY KEY (tenant_id, token)
);
COMMENT ON TABLE shield.erasures IS 'tokens whose number is gone for good; none is ever given out again';
COMMENT ON COLUMN shield.erasures.erased IS 'how many rows of each kind were removed';
COMMENT ON COLUMN shield.erasures.settled_at IS 'since when no transaction from before the erasure can write its alias';
"""

MASKS = """
CREATE TABLE shield.label_masks (
    tenant_id int NOT NULL REFERENCES shield.tenants,
    label shield.label_name NOT NULL,
    pattern shield.mask_pattern NOT NULL,
    PRIMARY KEY (tenant_id, label)
);
COMMENT ON TABLE shield.label_masks IS 'how each label of a tenant is shown; one that is not here is hidden';
"""


def upgrade() -> None:
    for statements in (DOMAINS, TOKENS, HOLDS, ERASURES, MASKS):
        op.get_bind().exec_driver_sql(statements)
    for table in TABLES:
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY")
    run("DELETE FROM shield.logins WHERE role IN ('steward', 'eraser')")
    run("ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY")
    run("DROP INDEX shield.number_refs_of_token")
    run("ALTER TABLE shield.tokens DROP COLUMN per_day")
    for table in TABLES:
        run(f"DROP TABLE shield.{table}")
    for domain in DOMAIN_NAMES:
        run(f"DROP DOMAIN shield.{domain}")
