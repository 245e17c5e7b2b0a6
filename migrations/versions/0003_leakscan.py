"""Logins that search for leaks: how many look-ups a second each may make."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Roles are listed in db/schema.py; here only their form.
LOGINS = """
ALTER TABLE shield.logins DROP CONSTRAINT IF EXISTS logins_role_check;
ALTER TABLE shield.logins ADD CONSTRAINT logins_role_check CHECK (role ~ '^[a-z]{1,16}$');
ALTER TABLE shield.logins ADD COLUMN lookups_per_s int CHECK (lookups_per_s >= 0);
COMMENT ON COLUMN shield.logins.lookups_per_s IS 'scanner: numbers it may look up in a second; NULL: none';
"""

WITHOUT = """
DO $$
DECLARE
    v_sequence regclass;
BEGIN
    FOR v_sequence IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'shield'::regnamespace
            AND c.relkind = 'S' AND c.relname ~ '^lookups_[0-9a-f]{32}$' LOOP
        EXECUTE 'DROP SEQUENCE ' || v_sequence;
    END LOOP;
END
$$;
ALTER TABLE shield.logins DROP COLUMN lookups_per_s;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(LOGINS)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(WITHOUT)
