"""Calls, audit events, permits and the counters behind the caps."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("permits", "mint_buckets", "tenant_usage", "agent_usage", "token_usage", "audit_events", "calls")

DOMAIN_NAMES = (
    "agent",
    "gateway",
    "delivery",
    "call_state",
    "hangup_cause",
    "sip_code",
    "small",
    "event_kind",
    "detail",
)

DOMAINS = """
CREATE DOMAIN shield.agent AS text CHECK (VALUE ~ '^[^[:cntrl:]]{1,64}$');
CREATE DOMAIN shield.gateway AS text CHECK (VALUE ~ '^[A-Za-z0-9._-]{1,64}$');
CREATE DOMAIN shield.delivery AS text CHECK (VALUE IN ('edge', 'direct'));
CREATE DOMAIN shield.call_state AS text CHECK (VALUE IN ('AUTHORIZED', 'ANSWERED', 'REFUSED', 'COMPLETED', 'BUSY',
    'NO_ANSWER', 'CANCELLED', 'REJECTED', 'UNREACHABLE', 'FAILED', 'LOST'));
CREATE DOMAIN shield.hangup_cause AS text CHECK (VALUE ~ '^[A-Z][A-Z0-9_]{0,63}$' AND VALUE !~ '[0-9]{5}');
CREATE DOMAIN shield.sip_code AS int CHECK (VALUE BETWEEN 100 AND 699);
CREATE DOMAIN shield.small AS int CHECK (VALUE BETWEEN 0 AND 10000);
CREATE DOMAIN shield.event_kind AS text CHECK (VALUE ~ '^[a-z_]{1,32}[.][a-z_]{1,32}$');
CREATE DOMAIN shield.detail AS jsonb CHECK (jsonb_typeof(VALUE) = 'object' AND octet_length(VALUE::text) <= 4096);
"""

CALLS = """
CREATE TABLE shield.calls (
    id uuid NOT NULL,
    tenant_id int NOT NULL,
    agent shield.agent,
    token shield.token,
    alias shield.alias,
    dialled_class shield.word,
    dialled_length shield.small,
    channel uuid,
    gateway shield.gateway,
    delivery shield.delivery,
    state shield.call_state NOT NULL,
    hangup_cause shield.hangup_cause,
    sip_code shield.sip_code,
    attempts shield.small NOT NULL DEFAULT 0,
    permits shield.small NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    ringing_at timestamptz,
    answered_at timestamptz,
    ended_at timestamptz,
    talk_s numeric(12, 3) GENERATED ALWAYS AS (
        CASE WHEN ended_at >= answered_at THEN extract(epoch FROM (ended_at - answered_at)) END) STORED,
    login text NOT NULL DEFAULT session_user,
    PRIMARY KEY (id, started_at)
) PARTITION BY RANGE (started_at);
CREATE INDEX calls_of_tenant ON shield.calls (tenant_id, started_at);
CREATE TABLE shield.calls_default PARTITION OF shield.calls DEFAULT;
COMMENT ON TABLE shield.calls IS 'the call detail record: tokens, agents, times, causes; never a telephone number';
COMMENT ON COLUMN shield.calls.token IS 'only when the token exists in that tenant';
COMMENT ON COLUMN shield.calls.permits IS 'how many permits were minted for the call, at most 4';
"""

AUDIT = """
CREATE SEQUENCE shield.audit_event_ids;
CREATE TABLE shield.audit_events (
    id bigint NOT NULL DEFAULT nextval('shield.audit_event_ids'),
    at timestamptz NOT NULL DEFAULT now(),
    tenant_id int,
    kind shield.event_kind NOT NULL,
    login text NOT NULL DEFAULT session_user,
    agent shield.agent,
    token shield.token,
    call uuid,
    detail shield.detail NOT NULL DEFAULT '{}',
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
ALTER SEQUENCE shield.audit_event_ids OWNED BY shield.audit_events.id;
CREATE TABLE shield.audit_events_default PARTITION OF shield.audit_events DEFAULT;
COMMENT ON TABLE shield.audit_events IS 'append-only: no policy lets its owner change or delete a row';
"""

PERMITS = """
CREATE UNLOGGED TABLE shield.permits (
    permit_hash shield.sha256 PRIMARY KEY,
    call uuid NOT NULL,
    tenant_id int NOT NULL,
    agent shield.agent NOT NULL,
    token shield.token NOT NULL,
    gateway shield.gateway NOT NULL,
    delivery shield.delivery NOT NULL,
    sip_call_id text,
    expires_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX permits_of_call ON shield.permits (call);
CREATE INDEX permits_by_expiry ON shield.permits (expires_at);
COMMENT ON TABLE shield.permits IS 'unlogged: a crash empties it, so no permit outlives one';
"""

USAGE = """
CREATE TABLE shield.token_usage (
    tenant_id int NOT NULL,
    token text NOT NULL,
    since timestamptz NOT NULL,
    used int NOT NULL,
    PRIMARY KEY (tenant_id, token)
) WITH (fillfactor = 70);
CREATE TABLE shield.agent_usage (
    tenant_id int NOT NULL,
    agent text NOT NULL,
    since timestamptz NOT NULL,
    used int NOT NULL,
    PRIMARY KEY (tenant_id, agent)
) WITH (fillfactor = 50);
CREATE TABLE shield.tenant_usage (
    tenant_id int NOT NULL,
    stripe int NOT NULL,
    day date NOT NULL,
    used int NOT NULL,
    PRIMARY KEY (tenant_id, stripe)
) WITH (fillfactor = 20);
CREATE UNLOGGED TABLE shield.mint_buckets (
    login text NOT NULL,
    stripe int NOT NULL,
    second bigint NOT NULL,
    used int NOT NULL,
    PRIMARY KEY (login, stripe)
) WITH (fillfactor = 20);
COMMENT ON TABLE shield.token_usage IS 'calls to a token since its window opened; the window is 24 hours';
COMMENT ON TABLE shield.agent_usage IS 'calls of an agent since its window opened; the window is 60 minutes';
COMMENT ON TABLE shield.tenant_usage IS '16 counters per tenant, so that calls do not queue for one row';
COMMENT ON TABLE shield.mint_buckets IS 'permits a login minted in the current second, striped as tenant_usage';
"""


def upgrade() -> None:
    for statements in (DOMAINS, CALLS, AUDIT, PERMITS, USAGE):
        op.get_bind().exec_driver_sql(statements)
    for table in (*TABLES, "calls_default", "audit_events_default"):
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    for table in TABLES:
        op.get_bind().exec_driver_sql(f"DROP TABLE shield.{table}")
    for domain in DOMAIN_NAMES:
        op.get_bind().exec_driver_sql(f"DROP DOMAIN shield.{domain}")
