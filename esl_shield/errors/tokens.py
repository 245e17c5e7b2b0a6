"""Errors of numbers, tokens and what is kept beside them, and of their import."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer


class NumberRejected(InputRejected):
    """Text that should be a telephone number is none; ``reason`` is a short stable word for it."""

    error_id = "number.rejected"
    sentence = "The telephone number was not taken ({reason}): {why}."


class NumberInArgument(InputRejected):
    """Somebody put what may be a telephone number on the command line."""

    error_id = "number.in_argument"
    sentence = (
        "{argument} was not taken and may be a telephone number: numbers are never given as arguments, because the "
        "process list and the shell's history keep them; give it on standard input, and clear the history."
    )


class TokenMalformed(InputRejected):
    """Text that should be a token fails the grammar."""

    error_id = "token.malformed"
    sentence = "What was given is no token: its length or its check digit is wrong."


class CheckDigitWrong(InputRejected):
    """Text has the length and the prefix of the tenant's tokens and not their check digit."""

    error_id = "token.check_digit"
    sentence = (
        "What was given has the form of a token of tenant {tenant}, but its check digit is wrong: a digit was "
        "mistyped, or two were swapped."
    )


class TokenUnknown(NegativeAnswer):
    """The tenant has no such token or alias."""

    error_id = "token.unknown"
    sentence = "Tenant {tenant} has no such token or alias."


class AliasRejected(InputRejected):
    """Text that should be an alias is not allowed to be one."""

    error_id = "alias.rejected"
    sentence = "The alias was not taken ({reason}): {why}."


class AliasTaken(InputRejected):
    """The alias names another token of the tenant."""

    error_id = "alias.taken"
    sentence = "The alias already names another token of tenant {tenant}; nothing was changed."


class LabelRejected(InputRejected):
    """A label's name or value is not allowed."""

    error_id = "label.rejected"
    sentence = "A label was not taken ({reason}): {why}."


class ExpiryRejected(InputRejected):
    """An expiry is not a moment in the future."""

    error_id = "expiry.rejected"
    sentence = "The expiry was not taken ({reason}): {why}."


class SpaceFull(InputRejected):
    """The tenant has so many tokens that dialling at random would find one too often."""

    error_id = "token.space_full"
    sentence = (
        "Tenant {tenant} may have {capacity} tokens of {length} digits, so that random dialling finds nobody, and they "
        "are used up; set its token length to {suggested} ({suggested_capacity} tokens) with esl-shield tenant resize "
        "{tenant} --length {suggested}, and run the import again."
    )


class CsvRejected(InputRejected):
    """The import file as a whole cannot be read."""

    error_id = "import.bad_csv"
    sentence = "{source} cannot be imported: {problem}."


class OutputRejected(InputRejected):
    """The import's output cannot be written where it was asked for."""

    error_id = "import.bad_output"
    sentence = "The output {path} cannot be written: {problem}."
