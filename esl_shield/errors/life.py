"""Errors of a token's later life: holds, erasure and its certificates, caps."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer
from esl_shield.errors.keys import CryptoError


class CaseRejected(InputRejected):
    """A case's id or a reason is not fit to be kept."""

    error_id = "case.rejected"
    sentence = "What was given as {option} was not taken: {why}."


class CapRejected(InputRejected):
    """A cap is no number of calls."""

    error_id = "cap.rejected"
    sentence = "What was given as {option} was not taken: a cap is a whole number up to 999999999, or {words}."


class TokenHeld(NegativeAnswer):
    """A legal hold stands on the token; nothing was erased."""

    error_id = "token.held"
    sentence = (
        "Token {token} was not erased: a legal hold stands (case {cases}); a steward ends it with esl-shield token "
        "release when that case allows."
    )


class HoldUnknown(NegativeAnswer):
    """The case holds no such token."""

    error_id = "hold.unknown"
    sentence = "Case {case} does not hold token {token}; nothing was changed. See esl-shield token holds."


class ListRejected(InputRejected):
    """A list of tokens is not fit to be worked through; nothing was done."""

    error_id = "erase.bad_list"
    sentence = "{source} was not taken: {problem}; nothing was erased."


class CertificateUnreadable(InputRejected):
    """A file is no certificate of erasure, or a key file no public key."""

    error_id = "certificate.unreadable"
    sentence = "{path} cannot be read as {what}: {problem}."


class CertificateFalse(NegativeAnswer):
    """A certificate is not what the key signed."""

    error_id = "certificate.false"
    sentence = "The certificate {path} does not hold: key {key} did not sign what stands in it."


class CertificateLost(NegativeAnswer):
    """Numbers were erased and the certificate was not written."""

    error_id = "certificate.lost"
    sentence = (
        "What was erased is erased, but its certificate was not written ({problem}); run the command again, by token, "
        "with a new --certificate."
    )


class SigningKeyUnusable(CryptoError):
    """The key that signs certificates of erasure is missing, exposed or damaged."""

    error_id = "certificate.key_unusable"
    sentence = (
        "The key of certificates cannot be used: {problem}; [erasure] key names it, esl-shield token certificate init "
        "creates it. Nothing was erased."
    )
