"""What the files ask for, worked out: one place for each process, with its listeners and its user.

Invariants: making a plan starts and stops nothing; a plan is made whole or a ConfigError says which file is wrong.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.config.values import MAX_PORT, Address
from esl_shield.errors.config import ConfigError
from esl_shield.service.inherited import LISTEN, METRICS
from esl_shield.service.supervisor.spawning import User

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esl_shield.config.serve import ProcessConfig, ServeConfig
    from esl_shield.service.supervisor.kinds import Description, Kind


@dataclass(frozen=True)
class Endpoint:
    """A listening socket the supervisor holds; ``place`` tells those with port 0, which means any, apart."""

    name: str
    address: Address
    place: str = ""

    @property
    def stored_name(self) -> str:
        """What systemd knows it by."""
        return f"{self.name}-{self.address}{self.place}".replace(":", "_")


@dataclass(frozen=True)
class Place:
    """Where one process belongs, over its restarts; ``name`` is worker-1, worker-2, ..."""

    name: str
    role: str
    kind: Kind
    config: str
    user: User | None
    endpoints: tuple[Endpoint, ...]
    drain_s: float
    alone: bool


def users(serve: ServeConfig) -> list[User | None]:
    """Return whom each ``[[serve.process]]`` runs as; raises ConfigError."""
    return [User.named(process.user) if process.user else None for process in serve.process]


def refuse_unknown(serve: ServeConfig, kinds: Mapping[str, Kind]) -> None:
    """Raise ConfigError when a role is none."""
    for process in serve.process:
        if process.role not in kinds:
            problem = f"role = {process.role!r} must be one of {', '.join(kinds)}"
            raise ConfigError(source="[[serve.process]]", problem=problem)


def places(
    serve: ServeConfig, kinds: Mapping[str, Kind], descriptions: Sequence[Description], whose: Sequence[User | None]
) -> list[Place]:
    """Work out every place, in the order of the file; raises ConfigError."""
    found: list[Place] = []
    numbers: dict[str, int] = {}
    lonely: set[str] = set()
    for process, description, user in zip(serve.process, descriptions, whose, strict=True):
        if description.alone and (process.count > 1 or process.config in lonely):
            problem = f"there can be one {process.role} with it at a time, and [[serve.process]] asks for more"
            raise ConfigError(source=process.config, problem=problem)
        if description.alone:
            lonely.add(process.config)
        for index in range(process.count):
            number = numbers[process.role] = numbers.get(process.role, 0) + 1
            name = f"{process.role}-{number}"
            found.append(
                Place(
                    name,
                    process.role,
                    kinds[process.role],
                    process.config,
                    user,
                    _endpoints(process, description, index, name),
                    description.drain_s,
                    description.alone,
                )
            )
    _refuse_shared(found)
    return found


def _endpoints(process: ProcessConfig, description: Description, index: int, name: str) -> tuple[Endpoint, ...]:
    made = []
    if description.listen:
        address = Address.parse(description.listen)
        # One for all processes of the role: they share its calls.
        made.append(Endpoint(LISTEN, address, "" if address.port else process.role))
    if description.metrics:
        first = Address.parse(description.metrics)
        port = first.port + index if first.port else 0
        if port > MAX_PORT:
            problem = f"{process.count} processes take as many ports from {first} on, and there are not so many"
            raise ConfigError(source=f"{process.config}: [metrics] listen", problem=problem)
        made.append(Endpoint(METRICS, dataclasses.replace(first, port=port), "" if port else name))
    return tuple(made)


def _refuse_shared(found: Sequence[Place]) -> None:
    """Roles share no address, and processes no address of their pages."""
    owners: dict[Address, str] = {}
    for place in found:
        for endpoint in place.endpoints:
            owner = place.role if endpoint.name == LISTEN else place.name
            other = owners.setdefault(endpoint.address, owner)
            if endpoint.address.port and other != owner:
                problem = (
                    f"{endpoint.address} is for {other} already; each process takes a port of its own for [metrics]"
                )
                raise ConfigError(source=place.config, problem=problem)
