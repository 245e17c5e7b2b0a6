"""What each login sees, apart from what else is kept of it; the kinds of events checked without counting."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# Kept true by PostgreSQL: a login's scope that changes changes here, a login that goes takes its row along.
SCOPES = """
ALTER TABLE shield.logins ADD CONSTRAINT logins_with_scope UNIQUE (login, scope);
CREATE TABLE shield.scopes (
    login text PRIMARY KEY,
    scope int4multirange NOT NULL,
    FOREIGN KEY (login, scope) REFERENCES shield.logins (login, scope) ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE shield.scopes IS 'the scope of each login again: all that the policies of the other tables ask of it';
COMMENT ON COLUMN shield.scopes.login IS 'the PostgreSQL login';
COMMENT ON COLUMN shield.scopes.scope IS 'the tenants it sees, as in its row of logins';
"""
# The rows of an upgrade after a downgrade are past row-level security, which is without policies then.
FILL = """
ALTER TABLE shield.logins NO FORCE ROW LEVEL SECURITY;
INSERT INTO shield.scopes SELECT l.login, l.scope FROM shield.logins l;
ALTER TABLE shield.logins FORCE ROW LEVEL SECURITY;
"""
KIND = "length(VALUE) <= 65 AND VALUE ~ '^[a-z_]+[.][a-z_]+$'"
BOUNDED_KIND = "VALUE ~ '^[a-z_]{1,32}[.][a-z_]{1,32}$'"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(SCOPES)
    run(FILL)
    run("ALTER TABLE shield.scopes ENABLE ROW LEVEL SECURITY")
    run("ALTER TABLE shield.scopes FORCE ROW LEVEL SECURITY")
    _check_kinds(KIND)


def downgrade() -> None:
    _check_kinds(BOUNDED_KIND)
    op.get_bind().exec_driver_sql("DROP TABLE shield.scopes")
    op.get_bind().exec_driver_sql("ALTER TABLE shield.logins DROP CONSTRAINT logins_with_scope")


def _check_kinds(check: str) -> None:
    run = op.get_bind().exec_driver_sql
    run("ALTER DOMAIN shield.event_kind DROP CONSTRAINT event_kind_check")
    # Not read again: what is there are the kinds our own functions write.
    run(f"ALTER DOMAIN shield.event_kind ADD CONSTRAINT event_kind_check CHECK ({check}) NOT VALID")
