"""Errors of backups and restore drills."""

from __future__ import annotations

from esl_shield.errors import DependencyAway, NegativeAnswer, UsageError


class PgBackRestAway(DependencyAway):
    """pgBackRest is not installed, or did not answer."""

    error_id = "backup.pgbackrest_away"
    sentence = "pgBackRest did not do {what}: {problem}."


class DrillRefused(UsageError):
    """A drill would restore into a place where it could do harm; nothing was touched."""

    error_id = "backup.drill_refused"
    sentence = "The drill does not restore into {folder}: {problem}; name a new folder with --into."


class PgBackRestUnreadable(UsageError):
    """pgBackRest's own configuration cannot be read, or does not fit ours."""

    error_id = "backup.configuration"
    sentence = "pgBackRest's configuration {source} is not usable: {problem}."


class RestoreFailed(NegativeAnswer):
    """A restore did not come to its end; ``step`` is what it was at."""

    error_id = "backup.restore_failed"
    sentence = "The restore failed while {step}: {problem}."
