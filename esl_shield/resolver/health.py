"""What a resolver must be able to do before it is called well.

Invariants: it asks with a right only a resolver has; a vault that is wrapped under another KEK is seen here, not by the
first call; a login that has a worker's rights too is refused, for whoever held it could mint permits and redeem them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from esl_shield.db.health import refuse_foreign_right
from esl_shield.errors.keys import OtherKek

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esl_shield.db.engine import Database
    from esl_shield.vault.keks import Keks

_NO_TENANT = -1


class Readiness:
    """The question of the resolver's Health, asked of the login that redeems permits."""

    process = "resolver"
    foreign: tuple[object, ...] = ("finish_call", str(uuid4()), "LOST", None, None, None, 0, None, None, None)

    def __init__(self, database: Database, keks: Keks) -> None:
        self._database = database
        self._keks = keks
        self._rights_checked = False

    def __call__(self) -> None:
        """Return if its work could be done now; raises OtherKek, LoginMisplaced, DatabaseRefused, DatabaseAway."""
        wanted = [str(row[0]) for row in self._database.call("kek_ids")]
        if wanted and self._keks.ids.isdisjoint(wanted):
            raise OtherKek(wanted=" and ".join(wanted), given=self._keks.id)
        if not self._rights_checked:
            function, *arguments = self.foreign
            refuse_foreign_right(self._database, self.process, str(function), *arguments)
            self._rights_checked = True


class MaskerReadiness(Readiness):
    """The same, asked of the login that masks: one that redeems permits too would be one login for both ways."""

    process = "resolver, for masking,"
    foreign = ("tenant_data_key", _NO_TENANT, 0)


class AllReady:
    """Asks each login, and the KEK's device, in turn."""

    def __init__(self, questions: Sequence[Callable[[], None]]) -> None:
        self._questions = questions

    def __call__(self) -> None:
        """Return if all could do their work now; raises what the first that could not raises."""
        for ask in self._questions:
            ask()
