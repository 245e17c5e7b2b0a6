"""The resolver: ``POST /redeem``, ``/mask``, ``/reveal``, ``GET /metrics`` and health's pages on one listener.

Invariants: whatever is not exactly right, from a wrong path to a used permit, is answered with the same bytes; an
unproven caller never reaches the database; every request ends within its budget of being read; when something
unexpected happens the answer is 503 and the log says where and of which type, never with what. Only this module and
the ones it composes know a number, and only between its request or its decryption and the reply.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from esl_shield.db.engine import Database
from esl_shield.db.health import Health
from esl_shield.errors.config import ConfigError
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.keys import CryptoError
from esl_shield.errors.resolver import CallerError, RequestRejected
from esl_shield.http.healthpages import Parts, answer_health, database_and_keys
from esl_shield.http.listener import Listener, within
from esl_shield.http.messages import Reply, Request, reply
from esl_shield.resolver.callers import Callers
from esl_shield.resolver.counting import JournalKeeper
from esl_shield.resolver.datakeys import DataKeys, KeyKeeper, MethodKeys
from esl_shield.resolver.destinations import Destinations
from esl_shield.resolver.donotcall import DoNotCall
from esl_shield.resolver.forms import MaskForm, RedeemForm, RevealForm
from esl_shield.resolver.functions import Count, both, no_count
from esl_shield.resolver.health import AllReady, MaskerReadiness, Readiness
from esl_shield.resolver.mask import Masker
from esl_shield.resolver.methods.choice import MethodCount, Methods, no_method_count
from esl_shield.resolver.methods.crm import CrmMethod, CrmService
from esl_shield.resolver.methods.ff1 import Ff1Method
from esl_shield.resolver.methods.stored import StoredMethod
from esl_shield.resolver.redeem import AWAY, DESTINATION, NUMBER, REFUSED, REVEALED, TOKEN, Outcome, Redeemer
from esl_shield.resolver.revealer import Revealer
from esl_shield.vault.keks import open_keks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gevent import socket

    from esl_shield.config import Config
    from esl_shield.config.resolver import KeysConfig, ResolverConfig
    from esl_shield.config.values import Address

LOG = logging.getLogger(__name__)

REDEEM_BUDGET_S = 1.3
MASK_BUDGET_S = 0.9  # the edge waits for one second
FORM_TYPE = "application/x-www-form-urlencoded"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Observe = Callable[[str, str, float], None]
"""Told of each answer: the answer, its reason, both of a fixed few, and the seconds it took."""

_FINAL = {
    REFUSED: Reply(reply("404 Not Found", b"refused", close=True), close=True),
    DESTINATION: Reply(reply("403 Forbidden", b"destination", close=True), close=True),
    AWAY: Reply(reply("503 Service Unavailable", b"away", close=True), close=True),
}


class Keeper(Protocol):
    """What goes on beside the requests."""

    def start(self) -> None:
        """Begin; raises ConfigError."""

    def stop(self) -> None:
        """End, leaving nothing undone."""


class Resolver:
    """One listener over one redeemer; ``databases`` (redeeming, masking) and ``journal`` are watched."""

    def __init__(
        self,
        config: ResolverConfig,
        *,
        callers: Callers,
        redeemer: Redeemer,
        methods: Methods,
        revealer: Revealer,
        masker: Masker | None = None,
        health: Health,
        databases: Sequence[Database],
        keepers: Sequence[Keeper] = (),
        journal: JournalKeeper | None = None,
        observe: Observe = lambda answer, reason, duration_s: None,  # noqa: ARG005
        metrics_page: Callable[[], bytes] = bytes,
        listener: socket.socket | None = None,
    ) -> None:
        self._callers = callers
        self._redeemer = redeemer
        self.methods = methods
        self._masker = masker
        self._revealer = revealer
        self._health = health
        self._keepers = [*keepers, *([journal] if journal else [])]
        self.databases = databases
        self.journal = journal
        self._observe = observe
        self._metrics_page = metrics_page
        self._max_requests = config.max_requests
        self.open_requests = 0
        self._listener = Listener(config, self, key="[resolver] listen", listener=listener)

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        observe: Observe = lambda answer, reason, duration_s: None,  # noqa: ARG005
        metrics_page: Callable[[], bytes] = bytes,
        ciphertext: Count = no_count,
        method: MethodCount = no_method_count,
        listener: socket.socket | None = None,
    ) -> Resolver:
        """Open the secrets, the KEK and the database's pool; raises ConfigError, CryptoError. Asks no database."""
        callers, keys_config, destinations = check_config(config)
        kek = open_keks(keys_config)
        database = Database(config.database, application_name="esl-shield resolver")
        keys, method_keys = DataKeys(database, kek), MethodKeys(database, kek)
        crm = CrmMethod(map(CrmService, config.crm))
        methods = Methods(database, StoredMethod(keys), [Ff1Method(method_keys), crm], method)
        journal = JournalKeeper.from_config(config)
        count = both(journal.journal.count, ciphertext) if journal else ciphertext
        databases, masker = [database], None
        questions: list[Callable[[], None]] = [Readiness(database, kek), kek.check]
        if config.masking.database is not None:
            masking = Database(config.masking.database, application_name="esl-shield resolver, masking")
            masker = Masker(masking, kek)
            databases.append(masking)
            questions.append(MaskerReadiness(masking, kek))
        return cls(
            config.resolver,
            callers=callers,
            redeemer=Redeemer(database, methods, destinations, config.gateways, count, lists=DoNotCall(database, kek)),
            methods=methods,
            masker=masker,
            revealer=Revealer(database, keys, kek, count),
            health=Health(AllReady(questions)),
            databases=databases,
            keepers=[KeyKeeper(keys), KeyKeeper(method_keys)],
            journal=journal,
            observe=observe,
            metrics_page=metrics_page,
            listener=listener,
        )

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one once started."""
        return self._listener.address

    def start(self) -> None:
        """Ask the database, bind and accept.

        Raises ConfigError when the address cannot be had; OtherKek, LoginMisplaced and DatabaseRefused for what waiting
        does not mend. A database that is away is waited for: until then the answers are 503.
        """
        self._health.check()
        for keeper in self._keepers:
            keeper.start()
        self._listener.start()

    def serve_forever(self) -> None:
        """Serve until ``stop`` is called."""
        self._listener.wait()

    def stop(self, drain_s: float) -> int:
        """Accept no more, finish what is under way within ``drain_s`` seconds, close the database's connections.

        Returns 0: a redemption that was cut off wrote all there is to write of it before it was answered.
        """
        self._listener.stop(drain_s)
        for keeper in self._keepers:
            keeper.stop()
        self.methods.close()
        for database in self.databases:
            database.close()
        return 0

    def parts(self) -> Parts:
        """Say of the database and the keys whether a permit could be redeemed now."""
        return database_and_keys(self._health.problem())

    # --- what the listener asks -----------------------------------------------------------------------------------

    def answer(self, request: Request, *, closing: bool) -> Reply:
        """Answer one request; never raises."""
        started = time.monotonic()
        try:
            return self._route(request, started, closing=closing)
        except CallerError as error:
            return self._finish(Outcome(REFUSED, error.reason), started)
        except Exception:
            LOG.exception("resolver.unexpected")  # the process's formatter keeps the type and the place, nothing else
            return self._finish(Outcome(AWAY, "unexpected"), started)

    def reject(self, reason: str) -> Reply:
        """Refuse what was not a request."""
        return self._finish(Outcome(REFUSED, reason), time.monotonic())

    def turn_away(self) -> Reply:
        """Say 503 to a connection too many."""
        return self._finish(Outcome(AWAY, "connections"), time.monotonic())

    def shut_out(self) -> None:
        """Count a connection from an address that is not allowed."""
        self._finish(Outcome(REFUSED, "address"), time.monotonic())

    def _route(self, request: Request, started: float, *, closing: bool) -> Reply:
        match request.method, request.target:
            case "POST", "/redeem":
                return self._finish(self._redeem(request), started, closing=closing)
            case "POST", "/mask":
                return self._finish(self._mask(request), started, closing=closing)
            case "POST", "/reveal":
                return self._finish(self._answer_revealer(request), started, closing=closing)
            case "GET", "/metrics":
                return _page(self._metrics_page(), closing=closing, content_type=METRICS_TYPE)
            case "GET", target if page := answer_health(target, self.parts, closing=closing):
                return page
        raise RequestRejected(reason="path")

    def _redeem(self, request: Request) -> Outcome:
        _require_form(request)
        form = RedeemForm.parse(request.body)
        delivery = self._callers.delivery_of(request.headers, form)
        return self._within(REDEEM_BUDGET_S, lambda: self._redeemer.redeem(form, delivery))

    def _mask(self, request: Request) -> Outcome:
        _require_form(request)
        self._callers.require_masker(request.headers)
        form, masker = MaskForm.parse(request.body), self._masker
        if masker is None:
            raise RequestRejected(reason="path")
        return self._within(MASK_BUDGET_S, lambda: masker.mask(form))

    def _answer_revealer(self, request: Request) -> Outcome:
        _require_form(request)
        self._callers.require_revealer(request.headers)
        form = RevealForm.parse(request.body)
        return self._within(REDEEM_BUDGET_S, lambda: self._revealer.answer(form))

    def _within(self, budget_s: float, work: Callable[[], Outcome]) -> Outcome:
        """Do one request's work, if there is room, in the time it has."""
        if self.open_requests >= self._max_requests:
            return Outcome(AWAY, "busy")
        self.open_requests += 1
        try:
            with within(budget_s):
                return work()
            return Outcome(AWAY, "slow")
        except CryptoError as error:
            return Outcome(AWAY, error.error_id)
        except DatabaseAway:
            return Outcome(AWAY, "database")
        except DatabaseRefused:
            return Outcome(AWAY, "database_refused")
        finally:
            self.open_requests -= 1

    def _finish(self, outcome: Outcome, started: float, *, closing: bool = True) -> Reply:
        self._observe(outcome.answer, outcome.reason, time.monotonic() - started)
        if outcome.answer in (NUMBER, TOKEN, REVEALED):
            return _page(outcome.body.encode("ascii"), closing=closing)
        level = logging.WARNING if outcome.answer == AWAY else logging.INFO
        fields = {"answer": outcome.answer, "reason": outcome.reason, "call": outcome.call}
        LOG.log(level, "resolver.answer", extra={"fields": fields})
        return _FINAL[outcome.answer]


def _page(body: bytes, *, closing: bool, content_type: str = "text/plain") -> Reply:
    return Reply(reply("200 OK", body, close=closing, content_type=content_type), close=closing)


def _require_form(request: Request) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise RequestRejected(reason="form")


def check_config(config: Config) -> tuple[Callers, KeysConfig, Destinations]:
    """Open the callers' secrets and check that all a resolver needs is configured; raises ConfigError."""
    callers = Callers.from_config(config.resolver)
    CrmMethod(map(CrmService, config.crm))
    return callers, _check_complete(config, callers), Destinations(config.destinations, config.gateways)


def _check_complete(config: Config, callers: Callers) -> KeysConfig:
    """Return the section of the KEK; raises ConfigError when no redemption could ever succeed, or one gateway's not."""
    if config.keys is None:
        raise ConfigError(source="file", problem="[keys] kek is missing; the resolver decrypts with it")
    if (config.masking.database is None) != ("mask" not in config.resolver.secrets):
        problem = "[masking.database] and [resolver] secrets.mask go together; give both, or neither"
        raise ConfigError(source="file", problem=problem)
    if not config.gateways:
        raise ConfigError(source="file", problem="there are no [[gateways]]; the resolver answers for known ones only")
    for gateway in config.gateways:
        if gateway.delivery not in callers.deliveries:
            caller = "edge" if gateway.delivery == "edge" else "lua"
            problem = f"[resolver] secrets.{caller} is missing; gateway {gateway.name} is redeemed with it"
            raise ConfigError(source="file", problem=problem)
    return config.keys
