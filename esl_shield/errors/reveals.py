"""Errors of reveals."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer, UsageError


class TextRejected(InputRejected):
    """A case's id or a reason is not fit to be kept."""

    error_id = "reveal.bad_text"
    sentence = "What was given as {option} was not taken: {why}."


class NoTerminal(UsageError):
    """The answer of a reveal would go where it is kept without anybody deciding so."""

    error_id = "reveal.no_terminal"
    sentence = (
        "The answer is printed to a terminal, or with --output FILE into a new file of yours; nothing was opened or "
        "used."
    )


class RevealRefused(NegativeAnswer):
    """A step of a reveal was refused; the reason is in the audit trail only."""

    error_id = "reveal.refused"
    sentence = (
        "This step was refused: the reveal may be unknown, over, used, denied, another's or yours to approve, or a "
        "right may be missing; an auditor finds the reason with esl-shield audit tail --kind reveal.refused."
    )


class RevealLost(NegativeAnswer):
    """A reveal was used and its answer reached nobody."""

    error_id = "reveal.lost"
    sentence = "The reveal {id} is used up and its answer was not printed ({problem}); request it anew."
