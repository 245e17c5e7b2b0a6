"""Which functions, rights and policies a database has: one line a thing, read from PostgreSQL's own catalog.

Invariants: no function of ours is asked, because whoever replaces one could replace that too; the same things give the
same lines whoever asks; partitions have a line only when they deviate, so that a new month changes nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from esl_shield.db import shipped_sql
from esl_shield.db.schema import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SCHEMAS = "('shield', 'shield_api', 'dba')"
_HASH = "coalesce(encode(sha256(convert_to({0}, 'UTF8')), 'hex'), '-')"
_ACL = "coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest({0}) a), '-')"

# Definitions are spelled by the search_path of whoever asks, so it is the same for all. Compiling this (jit) costs
# three times what running it does, with every block.
STATEMENT = f"""
SET LOCAL search_path = pg_catalog; SET LOCAL jit = off;
SELECT 'function ' || n.nspname || '.' || p.proname || '(' || coalesce((SELECT string_agg(t.typname, ',' ORDER BY a.o)
        FROM unnest(p.proargtypes) WITH ORDINALITY a(t, o) JOIN pg_catalog.pg_type t ON t.oid = a.t), '') || ')',
    'body ' || {_HASH.format("p.prosrc")} || ' language ' || l.lanname
        || ' definer ' || p.prosecdef || ' volatile ' || p.provolatile::text || ' kind ' || p.prokind::text
        || ' strict ' || p.proisstrict || ' leakproof ' || p.proleakproof
        || ' defaults ' || {_HASH.format("pg_catalog.pg_get_expr(p.proargdefaults, 0)")}
        || ' inlined ' || {_HASH.format("pg_catalog.pg_get_function_sqlbody(p.oid)")}
        || ' settings ' || coalesce(array_to_string(p.proconfig, ';'), '-') || ' owner ' || r.rolname
        || ' rights ' || {_ACL.format("p.proacl")}
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
WHERE n.nspname IN {_SCHEMAS} OR p.oid IN (SELECT t.tgfoid FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
    WHERE s.nspname IN {_SCHEMAS} AND NOT t.tgisinternal)
UNION ALL
SELECT 'schema ' || n.nspname, 'owner ' || r.rolname || ' rights ' || {_ACL.format("n.nspacl")}
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE n.nspname IN {_SCHEMAS}
UNION ALL
SELECT 'table ' || n.nspname || '.' || c.relname, 'row security ' || c.relrowsecurity || ' forced '
    || c.relforcerowsecurity || ' owner ' || r.rolname || ' rights ' || {_ACL.format("c.relacl")}
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE n.nspname IN {_SCHEMAS} AND c.relkind IN ('r', 'p') AND (NOT c.relispartition
    OR NOT c.relrowsecurity OR NOT c.relforcerowsecurity OR c.relacl IS NOT NULL OR r.rolname <> '{OWNER}')
UNION ALL
SELECT 'rights on ' || n.nspname || '.' || c.relname || '.' || a.attname, {_ACL.format("a.attacl")}
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN {_SCHEMAS} AND a.attacl IS NOT NULL
UNION ALL
SELECT 'view ' || n.nspname || '.' || c.relname, 'definition '
    || encode(sha256(convert_to(pg_catalog.pg_get_viewdef(c.oid) || coalesce(c.reloptions::text, ''), 'UTF8')), 'hex')
    || ' owner ' || r.rolname || ' rights ' || {_ACL.format("c.relacl")}
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles r ON r.oid = c.relowner WHERE n.nspname IN {_SCHEMAS} AND c.relkind IN ('v', 'm')
UNION ALL
SELECT 'policy ' || p.schemaname || '.' || p.tablename || '.' || p.policyname, encode(sha256(convert_to(
    concat_ws(' | ', p.permissive, p.roles::text, p.cmd, coalesce(p.qual, '-'), coalesce(p.with_check, '-')), 'UTF8')),
    'hex')
FROM pg_catalog.pg_policies p WHERE p.schemaname IN {_SCHEMAS}
UNION ALL
SELECT 'trigger ' || n.nspname || '.' || c.relname || '.'
        || CASE WHEN t.tgisinternal THEN regexp_replace(t.tgname, '[0-9]+$', '') ELSE t.tgname END,
    CASE t.tgenabled WHEN 'D' THEN 'disabled' ELSE 'enabled ' || t.tgenabled::text END
        || CASE WHEN t.tgisinternal THEN ''
            ELSE ' definition ' || {_HASH.format("pg_catalog.pg_get_triggerdef(t.oid)")} END
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN {_SCHEMAS} AND (NOT t.tgisinternal AND t.tgparentid = 0 OR t.tgenabled <> 'O')
UNION ALL
SELECT 'rule ' || n.nspname || '.' || c.relname || '.' || w.rulename, 'enabled ' || w.ev_enabled::text
    || ' definition ' || {_HASH.format("pg_catalog.pg_get_ruledef(w.oid)")}
FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN {_SCHEMAS} AND w.rulename <> '_RETURN'
UNION ALL
SELECT 'event trigger ' || e.evtname, 'enabled ' || e.evtenabled::text || ' on ' || e.evtevent || ' when '
    || coalesce(array_to_string(e.evttags, ','), '-') || ' runs ' || e.evtfoid::regproc::text
FROM pg_catalog.pg_event_trigger e
"""


def manifest(rows: Iterable[tuple[str, str]]) -> str:
    """Return the lines of what STATEMENT answered, sorted by their bytes, each ``thing``, tab, ``what it is``."""
    lines = {f"{thing}\t{is_}".replace("\n", " ") for thing, is_ in rows}
    return "".join(f"{line}\n" for line in sorted(lines, key=str.encode))


def manifest_hash(text: str) -> bytes:
    """Return the hash a block's header holds as ``code``."""
    return hashlib.sha256(text.encode()).digest()


def differences(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Yield each thing that differs and how."""
    old, new = _things(before), _things(after)
    for thing in sorted(old.keys() | new.keys()):
        if old.get(thing) != new.get(thing):
            yield thing, "is gone" if thing not in new else "is new" if thing not in old else "was changed"


def foreign_functions(text: str) -> Iterator[str]:
    """Yield each function whose body is not the one this release ships."""
    bodies = shipped_bodies()
    for thing, what in _things(text).items():
        kind, _, name = thing.partition(" ")
        if kind == "function" and not what.startswith(f"body {bodies.get(name.partition('(')[0])} "):
            yield thing


def shipped_bodies() -> dict[str, str]:
    """Return the hash of each function's body as this release ships it, by its qualified name."""
    return {name: hashlib.sha256(f.source.encode()).hexdigest() for name, f in shipped_sql.functions().items()}


def _things(text: str) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in text.splitlines())
