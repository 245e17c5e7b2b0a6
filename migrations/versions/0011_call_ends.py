"""How a call's record was ended: workers that report, what FreeSWITCH's records say, and who wrote the end."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = ("cdr_legs", "worker_beats")

# The default comes after the column, so that calls which are there get none.
CALLS = """
ALTER TABLE shield.calls ADD COLUMN worker text, ADD COLUMN ended_by shield.word, ADD COLUMN ended_before timestamptz,
    ADD COLUMN cdr shield.word;
ALTER TABLE shield.calls ALTER COLUMN worker SET DEFAULT left(current_setting('application_name'), 64);
CREATE INDEX calls_open ON shield.calls (started_at) WHERE state IN ('AUTHORIZED', 'ANSWERED');
CREATE INDEX calls_of_channel ON shield.calls (channel, started_at);
COMMENT ON COLUMN shield.calls.worker IS 'which process of the login took the call; it reports in worker_beats';
COMMENT ON COLUMN shield.calls.ended_by IS
    'cdr: FreeSWITCH''s record; reaper: nobody knows; NULL: the worker, or no end';
COMMENT ON COLUMN shield.calls.ended_before IS 'where ended_at is not known: the call was over by then';
COMMENT ON COLUMN shield.calls.cdr IS 'FreeSWITCH''s record agrees, differs or ended the call; NULL: none has come';
"""

BEATS = """
CREATE UNLOGGED TABLE shield.worker_beats (
    login text NOT NULL,
    worker text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (login, worker)
) WITH (fillfactor = 50);
COMMENT ON TABLE shield.worker_beats IS 'when each worker last reported; unlogged: after a crash they report again';
COMMENT ON COLUMN shield.worker_beats.login IS 'the worker''s login';
COMMENT ON COLUMN shield.worker_beats.worker IS 'the process, as calls.worker names it';
COMMENT ON COLUMN shield.worker_beats.at IS 'when it last reported';
"""

LEGS = """
CREATE TABLE shield.cdr_legs (
    call uuid NOT NULL,
    call_started_at timestamptz NOT NULL,
    tenant_id int NOT NULL,
    channel uuid NOT NULL,
    other_channel uuid,
    state shield.call_state NOT NULL,
    cause shield.hangup_cause,
    sip_code shield.sip_code,
    ringing_at timestamptz,
    answered_at timestamptz,
    bridged_at timestamptz,
    ended_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (call, channel)
);
CREATE INDEX cdr_legs_by_age ON shield.cdr_legs (received_at);
COMMENT ON TABLE shield.cdr_legs IS 'what FreeSWITCH''s records said of our calls'' legs, for a day; never a number';
COMMENT ON COLUMN shield.cdr_legs.call IS 'whose leg it was';
COMMENT ON COLUMN shield.cdr_legs.call_started_at IS 'the call''s started_at';
COMMENT ON COLUMN shield.cdr_legs.tenant_id IS 'the call''s tenant';
COMMENT ON COLUMN shield.cdr_legs.channel IS 'the leg''s UUID in FreeSWITCH';
COMMENT ON COLUMN shield.cdr_legs.other_channel IS 'the leg it was connected to last';
COMMENT ON COLUMN shield.cdr_legs.state IS 'how an unanswered call with this cause ends';
COMMENT ON COLUMN shield.cdr_legs.cause IS 'why it was hung up';
COMMENT ON COLUMN shield.cdr_legs.sip_code IS 'the SIP status of that cause';
COMMENT ON COLUMN shield.cdr_legs.ringing_at IS 'first sign of the far side';
COMMENT ON COLUMN shield.cdr_legs.answered_at IS 'when this leg was answered';
COMMENT ON COLUMN shield.cdr_legs.bridged_at IS 'when it was last connected to another';
COMMENT ON COLUMN shield.cdr_legs.ended_at IS 'when it was hung up';
COMMENT ON COLUMN shield.cdr_legs.received_at IS 'when the record came';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statements in (CALLS, BEATS, LEGS):
        run(statements)
    for table in TABLES:
        run(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        run(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY")
    run("DELETE FROM shield.logins WHERE role IN ('intake', 'reaper')")
    run("ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY")
    for table in TABLES:
        run(f"DROP TABLE shield.{table}")
    run("DROP INDEX shield.calls_open")
    run("DROP INDEX shield.calls_of_channel")
    run("ALTER TABLE shield.calls DROP COLUMN worker, DROP COLUMN ended_by, DROP COLUMN ended_before, DROP COLUMN cdr")
