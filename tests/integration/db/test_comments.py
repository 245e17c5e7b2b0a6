"""What every object of ours is for stands in the database itself."""

from __future__ import annotations

import pytest

# Partitions, detached months and counters made per login are described by what they belong to.
RELATIONS = """
SELECT n.nspname, c.relname, c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('shield', 'shield_api', 'dba') AND NOT c.relispartition AND c.relname !~ '^(lookups|detached)_'
"""
UNDESCRIBED = {
    "schemas": "SELECT nspname FROM pg_namespace n WHERE nspname IN ('shield', 'shield_api', 'dba')"
    " AND obj_description(n.oid, 'pg_namespace') IS NULL",
    "tables, views, sequences": f"SELECT nspname || '.' || relname FROM ({RELATIONS}) r"
    " WHERE relkind IN ('r', 'p', 'v', 'S') AND obj_description(oid, 'pg_class') IS NULL"
    " AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.objid = r.oid AND d.deptype = 'i'))",
    "columns": f"SELECT nspname || '.' || relname || '.' || attname FROM ({RELATIONS}) r"
    " JOIN pg_attribute a ON a.attrelid = r.oid WHERE relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped"
    " AND col_description(r.oid, attnum) IS NULL",
    "functions": "SELECT p.oid::regprocedure::text FROM pg_proc p"
    " WHERE pronamespace::regnamespace::text IN ('shield', 'shield_api', 'dba')"
    " AND obj_description(p.oid, 'pg_proc') IS NULL",
    "domains": "SELECT t.oid::regtype::text FROM pg_type t WHERE typnamespace = 'shield'::regnamespace"
    " AND typtype = 'd' AND obj_description(t.oid, 'pg_type') IS NULL",
}


@pytest.mark.parametrize("kind", UNDESCRIBED)
def test_everything_has_a_comment(database, kind):
    """No schema, table, view, column, function or domain of ours is without one."""
    assert " ".join(sorted(row[0] for row in database.query(UNDESCRIBED[kind]))) == ""


def test_a_view_that_counts_says_what_it_costs(database):
    """Whoever asks for a count of 100 million rows has been told."""
    rows = dict(
        database.query("SELECT relname, obj_description(oid) FROM pg_class WHERE relnamespace = 'dba'::regnamespace")
    )
    counting = [
        name
        for (name,) in database.query(
            "SELECT viewname FROM pg_views WHERE schemaname = 'dba' AND definition ~ 'count\\(\\*\\)'"
        )
    ]
    assert "token_inventory" in counting
    assert [name for name in counting if "Cost: " not in rows[name]] == []


def test_a_function_says_what_its_file_says(database):
    """A function's comment is the text its file begins with."""
    (comment,) = database.query("SELECT obj_description('shield_api.redeem_permits'::regproc)")[0]
    assert comment.startswith("Resolver: exchange permits for ciphertexts, many in one statement; each is judged by")
    assert "--" not in comment


def test_a_view_says_what_its_table_says(database):
    """A column a view takes from a table carries that column's comment."""
    rows = database.query(
        "SELECT col_description('dba.calls'::regclass, attnum) FROM pg_attribute"
        " WHERE attrelid = 'dba.calls'::regclass AND attname = 'talk_s'"
    )
    assert rows == [("seconds from answer to end; NULL: not answered, or in flight",)]
