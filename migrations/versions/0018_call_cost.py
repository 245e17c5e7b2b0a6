"""A call's row without a column PostgreSQL computes: its expression was read anew by every statement that wrote one."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TALK_S = """
ALTER TABLE shield.calls ADD COLUMN talk_s numeric(12, 3) GENERATED ALWAYS AS (
    CASE WHEN ended_at >= answered_at THEN extract(epoch FROM (ended_at - answered_at)) END) STORED
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("DROP VIEW IF EXISTS dba.calls CASCADE")  # made again, with what hangs on it, in the same transaction
    run("ALTER TABLE shield.calls DROP COLUMN talk_s")


def downgrade() -> None:
    op.get_bind().exec_driver_sql(TALK_S)
