"""Every error this package raises: the base and the groups here, one module an area beside it.

Invariants: each error has one stable id (``area.reason``), one sentence that says what happened, to which thing and
what to do, and the exit code its group ends a command with. Fields named in a sentence never hold a telephone number.
"""

from __future__ import annotations

from typing import ClassVar


class ShieldError(Exception):
    """Base of all our errors; ``sentence`` is filled from the keyword fields given to the constructor."""

    error_id: ClassVar[str]
    sentence: ClassVar[str]
    exit_code: ClassVar[int] = 2

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        super().__init__(self.sentence.format(**fields))

    def __str__(self) -> str:
        return f"{self.args[0]} [{self.error_id}]"


class UsageError(ShieldError):
    """The caller asked for something that cannot be done as asked."""


class InputRejected(UsageError):
    """Data given to a command cannot be taken."""


class NegativeAnswer(ShieldError):
    """The question was understood and the answer is no."""

    exit_code = 1


class DependencyAway(ShieldError):
    """A service this process depends on did not answer in time; the same request may succeed later."""

    exit_code = 3
