"""Area ``processes``: what the process of this configuration answers, if it runs on this machine."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.service.doctor.finding import Area, Check, NotApplicableError, NotAskedError, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esl_shield.config import Config
    from esl_shield.config.values import Address

_TIMEOUT_S = 3.0
_PAGES = ("worker", "sealer")
_FORM = "application/x-www-form-urlencoded"
_WRONG = "permit=00000000000000000000000000000000&token=0&gateway=doctor&call="
_OK = 200
_BEHIND = {"sealer": "it is behind or cannot seal", "api": "it could not answer a request"}


@dataclass(frozen=True)
class Answer:
    """A status and the first bytes of a body; ``status`` 0: nobody answered."""

    status: int
    body: bytes = b""


@dataclass(frozen=True)
class ProcessFacts:
    """What a process answered; ``wrong`` is the answer to a request that proves nothing, None where there is none."""

    role: str
    address: str
    health: Answer
    wrong: Answer | None = None


def ask_processes(config: Config, role: str) -> ProcessFacts:
    """Ask the pages; raises NotApplicableError when this configuration names none."""
    if role == "resolver":
        listen = config.resolver.listen
        return ProcessFacts(role, str(listen), _get(listen, "GET", "/healthz"), _get(listen, "POST", "/redeem", _WRONG))
    if role == "api":
        listen, page = config.api.listen, config.metrics.listen
        health = _get(page, "GET", "/healthz") if page else _get(listen, "GET", "/v1/openapi.json")
        return ProcessFacts(role, str(listen), health, _get(listen, "GET", "/v1/calls"))
    if role in _PAGES and config.metrics.listen:
        return ProcessFacts(role, str(config.metrics.listen), _get(config.metrics.listen, "GET", "/healthz"))
    message = (
        f"a {role}'s pages are at [metrics] listen, which is not configured"
        if role in _PAGES
        else f"the {role} is no process that runs"
    )
    raise NotApplicableError(message)


def _get(address: Address, method: str, path: str, body: str | None = None) -> Answer:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT_S)
    try:
        connection.request(method, path, body, {"Content-Type": _FORM} if body else {})
        response = connection.getresponse()
        return Answer(response.status, response.read(256))
    except (OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        connection.close()


_REFUSES: dict[str, Callable[[Answer], bool]] = {
    "resolver": lambda answer: (answer.status, answer.body.strip()) == (404, b"refused"),
    "api": lambda answer: answer.status == 401 and b"api.unauthorized" in answer.body,  # noqa: PLR2004
}


def _health(facts: ProcessFacts) -> Iterator[Problem | str]:
    if facts.health.status == 0:
        raise NotAskedError(
            f"the {facts.role} did not answer at {facts.address}: is it running, and is this address let in?"
        )
    if facts.health.status != _OK:
        what = _BEHIND.get(facts.role, "it could not take a call")
        yield f"the {facts.role} says {what} (its page is {facts.health.status})"


def _refusal(facts: ProcessFacts) -> Iterator[str]:
    if facts.wrong is None:
        raise NotAskedError("only a resolver and an API are asked this", Severity.INFO)
    if facts.wrong.status == 0:
        raise NotAskedError(f"the {facts.role} did not answer at {facts.address}")
    if not _REFUSES[facts.role](facts.wrong):
        yield f"a request that proves nothing was answered with {facts.wrong.status}"


AREA = Area[ProcessFacts](
    "processes",
    "the worker's, sealer's and API's `[metrics] listen`, the resolver's `[resolver] listen`, the API's `[api] listen`",
    (
        Check("processes.health", Severity.CRITICAL, "The process says it could do its work now",
              "It knows of its database, its rights and its keys.", "Look at its log: health.unwell says why.",
              _health),
        Check("processes.refusal",
              Severity.CRITICAL, "Resolver and API refuse, in their own words, a request that proves nothing",
              "Something else may listen at its address, or stand in front of it.", "Look what listens there.",
              _refusal),
    ),
)  # fmt: skip
