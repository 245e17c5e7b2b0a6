"""Lots: an import's tokens find their blind indexes together, so that an index in the order of import does.

A lot is a few tokens of one batch; their rows in number_refs have its number too. Only who erases or replaces looks for
a blind index by its token: reading the rows of a lot costs them microseconds, while an index of all tokens cost each
import a search in the whole of it. Tokens without a lot (older ones, and those not made by whole batches) keep that
index.
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

UPGRADE = (
    "ALTER TABLE shield.tokens ADD COLUMN lot int",
    "ALTER TABLE shield.number_refs ADD COLUMN lot int",
    "DROP INDEX shield.number_refs_of_token",
    "CREATE INDEX number_refs_of_token ON shield.number_refs (token) WHERE lot IS NULL",
    "CREATE INDEX number_refs_of_lot ON shield.number_refs (tenant_id, lot) WHERE lot IS NOT NULL",
)
DOWNGRADE = (
    "DROP INDEX shield.number_refs_of_lot",
    "DROP INDEX shield.number_refs_of_token",
    "ALTER TABLE shield.number_refs DROP COLUMN lot",
    "ALTER TABLE shield.tokens DROP COLUMN lot",
    "CREATE INDEX number_refs_of_token ON shield.number_refs (token)",
)


def upgrade() -> None:
    _run(UPGRADE)


def downgrade() -> None:
    _run(DOWNGRADE)


def _run(statements: tuple[str, ...]) -> None:
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)
