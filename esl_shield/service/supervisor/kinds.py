"""The table of the kinds of processes the supervisor knows, and what it must know of each.

Invariants: the supervisor itself reads no role's configuration: a process of the role's own user does (``describe``)
and says what is in it that concerns the supervisor. To add a kind, add a row to KINDS and its function.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config import Config

PYTHON = (sys.executable, "-P", "-m", "esl_shield")
SECONDS_BETWEEN_HOUSEKEEPING = 3600
SEALER_DRAIN_S = 10.0
HOUSEKEEPER_DRAIN_S = 10.0
INTAKE_DRAIN_S = 5.0


@dataclass(frozen=True)
class Description:
    """What a role's configuration says that concerns the supervisor; addresses are spelled ``127.0.0.1:8084``.

    ``alone``: two processes with this file must not run at the same time.
    """

    listen: str | None = None
    metrics: str | None = None
    drain_s: float = 10.0
    alone: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``spelled`` wrote; raises ValueError."""
        try:
            return cls(**json.loads(text))
        except TypeError:
            message = "it is no description"
            raise ValueError(message) from None

    @property
    def spelled(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Kind:
    """A kind of process.

    ``command`` follows ``esl-shield --config FILE``; at a stop all of a lower ``stop_order`` end before the next are
    told: calls under way still need the resolver, and the last events a sealer. While one that is ``urgent`` starts no
    other does: calls wait for it. ``describe`` runs in a process of the role's user and raises ShieldError for a
    configuration the role would not start with.
    """

    command: tuple[str, ...]
    stop_order: int
    describe: Callable[[Config], Description]
    program: tuple[str, ...] = PYTHON
    urgent: bool = False

    def argv(self, config: str) -> list[str]:
        """Return the command line of a process."""
        return [*self.program, "--config", config, *self.command]

    def describe_argv(self, role: str, config: str) -> list[str]:
        """Return the command line that describes a configuration."""
        return [*self.program, "--config", config, "serve", "--describe", role]


def _worker(config: Config) -> Description:
    from esl_shield.service.worker import refuse_misplaced  # noqa: PLC0415 - keeps gevent out of the supervisor

    refuse_misplaced(config)
    return Description(_spell(config.esl.listen), _spell(config.metrics.listen), config.esl.drain_timeout_s)


def _resolver(config: Config) -> Description:
    from esl_shield.resolver.app import check_config  # noqa: PLC0415 - keeps gevent out of the supervisor

    check_config(config)
    return Description(
        _spell(config.resolver.listen), _spell(config.metrics.listen), config.resolver.drain_timeout_s,
        alone=config.journal is not None,
    )  # fmt: skip


def _sealer(config: Config) -> Description:
    from esl_shield.service.sealer import read_key  # noqa: PLC0415 - keeps gevent out of the supervisor

    read_key(config)
    return Description(None, _spell(config.metrics.listen), SEALER_DRAIN_S, alone=True)


def _housekeeper(_config: Config) -> Description:
    return Description(None, None, HOUSEKEEPER_DRAIN_S, alone=True)


def _intake(config: Config) -> Description:
    from esl_shield.service.intake import section  # noqa: PLC0415 - keeps gevent out of the supervisor

    return Description(_spell(section(config).listen), _spell(config.metrics.listen), INTAKE_DRAIN_S)


def _reaper(config: Config) -> Description:
    from esl_shield.service.reaper import section  # noqa: PLC0415 - keeps what it imports out of the supervisor

    section(config)
    return Description(alone=True)


def _dispatcher(config: Config) -> Description:
    from esl_shield.service.webhooks.dispatcher import section  # noqa: PLC0415 - keeps what it imports out of the supervisor

    return Description(drain_s=section(config).timeout_s)


def _api(config: Config) -> Description:
    from esl_shield.service.api import check_api  # noqa: PLC0415 - keeps its framework out of the supervisor

    check_api(config)
    return Description(_spell(config.api.listen), _spell(config.metrics.listen), config.api.drain_timeout_s)


def _tokeniser(config: Config) -> Description:
    from esl_shield.service.api import check_tokeniser  # noqa: PLC0415 - keeps its framework out of the supervisor

    check_tokeniser(config)
    return Description(_spell(config.tokeniser.listen), _spell(config.metrics.listen), config.tokeniser.drain_timeout_s)


def _spell(address: object) -> str | None:
    return None if address is None else str(address)


KINDS = {
    "worker": Kind(("worker",), 0, _worker, urgent=True),
    "resolver": Kind(("resolver",), 1, _resolver, urgent=True),
    "housekeeper": Kind(("db", "maintain", "--every", str(SECONDS_BETWEEN_HOUSEKEEPING)), 1, _housekeeper),
    "intake": Kind(("intake",), 1, _intake),
    "reaper": Kind(("reaper",), 1, _reaper),
    "dispatcher": Kind(("dispatcher",), 1, _dispatcher),
    "api": Kind(("api",), 0, _api),
    "tokeniser": Kind(("tokeniser",), 1, _tokeniser),
    "sealer": Kind(("sealer",), 2, _sealer),
}
