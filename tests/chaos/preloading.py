"""Small libraries in C that are loaded into a process before its own: what it then asks the system may be answered."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from esl_shield.db.binaries import find_binaries

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent


def built(name: str, folder: Path) -> Path:
    """Build ``name.c`` beside this file; without a compiler the test is skipped, with CI=true it fails."""
    if shutil.which("cc") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no C compiler")
    library = folder / f"{name}.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(HERE / f"{name}.c"), "-ldl"]
    subprocess.run(command, check=True)
    return library


def binaries_with(folder: Path, variables: Mapping[str, str]) -> Path:
    """Make a folder of PostgreSQL's programs whose server is started with these variables."""
    binaries = folder / "bin"
    binaries.mkdir()
    real = find_binaries()
    for name in ("initdb", "postgres"):
        told = "".join(f"{key}='{value}' " for key, value in variables.items()) if name == "postgres" else ""
        script = binaries / name
        script.write_text(f'#!/bin/sh\n{told}exec {real / name} "$@"\n')
        script.chmod(0o755)
    return binaries
