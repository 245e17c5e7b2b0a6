"""Numbers reserved for fiction, for calls that must reach nobody: drawn, never taken from a list of customers.

Invariants: a number drawn here lies in a range its regulator keeps free of subscribers, and is valid in the numbering
plan, because the seeding takes no other. Sources: NANPA (555-0100 to 555-0199), Ofcom (numbers for drama), ACMA
(numbers for fiction), ARCEP (0199 00), BNetzA (Drama-Nummern), PTS (numbers for books and film).
"""

from __future__ import annotations

import secrets

from esl_shield.errors.canary import NoFiction
from esl_shield.vault import numbers

# Beginnings in E.164, and how many random digits follow.
RANGES: dict[str, tuple[tuple[str, int], ...]] = {
    "US": tuple(
        (f"+1{area}55501", 2) for area in ("202", "212", "303", "310", "312", "404", "415", "512", "617", "702")
    ),
    "CA": tuple((f"+1{area}55501", 2) for area in ("403", "416", "514", "604", "613", "902")),
    "GB": (
        ("+442079460", 3),
        *((f"+44{area}4960", 3) for area in ("113", "114", "117", "121", "131", "141", "151", "161")),
    ),
    "AU": (("+61255501", 3), ("+61370101", 3), ("+61755501", 3), ("+61870101", 3)),
    "FR": (("+3319900", 4),),
    "DE": (("+493023125", 3),),
    "SE": (("+463139006", 2),),
}
FALLBACK = "GB"
_TRIES = 200


def draw(region: str, count: int) -> list[str]:
    """Draw different numbers (E.164) of a region, or of FALLBACK where it keeps none; raises NoFiction."""
    ranges = RANGES.get(region) or RANGES[FALLBACK]
    drawn: set[str] = set()
    for _ in range(_TRIES * count):
        if len(drawn) == count:
            break
        beginning, digits = secrets.choice(ranges)
        number = beginning + f"{secrets.randbelow(10**digits):0{digits}d}"
        if numbers.read_valid(number, None):
            drawn.add(number)
    if len(drawn) < count:
        raise NoFiction(region=region or FALLBACK)
    return list(drawn)
