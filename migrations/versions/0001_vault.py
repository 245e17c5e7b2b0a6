"""The vault: tenants, logins, keys, tokens, aliases and the index that keeps a number's token unique."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTITIONS = 16
DOMAIN_NAMES = (
    "token",
    "alias",
    "ciphertext",
    "sha256",
    "version",
    "region_code",
    "place",
    "word",
    "labels",
    "token_status",
)
TABLES = ("applied_sql", "aliases", "number_refs", "tokens", "token_space", "data_keys", "logins", "tenants")

# Domains, not CHECKs: PostgreSQL parses a table's CHECKs again for every INSERT (measured: 140 us for those of a call).
DOMAINS = """
CREATE DOMAIN shield.token AS text CHECK (VALUE ~ '^[0-9]{8,20}$');
CREATE DOMAIN shield.alias AS text CHECK (VALUE ~ '^[A-Za-z0-9._-]{1,64}$');
CREATE DOMAIN shield.ciphertext AS bytea CHECK (octet_length(VALUE) BETWEEN 34 AND 512);
CREATE DOMAIN shield.sha256 AS bytea CHECK (octet_length(VALUE) = 32);
CREATE DOMAIN shield.token_status AS text CHECK (VALUE IN ('active', 'revoked'));
CREATE DOMAIN shield.version AS int CHECK (VALUE > 0);
CREATE DOMAIN shield.region_code AS text CHECK (VALUE ~ '^([A-Z]{2}|001)$');
CREATE DOMAIN shield.place AS text CHECK (length(VALUE) <= 128 AND VALUE !~ '[0-9]{5}');
CREATE DOMAIN shield.word AS text CHECK (VALUE ~ '^[a-z_]{1,32}$');
CREATE DOMAIN shield.labels AS jsonb CHECK (jsonb_typeof(VALUE) = 'object' AND octet_length(VALUE::text) <= 8192);
COMMENT ON DOMAIN shield.ciphertext IS 'header, encrypted number, tag: too long for a plain number';
COMMENT ON DOMAIN shield.place IS 'region or time zone: no run of digits as long as a number';
"""

TENANTS = """
CREATE TABLE shield.tenants (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    domain text NOT NULL UNIQUE CHECK (domain = lower(domain) AND domain ~ '^[a-z0-9]([a-z0-9.:-]{0,252})$'),
    token_prefix text NOT NULL UNIQUE CHECK (token_prefix ~ '^[0-9]{1,8}$'),
    token_length int NOT NULL CHECK (token_length BETWEEN 8 AND 20),
    region shield.region_code NOT NULL,
    token_per_day int DEFAULT 10 CHECK (token_per_day >= 0),
    agent_per_hour int DEFAULT 300 CHECK (agent_per_hour >= 0),
    tenant_per_day int CHECK (tenant_per_day >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (token_length - length(token_prefix) >= 5)
);
COMMENT ON COLUMN shield.tenants.token_per_day IS 'calls to one token in 24 hours from the first; NULL: no cap';
COMMENT ON COLUMN shield.tenants.agent_per_hour IS 'calls of one agent in 60 minutes from the first; NULL: no cap';
COMMENT ON COLUMN shield.tenants.tenant_per_day IS 'calls of the tenant in one UTC day, approximate; NULL: no cap';
"""

LOGINS = """
CREATE TABLE shield.logins (
    login text PRIMARY KEY CHECK (length(login) BETWEEN 1 AND 63),
    role text NOT NULL CHECK (role IN ('worker', 'resolver', 'seeder', 'auditor')),
    tenants int[],
    scope int4multirange NOT NULL,
    deliveries text[] CHECK (deliveries <@ ARRAY['edge', 'direct']),
    mint_per_s int CHECK (mint_per_s >= 0),
    mapped_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE shield.logins IS 'what each login may see; tenants, deliveries, mint_per_s: NULL means no limit';
COMMENT ON COLUMN shield.logins.scope IS 'tenants again, as policies use it: one comparison, unbounded for all';
"""

KEYS = """
CREATE TABLE shield.data_keys (
    tenant_id int NOT NULL REFERENCES shield.tenants,
    purpose text NOT NULL CHECK (purpose IN ('data', 'index')),
    version shield.version NOT NULL,
    wrapped bytea NOT NULL CHECK (octet_length(wrapped) BETWEEN 32 AND 4096),
    kek_id text NOT NULL CHECK (length(kek_id) BETWEEN 1 AND 128),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, purpose, version)
);
COMMENT ON TABLE shield.data_keys IS 'keys wrapped by the key-encryption key, which no database ever holds';
"""

TOKENS = """
CREATE TABLE shield.tokens (
    tenant_id int NOT NULL,
    token shield.token NOT NULL,
    ciphertext shield.ciphertext NOT NULL,
    key_version shield.version NOT NULL,
    status shield.token_status NOT NULL DEFAULT 'active',
    expires_at timestamptz,
    country shield.region_code,
    region shield.place,
    time_zone shield.place,
    line_type shield.word,
    labels shield.labels NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, token)
) PARTITION BY HASH (token);

CREATE TABLE shield.number_refs (
    tenant_id int NOT NULL,
    number_index shield.sha256 NOT NULL,
    index_version shield.version NOT NULL,
    token shield.token NOT NULL,
    PRIMARY KEY (tenant_id, number_index, index_version)
) PARTITION BY HASH (number_index);
COMMENT ON TABLE shield.number_refs IS 'one token per number and tenant; written with its token';

CREATE TABLE shield.aliases (
    tenant_id int NOT NULL,
    alias shield.alias NOT NULL,
    token shield.token NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, alias),
    FOREIGN KEY (tenant_id, token) REFERENCES shield.tokens
);
CREATE INDEX aliases_of_token ON shield.aliases (tenant_id, token);

CREATE TABLE shield.token_space (
    tenant_id int PRIMARY KEY REFERENCES shield.tenants,
    tokens bigint NOT NULL DEFAULT 0 CHECK (tokens >= 0)
);
COMMENT ON TABLE shield.token_space IS 'how many tokens a tenant has; imports take turns at its row';
"""

APPLIED_SQL = """
CREATE TABLE shield.applied_sql (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    hash text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE shield.applied_sql IS 'which functions, views, policies and grants this database has';
"""


def upgrade() -> None:
    for statements in (DOMAINS, TENANTS, LOGINS, KEYS, TOKENS, APPLIED_SQL):
        op.get_bind().exec_driver_sql(statements)
    partitions = []
    for parent in ("tokens", "number_refs"):
        for remainder in range(PARTITIONS):
            partition = f"{parent}_{remainder:02}"
            bounds = f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {remainder})"
            op.get_bind().exec_driver_sql(f"CREATE TABLE shield.{partition} PARTITION OF shield.{parent} {bounds}")
            partitions.append(partition)
    for table in (*TABLES, *partitions):
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    for table in TABLES:
        op.get_bind().exec_driver_sql(f"DROP TABLE shield.{table}")
    for domain in DOMAIN_NAMES:
        op.get_bind().exec_driver_sql(f"DROP DOMAIN shield.{domain}")
