"""The SQL that follows the tables: functions, views, policies, grants, in the order they are applied.

Invariants: one file per function and view, named after it; every file can be applied again over itself; the hash covers
all files, so a database records exactly which ones it has.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

OWNER = "shield_owner"
LOGIN_ROLES = ("worker", "resolver", "masker", "seeder", "auditor", "revealer", "scanner", "canary", "rekeyer")
GROUP_ROLES = tuple(f"shield_{role}" for role in LOGIN_ROLES)
SCHEMAS = ("shield", "shield_api", "dba")

_SQL = Path(__file__).resolve().parent / "sql"


def sql_files() -> list[Path]:
    """Every file, in order: helpers, the policies that use them, functions, views, retired ones, grants."""
    ordered = [*_folder("shield"), _SQL / "policies.sql", *_folder("shield_api"), *_folder("dba")]
    return [*ordered, _SQL / "retired.sql", _SQL / "grants.sql"]


def sql_hash(files: list[Path] | None = None) -> str:
    """SHA-256 over names and contents, hexadecimal."""
    digest = hashlib.sha256()
    for path in files or sql_files():
        digest.update(f"{path.relative_to(_SQL)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _folder(name: str) -> list[Path]:
    return sorted((_SQL / name).glob("*.sql"))
