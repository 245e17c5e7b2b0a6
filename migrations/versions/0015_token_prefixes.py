"""Token prefixes whose tokens need no row: decrypted by computing (ff1) or by the tenant's own service (crm)."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLES = ("rowless_tokens", "token_prefixes")
DOMAIN_NAMES = ("method", "token_prefix")

TENANTS = """
ALTER TABLE shield.tenants ADD COLUMN rowless boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN shield.tenants.rowless IS 'true: it has token prefixes whose tokens need no row';
"""

PREFIXES = """
CREATE DOMAIN shield.token_prefix AS text CHECK (VALUE ~ '^[0-9]{1,8}$');
CREATE DOMAIN shield.method AS text CHECK (VALUE IN ('ff1', 'crm'));
CREATE TABLE shield.token_prefixes (
    prefix shield.token_prefix PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES shield.tenants,
    method shield.method NOT NULL,
    length int NOT NULL CHECK (length BETWEEN 8 AND 20),
    key_version shield.version,
    countries text[] NOT NULL,
    ranges text[] NOT NULL,
    line_types text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    CHECK ((method = 'ff1') = (key_version IS NOT NULL))
);
COMMENT ON TABLE shield.token_prefixes IS 'prefixes of tokens without a row; a retired one stays and is never reused';
CREATE TABLE shield.rowless_tokens (
    tenant_id int NOT NULL REFERENCES shield.tenants,
    token shield.token NOT NULL,
    status shield.token_status NOT NULL DEFAULT 'active',
    expires_at timestamptz,
    per_day shield.calls_a_day,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, token)
);
COMMENT ON TABLE shield.rowless_tokens IS 'what was said of a token without a row: revoked, an end, a cap';
"""

PURPOSES = """
ALTER TABLE shield.data_keys DROP CONSTRAINT data_keys_purpose_check,
    ADD CONSTRAINT data_keys_purpose_check CHECK (purpose IN ('data', 'index', 'ff1'));
"""

WITHOUT = """
ALTER TABLE shield.data_keys NO FORCE ROW LEVEL SECURITY;
DELETE FROM shield.data_keys WHERE purpose = 'ff1';
ALTER TABLE shield.data_keys FORCE ROW LEVEL SECURITY;
ALTER TABLE shield.data_keys DROP CONSTRAINT data_keys_purpose_check,
    ADD CONSTRAINT data_keys_purpose_check CHECK (purpose IN ('data', 'index'));
ALTER TABLE shield.tenants DROP COLUMN rowless;
"""


def upgrade() -> None:
    for statements in (TENANTS, PREFIXES, PURPOSES):
        op.get_bind().exec_driver_sql(statements)
    for table in TABLES:
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for table in TABLES:
        run(f"DROP TABLE shield.{table}")
    for domain in DOMAIN_NAMES:
        run(f"DROP DOMAIN shield.{domain}")
    run(WITHOUT)
