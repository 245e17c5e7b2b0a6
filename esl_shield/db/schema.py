"""The SQL that follows the tables: functions, views, policies, grants, in the order they are applied.

Invariants: one file per function and view, named after it; every file can be applied again over itself; the hash covers
all files, so a database records exactly which ones it has.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

OWNER = "shield_owner"
LOGIN_ROLES = (
    "worker", "resolver", "masker", "seeder", "auditor", "revealer", "scanner", "canary", "sealer", "steward", "eraser",
    "housekeeper", "rekeyer", "intake", "reaper", "dispatcher", "dialler", "api",
)  # fmt: skip
GROUP_ROLES = tuple(f"shield_{role}" for role in LOGIN_ROLES)
SCHEMAS = ("shield", "shield_api", "dba")

_SQL = Path(__file__).resolve().parent / "sql"


def sql_files() -> list[Path]:
    """Every file, in order: helpers, policies that use them, functions, views, comments, retired ones, grants."""
    ordered = [*_folder("shield"), _SQL / "policies.sql", *_folder("shield_api"), _SQL / "uncomment.sql"]
    return [*ordered, *_folder("dba"), _SQL / "comments.sql", _SQL / "retired.sql", _SQL / "grants.sql"]


def function_comment(path: Path) -> str | None:
    """Return the lines a function's file begins with, its COMMENT too; None for a file of something else."""
    if path.parent.name not in ("shield", "shield_api"):
        return None
    lines = itertools.takewhile(lambda line: line.startswith("--"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("--").strip() for line in lines)


def sql_hash(files: list[Path] | None = None) -> str:
    """SHA-256 over names and contents, hexadecimal."""
    digest = hashlib.sha256()
    for path in files or sql_files():
        digest.update(f"{path.relative_to(_SQL)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _folder(name: str) -> list[Path]:
    return sorted((_SQL / name).glob("*.sql"))
