"""The sections of tamper evidence: the sealer's, and the resolver's journal of decryptions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from esl_shield.config.values import positive

_MOST_EVENTS = 100_000
_URL = re.compile(r"https?://[!-~]+")
_PLAIN_HTTP = re.compile(r"http://(127\.[0-9.]+|\[::1\]|localhost)[:/]")


@dataclass(frozen=True)
class SealingConfig:
    """Where the key is that signs blocks, and where their heads go."""

    key: str
    heads: str
    heads_url: str | None = None
    heads_secret: str | None = None
    older_keys: tuple[str, ...] = ()
    every_s: float = 1.0
    most_events: int = 10_000

    def __post_init__(self) -> None:
        _files("sealing", self, "key", "heads_secret")
        _absolute("[sealing] heads", self.heads)
        positive(self, "sealing", "every_s", "most_events")
        if self.most_events > _MOST_EVENTS:
            message = f"[sealing] most_events must be at most {_MOST_EVENTS}"
            raise ValueError(message)
        for key in self.older_keys:
            if not re.fullmatch(r"[0-9a-f]{64}", key):
                message = "[sealing] older_keys: a public key is 64 hex digits"
                raise ValueError(message)
        if self.heads_url is not None and not _URL.fullmatch(self.heads_url):
            message = "[sealing] heads_url must be an http:// or https:// address"
            raise ValueError(message)
        if self.heads_secret is not None and (self.heads_url is None or _is_open(self.heads_url)):
            message = "[sealing] heads_secret is sent to heads_url, which must be given and https:// or of this machine"
            raise ValueError(message)


@dataclass(frozen=True)
class JournalConfig:
    """The resolver's signed journal of how often it decrypted."""

    key: str
    file: str
    name: str = "resolver"

    def __post_init__(self) -> None:
        _files("journal", self, "key")
        _absolute("[journal] file", self.file)
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.name):
            message = "[journal] name must be 1 to 64 of letters, digits, dot, dash, underscore"
            raise ValueError(message)


def _is_open(url: str) -> bool:
    return url.startswith("http://") and not _PLAIN_HTTP.match(url)


def _files(where: str, section: object, *names: str) -> None:
    for name in names:
        source = getattr(section, name)
        if source is not None and not source.startswith("file:"):
            message = f"[{where}] {name} must be file:PATH"
            raise ValueError(message)


def _absolute(key: str, path: str) -> None:
    if not path.startswith("/"):
        message = f"{key} must be an absolute path"
        raise ValueError(message)
