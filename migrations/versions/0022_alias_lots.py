"""Aliases have the lots of their tokens, so that an import writes its own corner of their index by token.

That index was one of tokens alone, which are random: each row of an import was looked for in all of it. An alias has
its token's lot, or -1 where the token has none, so that one index answers for both. Who looks must say so with CASE:
row-level security keeps coalesce, which PostgreSQL does not know to be leakproof, from the index.
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# Whoever upgrades need not be a superuser: row-level security would hide from the owner what is to be changed.
FORCED = ("shield.aliases", "shield.tokens")
UPGRADE = (
    "ALTER TABLE shield.aliases ADD COLUMN lot int NOT NULL DEFAULT -1",
    *(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY" for table in FORCED),
    """UPDATE shield.aliases a SET lot = k.lot FROM shield.tokens k
        WHERE k.tenant_id = a.tenant_id AND k.token = a.token AND k.lot IS NOT NULL""",
    *(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY" for table in FORCED),
    "DROP INDEX shield.aliases_of_token",
    "CREATE INDEX aliases_of_token ON shield.aliases (lot, token)",
)
DOWNGRADE = (
    "DROP INDEX shield.aliases_of_token",
    "ALTER TABLE shield.aliases DROP COLUMN lot",
    "CREATE INDEX aliases_of_token ON shield.aliases (token)",
)


def upgrade() -> None:
    _run(UPGRADE)


def downgrade() -> None:
    _run(DOWNGRADE)


def _run(statements: tuple[str, ...]) -> None:
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)
