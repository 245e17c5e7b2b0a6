"""The resolver as a process: its listener, and pages of its own where several resolvers share that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esl_shield.resolver.app import Resolver
from esl_shield.service.inherited import LISTEN, METRICS, check
from esl_shield.service.pages import adopted, pages

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.values import Address
    from esl_shield.service.inherited import Inherited
    from esl_shield.service.metrics import ResolverMetrics


class ResolverService:
    """Answers until it is stopped. ``/metrics`` on the resolver's listener is that of whoever takes the connection."""

    def __init__(self, config: Config, metrics: ResolverMetrics, inherited: Inherited) -> None:
        """Open secrets, KEK and pool; raises ConfigError, CryptoError."""
        listener = inherited.get(LISTEN)
        if listener is not None:
            check(listener, config.resolver.listen, key="[resolver] listen")
        self._resolver = Resolver.from_config(
            config, observe=metrics.answered, metrics_page=metrics.page, ciphertext=metrics.ciphertext,
            method=metrics.attempted,
            listener=adopted(listener),
        )  # fmt: skip
        metrics.watch_resolver(self._resolver, config.resolver)
        self._hands_over = METRICS in inherited
        self._pages = pages(config.metrics.listen, inherited, metrics.page, self._resolver.parts)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._resolver.address

    def start(self) -> None:
        """Accept callers; raises what Resolver.start does."""
        self._resolver.start()
        if self._pages:
            self._pages.start()

    def stop(self, drain_s: float) -> int:
        """Accept no more and finish what is under way within ``drain_s`` seconds; nothing is ever lost."""
        if self._pages and self._hands_over:
            self._pages.stop()
        lost = self._resolver.stop(drain_s)
        if self._pages:
            self._pages.stop()
        return lost

    def hasten(self) -> None:
        """Let requests under way finish: that takes moments, and each is a call."""
