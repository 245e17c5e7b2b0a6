"""Where the folders are that ship beside the package: migrations, dialplan, edge.

A wheel carries them inside the package (setup.cfg maps them); a checkout has them at its root.
"""

from __future__ import annotations

from pathlib import Path

from esl_shield.errors.config import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Find the shipped folder ``name``; raises ConfigError when this installation has none."""
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(source="installation", problem=f"the folder {name} is missing; install esl-shield again")
