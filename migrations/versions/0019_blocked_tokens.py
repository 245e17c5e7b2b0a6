"""Tokens a tenant's systems say nobody may call."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

BLOCKED = """
CREATE TABLE shield.blocked_tokens (
    tenant_id int NOT NULL REFERENCES shield.tenants,
    token shield.token NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT now(),
    blocked_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (tenant_id, token)
);
COMMENT ON TABLE shield.blocked_tokens IS 'tokens nobody calls until they are taken off again';
COMMENT ON COLUMN shield.blocked_tokens.tenant_id IS 'whose token it is';
COMMENT ON COLUMN shield.blocked_tokens.token IS 'the token that is refused';
COMMENT ON COLUMN shield.blocked_tokens.blocked_at IS 'since when';
COMMENT ON COLUMN shield.blocked_tokens.blocked_by IS 'the login that said so; its key stands in the audit event';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(BLOCKED)
    run("ALTER TABLE shield.blocked_tokens ENABLE ROW LEVEL SECURITY")
    run("ALTER TABLE shield.blocked_tokens FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY")
    run("DELETE FROM shield.logins WHERE role = 'dialler'")
    run("ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY")
    run("DROP TABLE shield.blocked_tokens")
