"""Who talked to the customer, and which leg of a call is the customer's."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CALLS = """
ALTER TABLE shield.calls ADD COLUMN customer_channel uuid, ADD COLUMN referred_by uuid;
CREATE INDEX calls_by_customer ON shield.calls (customer_channel) WHERE state = 'ANSWERED';
COMMENT ON COLUMN shield.calls.customer_channel IS 'FreeSWITCH''s leg to the customer, where the worker chose its UUID';
COMMENT ON COLUMN shield.calls.referred_by IS 'the call whose customer was transferred to this token';
"""

AGENTS = """
CREATE TABLE shield.call_agents (
    call uuid NOT NULL,
    call_started_at timestamptz NOT NULL,
    tenant_id int NOT NULL,
    position shield.small NOT NULL,
    agent shield.agent NOT NULL,
    channel uuid,
    from_at timestamptz NOT NULL,
    until_at timestamptz,
    PRIMARY KEY (call, position, call_started_at)
) PARTITION BY RANGE (call_started_at);
CREATE TABLE shield.call_agents_default PARTITION OF shield.call_agents DEFAULT;
COMMENT ON TABLE shield.call_agents IS 'who talked to the customer of a call, in order; the first made it';
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(CALLS)
    op.get_bind().exec_driver_sql(AGENTS)
    for table in ("call_agents", "call_agents_default"):
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} ENABLE ROW LEVEL SECURITY")
        op.get_bind().exec_driver_sql(f"ALTER TABLE shield.{table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.get_bind().exec_driver_sql("DROP TABLE shield.call_agents")
    op.get_bind().exec_driver_sql("DROP INDEX shield.calls_by_customer")
    op.get_bind().exec_driver_sql("ALTER TABLE shield.calls DROP COLUMN customer_channel, DROP COLUMN referred_by")
