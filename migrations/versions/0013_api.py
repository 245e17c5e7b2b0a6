"""The HTTP API: keys of tenants' systems, and answers kept so that a repeated request does nothing twice."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("api_answers", "api_keys")

KEYS = """
CREATE DOMAIN shield.api_scopes AS text[] CHECK (cardinality(VALUE) > 0 AND VALUE <@
    ARRAY['tokens:write', 'tokens:read', 'calls:read', 'dial', 'permissions', 'blocklist']);
COMMENT ON DOMAIN shield.api_scopes IS 'what a key of the HTTP API may do';
CREATE TABLE shield.api_keys (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES shield.tenants,
    name text NOT NULL CHECK (name ~ '^[A-Za-z][A-Za-z0-9._-]{0,62}$' AND name !~ '[0-9]{5}'),
    kind text NOT NULL CHECK (kind IN ('secret', 'oauth')),
    key_hash shield.sha256 NOT NULL UNIQUE,
    scopes shield.api_scopes NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT session_user,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    replaces int REFERENCES shield.api_keys
);
COMMENT ON TABLE shield.api_keys IS 'who may use the HTTP API for which tenant; never the keys themselves';
COMMENT ON COLUMN shield.api_keys.id IS 'what revoking and audit events name it by';
COMMENT ON COLUMN shield.api_keys.tenant_id IS 'the one tenant it acts for';
COMMENT ON COLUMN shield.api_keys.name IS 'what the administrator calls it';
COMMENT ON COLUMN shield.api_keys.kind IS 'secret: whoever has it; oauth: a client an authorization server vouches for';
COMMENT ON COLUMN shield.api_keys.key_hash IS 'SHA-256 of the key, or of issuer and client';
COMMENT ON COLUMN shield.api_keys.scopes IS 'what it may do';
COMMENT ON COLUMN shield.api_keys.created_at IS 'when it was made';
COMMENT ON COLUMN shield.api_keys.created_by IS 'the administrator''s login';
COMMENT ON COLUMN shield.api_keys.expires_at IS 'from then on it is refused; NULL: never';
COMMENT ON COLUMN shield.api_keys.revoked_at IS 'since when it is refused; NULL: not revoked';
COMMENT ON COLUMN shield.api_keys.last_used_at IS 'when it was last accepted, to the minute; NULL: never';
COMMENT ON COLUMN shield.api_keys.replaces IS 'the key it was rotated from';
"""

ANSWERS = """
CREATE TABLE shield.api_answers (
    tenant_id int NOT NULL,
    name shield.sha256 NOT NULL,
    request shield.sha256 NOT NULL,
    answer jsonb NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);
CREATE INDEX api_answers_by_age ON shield.api_answers (tenant_id, made_at);
COMMENT ON TABLE shield.api_answers IS 'answers to requests with an idempotency key, for a day; tokens, never numbers';
COMMENT ON COLUMN shield.api_answers.tenant_id IS 'whose request it was';
COMMENT ON COLUMN shield.api_answers.name IS 'HMAC of the idempotency key, which may be a number';
COMMENT ON COLUMN shield.api_answers.request IS 'HMAC of the request, which holds numbers';
COMMENT ON COLUMN shield.api_answers.answer IS 'the answer''s body';
COMMENT ON COLUMN shield.api_answers.made_at IS 'when it was answered first';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statements in (KEYS, ANSWERS):
        run(statements)
    for table in TABLES:
        run(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        run(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY")
    run("DELETE FROM shield.logins WHERE role = 'api'")
    run("ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY")
    for table in TABLES:
        run(f"DROP TABLE shield.{table}")
    run("DROP DOMAIN shield.api_scopes")
