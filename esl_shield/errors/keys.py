"""Errors of keys and ciphertext: wrong, damaged or missing."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer, ShieldError


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


class KekNotNamed(CryptoError):
    """Keys are wrapped under a KEK that no configuration or option names."""

    error_id = "keys.kek_not_named"
    sentence = (
        "Keys are wrapped under KEK {wanted}, and the KEKs given are {given}: name that one too in [keys] previous or "
        "by --previous URI; nothing was changed."
    )


class KeyDamaged(CryptoError):
    """A wrapped key was changed, cut short or belongs to another tenant, purpose or version."""

    error_id = "keys.damaged"
    sentence = "The wrapped {purpose} key version {version} is damaged or another's; restore the row from a backup."


class KeysMissing(CryptoError):
    """A tenant has no keys yet."""

    error_id = "keys.missing"
    sentence = "Tenant {tenant} has no keys yet; run esl-shield keys init as the administrator."


class KeysChanged(CryptoError):
    """A tenant's keys were rotated or retired while a command was using them."""

    error_id = "keys.changed"
    sentence = "The keys of tenant {tenant} were rotated or retired meanwhile; run the command again."


class KeyDestroyed(CryptoError):
    """A key was destroyed on purpose; only its tombstone is left."""

    error_id = "keys.destroyed"
    sentence = (
        "The {purpose} key version {version} of tenant {tenant} was destroyed; what was encrypted under it cannot be "
        "read again."
    )


class KeyVersionUnknown(InputRejected):
    """A tenant has no key of this purpose and version."""

    error_id = "keys.unknown_version"
    sentence = "Tenant {tenant} has no {purpose} key version {version}; see esl-shield keys list."


class RotationOpen(NegativeAnswer):
    """An index key is rotated before the rotation before it is over."""

    error_id = "keys.rotation_open"
    sentence = (
        "The index key of tenant {tenant} is being replaced already: end that with esl-shield keys reindex and "
        "esl-shield keys retire, then rotate again."
    )


class KeyKept(NegativeAnswer):
    """A key is not retired or destroyed because something needs it."""

    error_id = "keys.kept"
    sentence = "The {purpose} key version {version} of tenant {tenant} was not {done}: {why}."


class RowsLeft(NegativeAnswer):
    """Some rows could not be brought to the newest key."""

    error_id = "keys.rows_left"
    sentence = (
        "{count} tokens of tenant {tenant} could not be decrypted and stay as they are, first {tokens}: mend them from "
        "a backup and run the command again; until then the older key cannot go."
    )


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
