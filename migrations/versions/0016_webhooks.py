"""Webhooks: whom tenants want to be told of their calls, and what waits to be told (the outbox)."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TABLES = ("webhooks", "webhook_events")

FLAGS = """
ALTER TABLE shield.tenants ADD COLUMN hooked boolean NOT NULL DEFAULT false;
ALTER TABLE shield.calls ADD COLUMN hooked boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN shield.tenants.hooked IS 'whether a webhook of the tenant that is on wants events of calls';
COMMENT ON COLUMN shield.calls.hooked IS 'whether the call''s changes are told to webhooks; decided when it began';
"""

WEBHOOKS = """
CREATE TABLE shield.webhooks (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES shield.tenants,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    url text NOT NULL CHECK (length(url) <= 500),
    events text[] NOT NULL CHECK (cardinality(events) BETWEEN 1 AND 16),
    enabled boolean NOT NULL DEFAULT true,
    secret_version int NOT NULL DEFAULT 1,
    rotated_at timestamptz,
    failures int NOT NULL DEFAULT 0,
    paused_until timestamptz,
    last_problem shield.word,
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);
COMMENT ON TABLE shield.webhooks IS 'addresses tenants want to be told at; their secrets are not in the database';
COMMENT ON COLUMN shield.webhooks.id IS 'the webhook''s id';
COMMENT ON COLUMN shield.webhooks.tenant_id IS 'whose events it is told';
COMMENT ON COLUMN shield.webhooks.name IS 'its name, one of the tenant''s';
COMMENT ON COLUMN shield.webhooks.url IS 'where events are posted';
COMMENT ON COLUMN shield.webhooks.events IS 'which kinds it is told';
COMMENT ON COLUMN shield.webhooks.enabled IS 'whether events are noted and posted';
COMMENT ON COLUMN shield.webhooks.secret_version IS 'which of its secrets signs; the secret is derived, not stored';
COMMENT ON COLUMN shield.webhooks.rotated_at IS 'when the secret was changed last; for a day both sign; NULL: never';
COMMENT ON COLUMN shield.webhooks.failures IS 'attempts in a row its receiver did not take';
COMMENT ON COLUMN shield.webhooks.paused_until IS 'its receiver is left alone until then; NULL: it is well';
COMMENT ON COLUMN shield.webhooks.last_problem IS 'why the last attempt failed; NULL: it did not';
COMMENT ON COLUMN shield.webhooks.delivered_at IS 'when an event was taken last, to the minute; NULL: never';
COMMENT ON COLUMN shield.webhooks.created_at IS 'when it was added';
"""

EVENTS = """
CREATE TABLE shield.webhook_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL,
    webhook int NOT NULL REFERENCES shield.webhooks ON DELETE CASCADE,
    call uuid,
    kind text NOT NULL,
    body jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts int NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    dead_at timestamptz,
    last_problem shield.word
);
CREATE INDEX webhook_events_due ON shield.webhook_events (webhook, next_at, id) WHERE dead_at IS NULL;
CREATE INDEX webhook_events_of_call ON shield.webhook_events (webhook, call, id) WHERE dead_at IS NULL;
CREATE INDEX webhook_events_by_age ON shield.webhook_events (since) WHERE dead_at IS NULL;
CREATE INDEX webhook_events_of_token ON shield.webhook_events (tenant_id, (body #>> '{data,token}'));
CREATE INDEX webhook_events_dead ON shield.webhook_events (dead_at) WHERE dead_at IS NOT NULL;
COMMENT ON TABLE shield.webhook_events IS
    'what waits to be told to webhooks, and what was given up; what was told is gone';
COMMENT ON COLUMN shield.webhook_events.id IS
    'the event''s id, the same at every attempt; a call''s are in their order';
COMMENT ON COLUMN shield.webhook_events.tenant_id IS 'whose event it is';
COMMENT ON COLUMN shield.webhook_events.webhook IS 'whom it is for, webhooks.id';
COMMENT ON COLUMN shield.webhook_events.call IS 'the call it is about, calls.id; NULL: none';
COMMENT ON COLUMN shield.webhook_events.kind IS 'what happened, such as call.ended';
COMMENT ON COLUMN shield.webhook_events.body IS 'what is posted; never a number';
COMMENT ON COLUMN shield.webhook_events.at IS 'when it happened';
COMMENT ON COLUMN shield.webhook_events.attempts IS 'how often it was posted';
COMMENT ON COLUMN shield.webhook_events.next_at IS 'when it is due; while it is being posted, when another may';
COMMENT ON COLUMN shield.webhook_events.since IS 'it is given up so long after this; a replay sets it anew';
COMMENT ON COLUMN shield.webhook_events.dead_at IS 'when it was given up; NULL: it waits';
COMMENT ON COLUMN shield.webhook_events.last_problem IS 'why the last attempt failed; NULL: none did';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statements in (FLAGS, WEBHOOKS, EVENTS):
        run(statements)
    for table in TABLES:
        run(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        run(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY")
    run("DELETE FROM shield.logins WHERE role = 'dispatcher'")
    run("ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY")
    for table in reversed(TABLES):
        run(f"DROP TABLE shield.{table}")
    for table in ("calls", "tenants"):
        run(f"ALTER TABLE shield.{table} DROP COLUMN hooked")
