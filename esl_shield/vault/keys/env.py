"""A KEK in an environment variable, 64 hex digits: for the demo only, as every child process inherits it."""

from __future__ import annotations

import os

from esl_shield.errors.keys import KekMissing, KekUnusable
from esl_shield.vault.keys.key import from_hex


def read(name: str) -> bytes:
    """Read the variable; raises KekMissing or KekUnusable."""
    text = os.environ.get(name)
    if text is None:
        raise KekMissing(source=f"env:{name}")
    key = from_hex(text)
    if key is None:
        raise KekUnusable(source=f"env:{name}", problem="it is not 64 hex digits")
    return key
