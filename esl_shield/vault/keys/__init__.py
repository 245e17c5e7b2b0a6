"""Where the key-encryption key (KEK) comes from: one file a kind of place, chosen by the URI's scheme.

Invariants: a key never shows itself; a KEK that others can read is refused; ``file:`` is for production, ``env:`` for
the demo only.
"""

from __future__ import annotations

from esl_shield.errors.keys import KekUnusable
from esl_shield.vault.keys import env, file
from esl_shield.vault.keys.secret import KEY_BYTES, Kek, Key

__all__ = ["KEY_BYTES", "Kek", "Key", "create_kek", "open_kek"]


def open_kek(uri: str) -> Kek:
    """Open the KEK a URI names (``file:PATH``, ``env:NAME``).

    Raises KekMissing, KekExposed or KekUnusable, none of which holds any of the key.
    """
    scheme, place = _split(uri)
    return Kek(file.read(place) if scheme == "file" else env.read(place))


def create_kek(uri: str) -> bool:
    """Create a random KEK unless there is one (never overwritten); returns whether it was created.

    Raises KekUnusable if it cannot be written, or if the scheme is not ``file:``.
    """
    scheme, place = _split(uri)
    if scheme != "file":
        raise KekUnusable(source=uri, problem="only file: keys are created here")
    return file.create(place)


def _split(uri: str) -> tuple[str, str]:
    scheme, _, place = uri.partition(":")
    if scheme not in ("file", "env") or not place:
        raise KekUnusable(source=scheme + ":", problem="it must be file:PATH, or env:NAME for the demo")
    return scheme, place
