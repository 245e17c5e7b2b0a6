"""Dial permissions, calls asked for by click, the business ID a call carries and what of it is shown."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = ("clicks", "dial_permissions")
DOMAIN_NAMES = ("business_id", "shows", "click_state")

DOMAINS = """
CREATE DOMAIN shield.business_id AS text CHECK (VALUE ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$');
CREATE DOMAIN shield.shows AS text CHECK (VALUE ~ '^(token|alias|ref|[0-9]{2,6})$');
CREATE DOMAIN shield.click_state AS text CHECK (VALUE IN ('ASKED', 'TAKEN', 'FAILED', 'VOID'));
COMMENT ON DOMAIN shield.business_id IS 'a tenant''s own ID of a task, order or campaign';
COMMENT ON DOMAIN shield.shows IS 'token, alias, ref, or 2 to 6 digits that are the same for every call';
COMMENT ON DOMAIN shield.click_state IS
    'ASKED: the agent''s phone rings; TAKEN: a worker has it; FAILED: the agent''s side; VOID: no phone was rung';
"""

TENANTS = """
ALTER TABLE shield.tenants ADD COLUMN requires_permission boolean NOT NULL DEFAULT false,
    ADD COLUMN shows shield.shows NOT NULL DEFAULT 'token',
    ADD COLUMN clicks_per_minute int NOT NULL DEFAULT 10 CHECK (clicks_per_minute >= 0);
COMMENT ON COLUMN shield.tenants.requires_permission IS 'whether a token is dialled only with a dial permission';
COMMENT ON COLUMN shield.tenants.shows IS 'what agents'' phones and recordings show of a call';
COMMENT ON COLUMN shield.tenants.clicks_per_minute IS 'calls by click of one agent in a minute';
"""

CALLS = """
ALTER TABLE shield.calls ADD COLUMN ref shield.business_id, ADD COLUMN permission uuid;
CREATE INDEX calls_of_ref ON shield.calls (tenant_id, ref, started_at) WHERE ref IS NOT NULL;
COMMENT ON COLUMN shield.calls.ref IS 'the tenant''s business ID, from the dial permission or the click';
COMMENT ON COLUMN shield.calls.permission IS 'the dial permission one use of which was taken';
"""

PERMISSIONS = """
CREATE TABLE shield.dial_permissions (
    id uuid PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES shield.tenants,
    token shield.token NOT NULL,
    agent shield.agent,
    valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL CHECK (valid_until > valid_from),
    calls int CHECK (calls > 0),
    used int NOT NULL DEFAULT 0 CHECK (used >= 0 AND (calls IS NULL OR used <= calls)),
    campaign shield.business_id,
    ref shield.business_id,
    granted_by text NOT NULL DEFAULT session_user,
    granted_at timestamptz NOT NULL DEFAULT now(),
    revoked_by text,
    revoked_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX dial_permissions_of_token ON shield.dial_permissions (tenant_id, token, valid_until);
CREATE INDEX dial_permissions_by_end ON shield.dial_permissions (valid_until);
COMMENT ON TABLE shield.dial_permissions IS 'who may dial which token, when and how often; kept 30 days past the end';
COMMENT ON COLUMN shield.dial_permissions.id IS 'drawn by who grants it, so that the same again changes nothing';
COMMENT ON COLUMN shield.dial_permissions.tenant_id IS 'whose token it is';
COMMENT ON COLUMN shield.dial_permissions.token IS 'the token that may be dialled';
COMMENT ON COLUMN shield.dial_permissions.agent IS 'who may; NULL: every agent of the tenant';
COMMENT ON COLUMN shield.dial_permissions.valid_from IS 'not before';
COMMENT ON COLUMN shield.dial_permissions.valid_until IS 'not from then on';
COMMENT ON COLUMN shield.dial_permissions.calls IS 'how often in all; NULL: as often as caps allow';
COMMENT ON COLUMN shield.dial_permissions.used IS 'calls made with it';
COMMENT ON COLUMN shield.dial_permissions.campaign IS 'the tenant''s campaign it is granted for';
COMMENT ON COLUMN shield.dial_permissions.ref IS 'the business ID its calls carry';
COMMENT ON COLUMN shield.dial_permissions.granted_by IS 'the login that granted it';
COMMENT ON COLUMN shield.dial_permissions.granted_at IS 'when it was granted';
COMMENT ON COLUMN shield.dial_permissions.revoked_by IS 'the login that revoked it';
COMMENT ON COLUMN shield.dial_permissions.revoked_at IS 'when it was revoked; NULL: it stands';
"""

CLICKS = """
CREATE TABLE shield.clicks (
    channel uuid PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES shield.tenants,
    agent shield.agent NOT NULL,
    token shield.token NOT NULL,
    ref shield.business_id,
    key shield.sha256,
    state shield.click_state NOT NULL DEFAULT 'ASKED',
    cause shield.hangup_cause,
    call uuid,
    asked_by text NOT NULL DEFAULT session_user,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX clicks_by_key ON shield.clicks (tenant_id, key) WHERE state <> 'VOID';
CREATE INDEX clicks_of_agent ON shield.clicks (tenant_id, agent, asked_at);
CREATE INDEX clicks_by_age ON shield.clicks (asked_at);
COMMENT ON TABLE shield.clicks IS 'calls asked for by click, for 7 days: the principal of a leg we make ourselves';
COMMENT ON COLUMN shield.clicks.channel IS 'the UUID of the agent''s leg, drawn before there is one';
COMMENT ON COLUMN shield.clicks.tenant_id IS 'the agent''s tenant';
COMMENT ON COLUMN shield.clicks.agent IS 'whose phone rings';
COMMENT ON COLUMN shield.clicks.token IS 'who is called once the agent has answered';
COMMENT ON COLUMN shield.clicks.ref IS 'the business ID the call carries';
COMMENT ON COLUMN shield.clicks.key IS 'SHA-256 of the idempotency key: the same again is the same click';
COMMENT ON COLUMN shield.clicks.state IS 'how far it has come';
COMMENT ON COLUMN shield.clicks.cause IS 'why the agent''s leg was not answered';
COMMENT ON COLUMN shield.clicks.call IS 'the call it became';
COMMENT ON COLUMN shield.clicks.asked_by IS 'the login that asked';
COMMENT ON COLUMN shield.clicks.asked_at IS 'when it was asked for';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statements in (DOMAINS, TENANTS, CALLS, PERMISSIONS, CLICKS):
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
    run("ALTER TABLE shield.calls DROP COLUMN ref, DROP COLUMN permission")
    run("ALTER TABLE shield.tenants DROP COLUMN requires_permission, DROP COLUMN shows, DROP COLUMN clicks_per_minute")
    for domain in DOMAIN_NAMES:
        run(f"DROP DOMAIN shield.{domain}")
