"""Reveals: one look-up for one case by two people, and who these people are."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("reveal_usage", "reveal_tickets", "reveals")
DOMAIN_NAMES = ("reveal_state", "reveal_kind", "reveal_step", "case_id", "reason", "person", "reveal_rights")

DOMAINS = """
CREATE DOMAIN shield.person AS text CHECK (VALUE ~ '^[^[:cntrl:]]{1,64}$' AND VALUE = btrim(VALUE)
    AND VALUE !~ '[0-9]{5}');
CREATE DOMAIN shield.reveal_rights AS text[] CHECK (VALUE <@ ARRAY['request', 'approve']);
CREATE DOMAIN shield.case_id AS text CHECK (VALUE ~ '^[^[:cntrl:]]{1,64}$' AND VALUE = btrim(VALUE));
CREATE DOMAIN shield.reason AS text CHECK (VALUE ~ '^[^[:cntrl:]]+$' AND length(VALUE) <= 300
    AND VALUE = btrim(VALUE));
CREATE DOMAIN shield.reveal_kind AS text CHECK (VALUE IN ('number', 'calls'));
CREATE DOMAIN shield.reveal_state AS text CHECK (VALUE IN ('DRAFT', 'REQUESTED', 'APPROVED', 'OPENED', 'DENIED'));
CREATE DOMAIN shield.reveal_step AS text CHECK (VALUE IN ('request', 'approve', 'open'));
COMMENT ON DOMAIN shield.person IS 'whose login it is: a name, no number';
"""

LOGINS = """
ALTER TABLE shield.logins ADD COLUMN person shield.person, ADD COLUMN rights shield.reveal_rights;
COMMENT ON COLUMN shield.logins.person IS 'revealer: who it belongs to; two logins of one person never make a pair';
COMMENT ON COLUMN shield.logins.rights IS 'revealer: request, approve or both';
"""

REVEALS = """
CREATE TABLE shield.reveals (
    id uuid PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES shield.tenants,
    kind shield.reveal_kind NOT NULL,
    token shield.token,
    number_index shield.sha256,
    index_version shield.version,
    case_id shield.case_id NOT NULL,
    reason shield.reason NOT NULL,
    state shield.reveal_state NOT NULL,
    requester text NOT NULL,
    requester_person shield.person NOT NULL,
    approver text,
    approver_person shield.person,
    denied_by text,
    requested_at timestamptz NOT NULL,
    approved_at timestamptz,
    opened_at timestamptz,
    disclosed_at timestamptz,
    expires_at timestamptz NOT NULL
);
CREATE INDEX reveals_of_tenant ON shield.reveals (tenant_id, requested_at);
CREATE INDEX reveals_with_index ON shield.reveals (expires_at) WHERE number_index IS NOT NULL;
COMMENT ON TABLE shield.reveals IS 'one look-up for one case: one person asks, another approves, it is opened once';
COMMENT ON COLUMN shield.reveals.token IS 'kind number: asked for; kind calls: found when it was disclosed';
COMMENT ON COLUMN shield.reveals.number_index IS 'kind calls: blind index of the number asked for, until it is over';
"""

TICKETS = """
CREATE UNLOGGED TABLE shield.reveal_tickets (
    ticket_hash shield.sha256 PRIMARY KEY,
    reveal uuid NOT NULL,
    tenant_id int NOT NULL,
    step shield.reveal_step NOT NULL,
    login text NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE shield.reveal_tickets IS 'the right to take one step at the resolver; unlogged: a crash empties it';
CREATE TABLE shield.reveal_usage (
    login text PRIMARY KEY,
    since timestamptz NOT NULL,
    used int NOT NULL
);
COMMENT ON TABLE shield.reveal_usage IS 'steps a login took since its window opened; the window is 60 minutes';
"""

# Calls are found by their token.
CALLS = "CREATE INDEX calls_of_token ON shield.calls (tenant_id, token, started_at)"


def upgrade() -> None:
    for statements in (DOMAINS, LOGINS, REVEALS, TICKETS, CALLS):
        op.get_bind().exec_driver_sql(statements)
    for table in TABLES:
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("DROP INDEX shield.calls_of_token")
    for table in TABLES:
        run(f"DROP TABLE shield.{table}")
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY")
    run("DELETE FROM shield.logins WHERE role = 'revealer'")
    run("ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY")
    run("ALTER TABLE shield.logins DROP COLUMN person, DROP COLUMN rights")
    for domain in DOMAIN_NAMES:
        run(f"DROP DOMAIN shield.{domain}")
