"""Errors of canary calls and of the reports about them."""

from __future__ import annotations

from esl_shield.errors import DependencyAway, NegativeAnswer, UsageError


class NoFiction(UsageError):
    """There are no numbers to draw for canary calls."""

    error_id = "canary.no_numbers"
    sentence = (
        "No number reserved for fiction could be drawn for {region}: name another [canary] region, or give your own "
        "test numbers with --own-numbers."
    )


class OwnNumbersRejected(UsageError):
    """What was given as the site's own test numbers cannot be taken."""

    error_id = "canary.own_numbers"
    sentence = "The own test numbers on standard input are not usable: {problem}."


class SigningKeyUnusable(UsageError):
    """The key that signs reports, or the one they are verified with, is not there or not usable."""

    error_id = "report.key_unusable"
    sentence = "The key {path} is not usable: {problem}; esl-shield leakscan keygen makes a pair."


class ReportRejected(NegativeAnswer):
    """A report is not what the owner of the key signed."""

    error_id = "report.rejected"
    sentence = "The report {path} is not to be believed: {problem}."


class PhoneAway(DependencyAway):
    """FreeSWITCH's SIP address cannot be reached at all from here."""

    error_id = "canary.switch_away"
    sentence = "No call can be placed at {address}: {problem}; check [canary] switch."
