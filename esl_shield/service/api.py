"""The HTTP API and the tokeniser as processes: their listener, their pages, their health.

Invariants: the API's login is an API's and nothing more, which its health asks; the tokeniser has only the two
operations that take numbers, whoever else's keys it is shown.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import gevent

from esl_shield.api import forwarding, handlers
from esl_shield.api.app import Answer, Asked, application
from esl_shield.api.limits import Limits
from esl_shield.api.server import Server
from esl_shield.db.engine import Database
from esl_shield.db.health import Health, refuse_foreign_right
from esl_shield.errors.config import ConfigError
from esl_shield.http.healthpages import database_and_keys
from esl_shield.service import apidialling
from esl_shield.service.inherited import LISTEN, check
from esl_shield.service.oauth import open_tokens
from esl_shield.service.pages import adopted, pages
from esl_shield.vault.keks import open_keks
from esl_shield.vault.store import Store
from esl_shield.vault.tokenising import Request, Tokeniser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esl_shield.api.app import Handler
    from esl_shield.config import Config
    from esl_shield.config.api import HttpConfig
    from esl_shield.config.resolver import KeysConfig
    from esl_shield.config.values import Address
    from esl_shield.http.healthpages import Parts
    from esl_shield.service.inherited import Inherited
    from esl_shield.service.metrics import ApiMetrics

NO_KEY = bytes(32)


class Closing(Protocol):
    """What is closed at the end."""

    def close(self) -> None:
        """Close it."""


class HttpService:
    """Answers until it is stopped."""

    def __init__(
        self, config: Config, http: HttpConfig, handlers: Mapping[str, Handler], *, health: Health, metrics: ApiMetrics,
        closing: Closing, inherited: Inherited,
    ) -> None:  # fmt: skip
        """Make its parts; raises ConfigError, and what cannot mend by waiting of ``health``."""
        listener = inherited.get(LISTEN)
        if listener is not None:
            check(listener, http.listen, key=f"[{http.SECTION}] listen")
        self._section = http.SECTION
        app = application(
            handlers, limits=Limits(http.requests_per_s, http.burst), tokens=open_tokens(config.oauth),
            max_body_bytes=http.max_body_bytes, reading=lambda: gevent.Timeout(http.read_timeout_s, TimeoutError()),
            observe=metrics.answered,
        )  # fmt: skip
        self._server = Server(http, app, listener=adopted(listener))
        self._health = health
        self._closing = closing
        self._pages = pages(config.metrics.listen, inherited, metrics.page, self.parts)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._server.where

    def start(self) -> None:
        """Ask the database and accept callers; raises ConfigError, LoginMisplaced, DatabaseRefused, OtherKek."""
        self._health.check()
        try:
            self._server.start()
        except OSError as error:
            problem = f"the address cannot be had ({os.strerror(error.errno or 0)})"
            raise ConfigError(source=f"[{self._section}] listen", problem=problem) from None
        if self._pages:
            self._pages.start()

    def stop(self, drain_s: float) -> int:
        """Accept no more and finish what is under way within ``drain_s`` seconds."""
        self._server.drain(drain_s)
        if self._pages:
            self._pages.stop()
        self._closing.close()
        return 0

    def hasten(self) -> None:
        """Let what is under way finish: only an export takes long, and its client is not told by an early end."""

    def parts(self) -> Parts:
        """Say whether a request could be answered now."""
        return database_and_keys(self._health.problem())


def check_api(config: Config) -> None:
    """Raise ConfigError when an API would not start with this configuration."""
    if config.keys is not None:
        raise ConfigError(source="file", problem="it has [keys], which the API must not be able to open")
    open_tokens(config.oauth)


def check_tokeniser(config: Config) -> KeysConfig:
    """Return the section of the KEK; raises ConfigError when a tokeniser would not start with this configuration."""
    if config.keys is None:
        raise ConfigError(source="file", problem="[keys] kek is missing; the tokeniser encrypts under it")
    open_tokens(config.oauth)
    return config.keys


def api_service(config: Config, metrics: ApiMetrics, inherited: Inherited) -> HttpService:
    """Compose the API; raises ConfigError."""
    check_api(config)
    http = config.api
    database = Database(config.database, application_name="esl-shield api")
    metrics.watch_databases({"api": database})
    made = {
        **handlers.handlers(database, export_timeout_s=http.export_timeout_s),
        **apidialling.handlers(database, config.clicks),
        **forwarding.handlers(http.tokeniser, http.tokeniser_timeout_s),
    }  # fmt: skip
    return HttpService(
        config, http, made, health=Health(_readiness(database)), metrics=metrics, closing=database, inherited=inherited
    )


def _readiness(database: Database) -> Callable[[], None]:
    def ask() -> None:
        database.call("api_token", NO_KEY, None, None)
        refuse_foreign_right(database, "API", "seeding_tenant", "")

    return ask


def tokeniser_service(config: Config, metrics: ApiMetrics, inherited: Inherited) -> HttpService:
    """Compose the tokeniser; raises ConfigError, CryptoError."""
    keys = check_tokeniser(config)
    store = Store(config.database, pool_size=config.database.pool_size)
    tokeniser = Tokeniser(store, open_keks(keys), pause=lambda: gevent.sleep(0))
    metrics.watch_databases({"tokeniser": store.database})
    return HttpService(
        config, config.tokeniser, _tokenising(tokeniser), health=Health(tokeniser.ready), metrics=metrics,
        closing=store, inherited=inherited,
    )  # fmt: skip


def _tokenising(tokeniser: Tokeniser) -> dict[str, Handler]:
    def one(asked: Asked) -> Answer:
        made = tokeniser.one(_request(asked), asked.body)
        return Answer(HTTPStatus.CREATED if made["created"] else HTTPStatus.OK, made)

    def many(asked: Asked) -> Answer:
        return Answer(body=tokeniser.many(_request(asked), asked.body["rows"]))

    return {"tokenise": one, "tokenise_batch": many}


def _request(asked: Asked) -> Request:
    return Request(asked.caller.key, asked.parameters.get("Idempotency-Key"), asked.raw)
