"""Webhooks are told in order of each subject: a call, and now an agent, so that an unlock follows its lock."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("ALTER TABLE shield.webhook_events RENAME COLUMN call TO subject")
    run("ALTER INDEX shield.webhook_events_of_call RENAME TO webhook_events_of_subject")
    run(
        "COMMENT ON COLUMN shield.webhook_events.subject IS 'whose events go out in order: the call''s id, or where"
        " there is no call one made of the agent''s name; NULL: it waits for none'"
    )


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    # Past row-level security, which a downgrade has just left without policies.
    run("ALTER TABLE shield.webhook_events NO FORCE ROW LEVEL SECURITY")
    run("UPDATE shield.webhook_events SET subject = NULL WHERE kind !~ '^call'")
    run("ALTER TABLE shield.webhook_events FORCE ROW LEVEL SECURITY")
    run("ALTER TABLE shield.webhook_events RENAME COLUMN subject TO call")
    run("ALTER INDEX shield.webhook_events_of_subject RENAME TO webhook_events_of_call")
    run("COMMENT ON COLUMN shield.webhook_events.call IS 'the call it is about, calls.id; NULL: none'")
