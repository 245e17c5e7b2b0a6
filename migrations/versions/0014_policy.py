"""Calling policy of a tenant, agents locked out for guessing, and logins that may mint no more."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLES = ("do_not_call", "agent_locks", "wrong_dials", "policy_marks", "policies")

DOMAINS = """
CREATE DOMAIN shield.weekly_hours AS int4multirange CHECK (VALUE <@ '{[0,10080)}'::int4multirange
    AND length(VALUE::text) <= 1500);
CREATE DOMAIN shield.zone AS text CHECK (VALUE ~ '^([A-Za-z_]+(/[A-Za-z0-9_+-]+){1,2}|UTC)$' AND length(VALUE) <= 64);
CREATE DOMAIN shield.few_seconds AS int CHECK (VALUE BETWEEN 1 AND 31536000);
COMMENT ON DOMAIN shield.weekly_hours IS 'minutes of a week, from Monday 00:00 by the customer''s clock';
COMMENT ON DOMAIN shield.zone IS 'an IANA time zone';
COMMENT ON DOMAIN shield.few_seconds IS 'seconds, up to a year';
"""

TENANTS = """
ALTER TABLE shield.tenants
    ADD COLUMN guarded boolean NOT NULL DEFAULT false,
    ADD COLUMN wrong_dials int DEFAULT 10 CHECK (wrong_dials BETWEEN 2 AND 1000000),
    ADD COLUMN wrong_dials_s shield.few_seconds NOT NULL DEFAULT 300;
COMMENT ON COLUMN shield.tenants.guarded IS 'it has a policy or a locked agent: there is more to ask than caps';
COMMENT ON COLUMN shield.tenants.wrong_dials IS
    'wrong tokens in wrong_dials_s after which an agent is locked; NULL: never';
COMMENT ON COLUMN shield.tenants.wrong_dials_s IS 'seconds from the first wrong token';
ALTER TABLE shield.logins ADD COLUMN locked_at timestamptz, ADD COLUMN locked_for shield.word;
COMMENT ON COLUMN shield.logins.locked_at IS 'since when it may mint no permit; NULL: it may';
COMMENT ON COLUMN shield.logins.locked_for IS 'what it was locked for';
"""

POLICIES = """
CREATE TABLE shield.policies (
    tenant_id int PRIMARY KEY REFERENCES shield.tenants,
    hours shield.weekly_hours,
    time_zone shield.zone,
    closed_days date[] NOT NULL DEFAULT '{}' CHECK (cardinality(closed_days) <= 400),
    gap_s shield.few_seconds,
    agent_per_day shield.calls_a_day,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE shield.policies IS 'when and how often a tenant''s customers may be called; a NULL is no rule';
COMMENT ON COLUMN shield.policies.tenant_id IS 'whose policy it is';
COMMENT ON COLUMN shield.policies.hours IS 'when customers may be called, by their own clock; empty: never';
COMMENT ON COLUMN shield.policies.time_zone IS
    'the clock of a customer whose own is not known; NULL: such a one is not called';
COMMENT ON COLUMN shield.policies.closed_days IS 'days, by the customer''s calendar, on which nobody is called';
COMMENT ON COLUMN shield.policies.gap_s IS 'least seconds from the start of one call to a customer to the next';
COMMENT ON COLUMN shield.policies.agent_per_day IS 'calls of one agent in 24 hours from the first';
COMMENT ON COLUMN shield.policies.changed_at IS 'when it was last set';
COMMENT ON COLUMN shield.policies.changed_by IS 'the login that set it';
CREATE TABLE shield.policy_marks (
    tenant_id int NOT NULL,
    kind shield.word NOT NULL,
    name text NOT NULL,
    since timestamptz NOT NULL,
    used int NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind, name)
) WITH (fillfactor = 70);
COMMENT ON TABLE shield.policy_marks IS 'what gap and agent_per_day count by; written only where a policy has them';
COMMENT ON COLUMN shield.policy_marks.tenant_id IS 'whose call it was';
COMMENT ON COLUMN shield.policy_marks.kind IS 'customer or agent';
COMMENT ON COLUMN shield.policy_marks.name IS 'the customer''s token, or the agent';
COMMENT ON COLUMN shield.policy_marks.since IS 'when the window of 24 hours opened';
COMMENT ON COLUMN shield.policy_marks.used IS 'calls in that window';
COMMENT ON COLUMN shield.policy_marks.last_at IS 'start of the last call that was allowed';
"""

# Never the digits: what was dialled wrongly may be a number.
LOCKS = """
CREATE UNLOGGED TABLE shield.wrong_dials (
    tenant_id int NOT NULL,
    agent text NOT NULL,
    since timestamptz NOT NULL,
    wrong int NOT NULL,
    near int NOT NULL,
    place int NOT NULL,
    PRIMARY KEY (tenant_id, agent)
) WITH (fillfactor = 50);
COMMENT ON TABLE shield.wrong_dials IS
    'wrong tokens an agent dialled lately, counted; unlogged, and gone soon after the window';
COMMENT ON COLUMN shield.wrong_dials.tenant_id IS 'the agent''s tenant';
COMMENT ON COLUMN shield.wrong_dials.agent IS 'who dialled';
COMMENT ON COLUMN shield.wrong_dials.since IS 'when the first of them was dialled';
COMMENT ON COLUMN shield.wrong_dials.wrong IS 'how many';
COMMENT ON COLUMN shield.wrong_dials.near IS
    'how many of them began like the one before, all but their last three digits';
COMMENT ON COLUMN shield.wrong_dials.place IS
    '16 bits of a hash of the last one''s beginning: the same for a neighbour, too few to find digits by';
CREATE TABLE shield.agent_locks (
    tenant_id int NOT NULL REFERENCES shield.tenants,
    agent shield.agent NOT NULL,
    locked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason shield.word NOT NULL,
    PRIMARY KEY (tenant_id, agent)
);
COMMENT ON TABLE shield.agent_locks IS 'agents whose every call is refused until a steward unlocks them';
COMMENT ON COLUMN shield.agent_locks.tenant_id IS 'the agent''s tenant';
COMMENT ON COLUMN shield.agent_locks.agent IS 'who may not call';
COMMENT ON COLUMN shield.agent_locks.locked_at IS 'since when';
COMMENT ON COLUMN shield.agent_locks.reason IS 'wrong_tokens or sequential_tokens';
"""

DO_NOT_CALL = """
ALTER TABLE shield.tenants ADD COLUMN list_for_all boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN shield.tenants.list_for_all IS 'its do-not-call list holds for every tenant';
CREATE TABLE shield.do_not_call (
    tenant_id int NOT NULL REFERENCES shield.tenants,
    number_index shield.sha256 NOT NULL,
    index_version shield.version NOT NULL,
    entry uuid NOT NULL UNIQUE,
    ciphertext shield.ciphertext NOT NULL,
    key_version shield.version NOT NULL,
    login text NOT NULL DEFAULT session_user,
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, number_index)
);
COMMENT ON TABLE shield.do_not_call IS
    'numbers nobody may call, by blind index; the resolver asks before it gives one out';
COMMENT ON COLUMN shield.do_not_call.tenant_id IS 'whose list it is';
COMMENT ON COLUMN shield.do_not_call.number_index IS 'blind index of the number under the index key of index_version';
COMMENT ON COLUMN shield.do_not_call.index_version IS 'which index key';
COMMENT ON COLUMN shield.do_not_call.entry IS 'the entry''s name';
COMMENT ON COLUMN shield.do_not_call.ciphertext IS
    'the encrypted number, from which a new index is made when the index key is replaced; opens for this entry alone';
COMMENT ON COLUMN shield.do_not_call.key_version IS 'which data key';
COMMENT ON COLUMN shield.do_not_call.login IS 'who added it';
COMMENT ON COLUMN shield.do_not_call.added_at IS 'when';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statements in (DOMAINS, TENANTS, POLICIES, LOCKS, DO_NOT_CALL):
        run(statements)
    for table in TABLES:
        run(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        run(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for table in TABLES:
        run(f"DROP TABLE shield.{table}")
    run(
        "ALTER TABLE shield.tenants DROP COLUMN guarded, DROP COLUMN wrong_dials, DROP COLUMN wrong_dials_s,"
        " DROP COLUMN list_for_all"
    )
    run("ALTER TABLE shield.logins DROP COLUMN locked_at, DROP COLUMN locked_for")
    for domain in ("weekly_hours", "zone", "few_seconds"):
        run(f"DROP DOMAIN shield.{domain}")
