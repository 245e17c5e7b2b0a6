"""What a worker does to an answered call by a tenant's wish: how long it lasts, and what is said to whom.

None of this holds a worker that was taken over; what must is in the database (``esl-shield policy set``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_TALK_S = 24 * 3600
# A file or a tone_stream without FreeSWITCH's separators (blank ; ' " { } [ ] | $ \) in it.
_SOUND = re.compile(r"[A-Za-z0-9_./%(),:@+=-]{1,256}")


@dataclass(frozen=True)
class TalkConfig:
    """Limits on talking, in seconds (0: none), and sounds: a file's path on FreeSWITCH's machine, or a tone_stream.

    ``warning_s`` is how long before the end the agent hears ``warning``; ``customer_notice`` is played to the customer
    before anybody is heard, ``agent_notice`` to the agent at the answer.
    """

    max_talk_s: int = 0
    warning_s: int = 30
    warning: str = "tone_stream://%(300,200,640)"
    customer_notice: str = ""
    agent_notice: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.max_talk_s <= MAX_TALK_S:
            message = f"[policy] max_talk_s must be 0 to {MAX_TALK_S}"
            raise ValueError(message)
        if self.warning_s < 0 or (self.max_talk_s and self.warning_s >= self.max_talk_s):
            message = "[policy] warning_s must be shorter than max_talk_s, or 0 for no warning"
            raise ValueError(message)
        for name in ("warning", "customer_notice", "agent_notice"):
            if getattr(self, name) and not _SOUND.fullmatch(getattr(self, name)):
                message = f"[policy] {name} must be a path or a tone_stream without blanks, quotes, brackets or ;"
                raise ValueError(message)


@dataclass(frozen=True)
class PolicyConfig(TalkConfig):
    """The site's, and in ``tenants`` by SIP domain what a tenant has in its place, whole."""

    tenants: dict[str, TalkConfig] = field(default_factory=dict)

    def of(self, domain: str) -> TalkConfig:
        """Return what holds for a tenant's calls."""
        return self.tenants.get(domain.lower(), self)
