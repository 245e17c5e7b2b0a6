"""Fetching metrics pages: several addresses at once, each with an end, and what came as numbers by series.

Invariants: a target that is away, slow or talks nonsense is one problem in words, never an exception; a page is at most
MOST_BYTES; one moment in time holds what all targets said.
"""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esl_shield.config.values import Address

TIMEOUT_S = 2.0
MOST_BYTES = 4_000_000
_OK = 200

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Page:
    """One target's series, or why there are none; ``at`` is of ``time.monotonic``."""

    target: str
    at: float
    values: Mapping[Series, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def role(self) -> str:
        """What the process says it runs as; empty when it is none of ours."""
        return next((dict(labels)["role"] for name, labels in self.values if name == "esl_shield_build_info"), "")

    def of(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield the series of a name that have these labels, with all of their labels."""
        for (found, pairs), value in self.values.items():
            if found == name and labels.items() <= dict(pairs).items():
                yield dict(pairs), value


def fetch_all(targets: Sequence[Address]) -> list[Page]:
    """Fetch every target's page, all within about TIMEOUT_S seconds, in the order given."""
    with ThreadPoolExecutor(max_workers=max(1, min(len(targets), 32))) as pool:
        return list(pool.map(fetch, targets))


def fetch(target: Address) -> Page:
    """Fetch one page."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        text = response.read(MOST_BYTES).decode()
        at = time.monotonic()
        if response.status != _OK:
            return Page(str(target), at, problem=f"answers {response.status}")
        values = read(text)
    except TimeoutError:
        return Page(str(target), time.monotonic(), problem=f"no answer within {TIMEOUT_S:g} s")
    except OSError as error:
        return Page(str(target), time.monotonic(), problem=(error.strerror or "away").lower())
    except (http.client.HTTPException, ValueError):
        return Page(str(target), time.monotonic(), problem="what it answers is no metrics page")
    finally:
        connection.close()
    if not any(name.startswith("esl_shield_") for name, _ in values):
        return Page(str(target), at, problem="it is no process of esl-shield")
    return Page(str(target), at, values)


def read(text: str) -> dict[Series, float]:
    """Read Prometheus' text format; raises ValueError."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
