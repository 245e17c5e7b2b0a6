"""Errors of keys and ciphertext: wrong, damaged or missing."""

from __future__ import annotations

from esl_shield.errors import ShieldError


class CryptoError(ShieldError):
    """A key or a ciphertext is not what it must be; nothing was decrypted."""


class KekMissing(CryptoError):
    """The key-encryption key is not where the configuration says."""

    error_id = "keys.kek_missing"
    sentence = (
        "There is no KEK at {source}: restore it from its backup, or for a new installation run esl-shield keys init."
    )


class KekExposed(CryptoError):
    """Others than its owner can read the key-encryption key."""

    error_id = "keys.kek_exposed"
    sentence = (
        "The KEK at {source} is not used because {problem}: let only its owner read it (chmod 0400), and think of it "
        "as known to others."
    )


class KekUnusable(CryptoError):
    """The key-encryption key is there and cannot be used."""

    error_id = "keys.kek_unusable"
    sentence = "The KEK at {source} cannot be used: {problem}."


class KekLost(CryptoError):
    """The database holds keys and the KEK that wraps them is not there."""

    error_id = "keys.kek_lost"
    sentence = (
        "The database holds keys wrapped under KEK {wanted} and there is no KEK at {source}: restore it from its "
        "backup; a new one could open none of them."
    )


class OtherKek(CryptoError):
    """The database's keys are wrapped under another KEK than the configured one."""

    error_id = "keys.other_kek"
    sentence = (
        "The database's keys are wrapped under KEK {wanted}, but the configured KEK is {given}: configure the right "
        "one in [keys] kek; nothing was changed."
    )


class WrongKek(CryptoError):
    """A data key is wrapped under another key-encryption key than the one opened."""

    error_id = "keys.wrong_kek"
    sentence = (
        "The {purpose} key version {version} is wrapped under KEK {wanted}, but the configured KEK is {given}; "
        "configure the right one in [keys] kek."
    )


class KeyDamaged(CryptoError):
    """A wrapped key was changed, cut short or belongs to another tenant, purpose or version."""

    error_id = "keys.damaged"
    sentence = "The wrapped {purpose} key version {version} is damaged or another's; restore the row from a backup."


class KeysMissing(CryptoError):
    """A tenant has no keys yet."""

    error_id = "keys.missing"
    sentence = "Tenant {tenant} has no keys yet; run esl-shield keys init as the administrator."


class CipherDamaged(CryptoError):
    """A ciphertext was changed, cut short, or belongs to another token or tenant."""

    error_id = "cipher.damaged"
    sentence = "A ciphertext is damaged or another token's; nothing was decrypted."


class CipherUnknownFormat(CryptoError):
    """A ciphertext is of a format or algorithm this version does not know."""

    error_id = "cipher.unknown_format"
    sentence = (
        "A ciphertext has format {format} and algorithm {algorithm}, which this version does not know; upgrade, or "
        "restore it from a backup."
    )


class CipherOtherVersion(CryptoError):
    """A ciphertext was made under another data key than the one given."""

    error_id = "cipher.other_key_version"
    sentence = "A ciphertext was made under data key version {found}, not {given}; nothing was decrypted."
