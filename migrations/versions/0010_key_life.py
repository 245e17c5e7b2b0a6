"""The life of a key: index keys that look-ups left, destroyed keys, and how far a rekeying is."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEYS = """
ALTER TABLE shield.data_keys ALTER COLUMN wrapped DROP NOT NULL;
ALTER TABLE shield.data_keys ADD COLUMN retired_at timestamptz, ADD COLUMN destroyed_at timestamptz,
    ADD CONSTRAINT data_keys_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL));
COMMENT ON COLUMN shield.data_keys.retired_at IS 'index key: since when no look-up uses it';
COMMENT ON COLUMN shield.data_keys.destroyed_at IS 'since when the wrapped key is gone; the row stays';
"""

REKEYINGS = """
CREATE DOMAIN shield.rekey_work AS text CHECK (VALUE IN ('reencrypt', 'reindex'));
CREATE TABLE shield.rekeyings (
    tenant_id int NOT NULL REFERENCES shield.tenants,
    work shield.rekey_work NOT NULL,
    version shield.version NOT NULL,
    after_token text NOT NULL DEFAULT '',
    changed bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    moved_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, work, version)
) WITH (fillfactor = 50);
COMMENT ON TABLE shield.rekeyings IS 'how far a tenant''s rows are brought to the newest key; written with each batch';
COMMENT ON COLUMN shield.rekeyings.version IS 'the key version rows are brought to';
COMMENT ON COLUMN shield.rekeyings.after_token IS 'every token up to this one is done';
"""

WITHOUT = """
ALTER TABLE shield.data_keys NO FORCE ROW LEVEL SECURITY;
DELETE FROM shield.data_keys WHERE wrapped IS NULL;
ALTER TABLE shield.data_keys FORCE ROW LEVEL SECURITY;
ALTER TABLE shield.data_keys DROP COLUMN retired_at, DROP COLUMN destroyed_at, ALTER COLUMN wrapped SET NOT NULL;
ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY;
DELETE FROM shield.logins WHERE role = 'rekeyer';
ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY;
DROP TABLE shield.rekeyings;
DROP DOMAIN shield.rekey_work;
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(KEYS)
    run(REKEYINGS)
    run("ALTER TABLE shield.rekeyings ENABLE ROW LEVEL SECURITY")
    run("ALTER TABLE shield.rekeyings FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    # Past row-level security, which a downgrade has just left without policies. What a destroyed key encrypted stays
    # unreadable; its tombstone goes.
    op.get_bind().exec_driver_sql(WITHOUT)
