"""Alembic's entry: always over the connection ``esl_shield.db.upgrade`` opened, inside its transaction."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="shield")
with context.begin_transaction():
    context.run_migrations()
