"""Where the key-encryption key (KEK) comes from: one kind of place a scheme of its URI.

Invariants: a key never shows itself; a KEK that others can read is refused; ``file:`` and ``pkcs11:`` are for
production, ``env:`` for the demo only; nothing of PKCS#11 is loaded unless a URI asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esl_shield.config.resolver import DeviceConfig
from esl_shield.errors.device import DeviceUnusable
from esl_shield.errors.keys import KekUnusable
from esl_shield.vault.keys import env, file
from esl_shield.vault.keys.kek import Kek, MemoryKek
from esl_shield.vault.keys.key import KEY_BYTES, DataKey, Key

if TYPE_CHECKING:
    from esl_shield.vault.keys.devicekek import DeviceKek
    from esl_shield.vault.keys.seats import Flaws

__all__ = ["KEY_BYTES", "DataKey", "Kek", "Key", "MemoryKek", "create_kek", "device_flaws", "open_kek"]

_SCHEMES = ("file", "env", "pkcs11")


def open_kek(uri: str, device: DeviceConfig | None = None) -> Kek:
    """Open the KEK a URI names (``file:PATH``, ``pkcs11:...``, ``env:NAME``).

    Raises KekMissing, KekExposed or KekUnusable, for ``pkcs11:`` one of errors.device; none holds any of the key.
    """
    scheme, place = _split(uri)
    if scheme == "pkcs11":
        return _device_kek(uri).open(uri, device or DeviceConfig())
    return MemoryKek(file.read(place) if scheme == "file" else env.read(place))


def create_kek(uri: str, device: DeviceConfig | None = None) -> bool:
    """Create a random KEK unless there is one (never overwritten); returns whether it was created.

    Raises KekUnusable if it cannot be written, or for ``env:``; for ``pkcs11:`` one of errors.device.
    """
    scheme, place = _split(uri)
    if scheme == "pkcs11":
        return _device_kek(uri).create(uri, device or DeviceConfig())
    if scheme != "file":
        raise KekUnusable(source=uri, problem="only file: and pkcs11: keys are created here")
    return file.create(place)


def device_flaws(uri: str, device: DeviceConfig) -> Flaws:
    """Say what is wrong with the KEK of a ``pkcs11:`` URI; raises KekMissing and one of errors.device."""
    return _device_kek(uri).flaws(uri, device)


def _device_kek(uri: str) -> type[DeviceKek]:
    try:
        from esl_shield.vault.keys.devicekek import DeviceKek  # noqa: PLC0415 - takes the extra hsm, as few need it
    except ModuleNotFoundError as error:
        if error.name != "pkcs11":
            raise
    else:
        return DeviceKek
    raise DeviceUnusable(uri=uri, problem="python-pkcs11 is not installed; pip install 'esl-shield[hsm]'")


def _split(uri: str) -> tuple[str, str]:
    scheme, _, place = uri.partition(":")
    if scheme not in _SCHEMES or not place:
        raise KekUnusable(source=scheme + ":", problem="it must be file:PATH, pkcs11:..., or env:NAME for the demo")
    return scheme, place
