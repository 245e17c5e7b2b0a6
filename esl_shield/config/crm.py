"""A tenant's own service that says which number a token stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from esl_shield.config.values import positive

MAX_TIMEOUT_S = 0.8
_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,200}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_MAX_REQUESTS = 64


@dataclass(frozen=True)
class CrmConfig:
    """Where tokens of method crm of one tenant are asked for, and how both sides prove themselves.

    ``timeout_s`` covers everything, from the look-up of the name to the answer's last byte.
    """

    tenant: str
    url: str
    secret: str
    ca: str = ""
    certificate: str = ""
    key: str = ""
    timeout_s: float = MAX_TIMEOUT_S
    clock_skew_s: int = 30
    max_requests: int = 16

    def __post_init__(self) -> None:
        positive(self, "crm", "timeout_s", "clock_skew_s", "max_requests")
        if self.timeout_s > MAX_TIMEOUT_S or self.max_requests > _MAX_REQUESTS:
            message = f"[[crm]] timeout_s is at most {MAX_TIMEOUT_S}, max_requests at most {_MAX_REQUESTS}"
            raise ValueError(message)
        if not all(source.startswith("file:") for source in (self.secret, self.key) if source) or not self.secret:
            message = "[[crm]] secret and key must be file:PATH"
            raise ValueError(message)
        if bool(self.certificate) != bool(self.key):
            message = "[[crm]] certificate and key go together; give both, or neither"
            raise ValueError(message)
        _ = self.place

    @property
    def place(self) -> tuple[str, int, str]:
        """Host, port and path of ``url``; raises ValueError for a URL that is not plain https."""
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port or 443
        except ValueError:
            host, port, parts = "", 0, urlsplit("")
        rest = f"{parts.username or ''}{parts.password or ''}{parts.query}{parts.fragment}"
        if parts.scheme != "https" or rest or not _HOST.fullmatch(host) or not _PATH.fullmatch(parts.path):
            message = "[[crm]] url must be https://HOST/PATH, without a user, a query or a fragment"
            raise ValueError(message)
        return host, port, parts.path
