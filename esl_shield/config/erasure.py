"""The section of erasure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ErasureConfig:
    """Where the key is that signs certificates of erasure."""

    key: str | None = None

    def __post_init__(self) -> None:
        if self.key is not None and not self.key.startswith("file:"):
            message = "[erasure] key must be file:PATH"
            raise ValueError(message)
