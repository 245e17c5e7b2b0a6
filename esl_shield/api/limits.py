"""A token bucket for each key; of keys that nobody made, for each address they come from.

Invariants: memory is bounded whatever keys are tried; a key nobody made keeps no bucket, so guesses push out no other's
and an address asks the database for no more of them than a key may ask at all; what is forgotten for room was idle
longest. A key that has its bucket is never held up by whoever guesses from the same address: only a key not asked with
before is, until the guesses slow down. Behind a proxy the address is the proxy's. The rate holds for one process: with
two, a key may ask twice as often.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.api import ApiTooMany

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_KEYS = 10_000
HEAVY_BYTES = 16 << 10  # a body of so many costs an unknown key another request: reading it is work
_OF_A_KEY = frozenset((200, 201, 202, 204, 403, 404, 409, 422))


class Limits:
    """Lets each key ask ``rate`` times a second, and ``burst`` times at once; an address with unknown keys as often."""

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = _Buckets(rate, burst, clock)
        self._addresses = _Buckets(rate, burst, clock)

    def take(self, key: bytes, address: str) -> Charge:
        """Take one of the key's, of a key not known yet one of its address's; raises ApiTooMany with the wait.

        Raises ValueError for an address that is none.
        """
        place, known = _network(address), key in self._keys
        if known:
            self._keys.take(key)
        else:
            self._addresses.take(place)
        return Charge(self._keys, self._addresses, key, place, known)


class Charge(NamedTuple):
    """What a request was charged to before anybody knew whether its key is one."""

    keys: _Buckets
    addresses: _Buckets
    key: bytes
    place: bytes
    was_known: bool

    def weigh(self, size: int) -> None:
        """Charge the address of a key not known yet for reading a body of ``size`` bytes."""
        if not self.was_known:
            self.addresses.charge(self.place, size // HEAVY_BYTES)

    def settle(self, status: int, size: int = 0) -> None:
        """Charge whoever it is to be, by the answer's HTTP status: 401, or one that a key the database knows gets.

        ``size`` is what was weighed.
        """
        if status == HTTPStatus.UNAUTHORIZED and self.was_known:
            self.keys.forget(self.key)
            self.addresses.charge(self.place, 1)
        elif status in _OF_A_KEY and not self.was_known:
            self.addresses.charge(self.place, -1 - size // HEAVY_BYTES)
            self.keys.charge(self.key, 1)


class _Buckets:
    """Buckets by name, of at most MOST_KEYS names."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __contains__(self, name: bytes) -> bool:
        return name in self._buckets

    def take(self, name: bytes) -> None:
        """Take one; raises ApiTooMany with the whole seconds to wait."""
        left, _ = self._left(name)
        self.charge(name, 1 if left >= 1 else 0)
        if left < 1:
            raise ApiTooMany(rate=f"{self._rate:g}", seconds=max(1, math.ceil((1 - left) / self._rate)))

    def charge(self, name: bytes, count: int) -> None:
        """Take so many, of what comes later if nothing is left; a negative count gives back."""
        left, now = self._left(name)
        self._buckets[name] = (left - count, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)

    def forget(self, name: bytes) -> None:
        """Keep no bucket."""
        self._buckets.pop(name, None)

    def _left(self, name: bytes) -> tuple[float, float]:
        now = self._clock()
        left, since = self._buckets.get(name, (float(self._burst), now))
        return min(self._burst, left + (now - since) * self._rate), now


def _network(address: str) -> bytes:
    """Return what stands for an address: of IPv6 the 64 bits a network hands out whole."""
    read = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(read, "ipv4_mapped", None)
    return read.packed[:8] if read.version == 6 and mapped is None else (mapped or read).packed  # noqa: PLR2004
