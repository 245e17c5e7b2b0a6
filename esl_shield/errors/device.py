"""Errors of keys that live in a PKCS#11 device (HSM); none holds a PIN or a key."""

from __future__ import annotations

from esl_shield.errors.keys import CryptoError


class DeviceAway(CryptoError):
    """The device, its token or its connection is not there now; it may come back."""

    error_id = "device.away"
    exit_code = 3
    sentence = "The PKCS#11 device of {uri} is away: {problem}; see that it is plugged in, on and reachable."


class DeviceSlow(CryptoError):
    """The device did not answer in the time one operation has."""

    error_id = "device.slow"
    exit_code = 3
    sentence = (
        "The PKCS#11 device of {uri} did not answer within {timeout_s} s; see [keys.device] in the configuration."
    )


class DeviceUnusable(CryptoError):
    """The device cannot do what is asked of it, and waiting will not mend that."""

    error_id = "device.unusable"
    sentence = "The PKCS#11 device of {uri} cannot be used: {problem}."


class DeviceAmbiguous(CryptoError):
    """A URI fits more than one token or key."""

    error_id = "device.ambiguous"
    sentence = "The URI {uri} fits {count} {things}: add serial= or id= to it, or remove the one that is not meant."


class DeviceKeyWeak(CryptoError):
    """A key's attributes let it leave the device, or be used without a PIN."""

    error_id = "device.key_weak"
    sentence = (
        "The key of {uri} is not used because {problem}: make another with esl-shield keys init, or accept it with "
        "[keys.device] accept_weak_key = true."
    )


class DeviceKeyMissing(CryptoError):
    """A data key that lives in the device is not in it."""

    error_id = "device.key_missing"
    sentence = "The PKCS#11 device of {uri} has no key with the id {reference}: restore it from the device's backup."


class DeviceKeyLeft(CryptoError):
    """A data key was destroyed in the database, and the device did not destroy it."""

    error_id = "device.key_left"
    exit_code = 3
    sentence = (
        "Version {version} of the data key of tenant {tenant} is destroyed in the database but not in the device "
        "({why}): remove the key with the id {reference} there with the device's own tool."
    )


class DeviceForked(CryptoError):
    """A process opened the device and a child of it, made by fork, uses it."""

    error_id = "device.forked"
    sentence = "The PKCS#11 device of {uri} was opened before a fork: open it in the process that uses it."


class NoDevice(CryptoError):
    """A data key lives in a device, and the configured KEK does not."""

    error_id = "device.none"
    sentence = "A data key in a device needs a KEK in the same device, and {kek} is in none; set [keys] kek to pkcs11:."


class PinUnusable(CryptoError):
    """The file that should hold the PIN does not, or shows it to others."""

    error_id = "pin.unusable"
    sentence = "The PIN in {source} is not used because {problem}."


class PinRejected(CryptoError):
    """The device says that the PIN is wrong; trying again would lock it."""

    error_id = "pin.rejected"
    sentence = (
        "The PKCS#11 device of {uri} refused the PIN in {source}: correct that file; as a device locks itself after a "
        "few wrong PINs, it is tried again only when the file has changed or the process is started anew."
    )


class PinLastTry(CryptoError):
    """One wrong PIN more would lock the device; that try is left to a person."""

    error_id = "pin.last_try"
    sentence = (
        "The PIN in {source} is not tried, because the next wrong one locks the PKCS#11 device of {uri}: log in by "
        "hand once, with the right PIN."
    )


class PinLocked(CryptoError):
    """The device takes no PIN any more until its security officer unlocks it."""

    error_id = "pin.locked"
    sentence = (
        "The PKCS#11 device of {uri} has locked its PIN after wrong ones: have its security officer set a new one, and "
        "put it into {source}."
    )
