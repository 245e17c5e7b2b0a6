"""A KEK that lives in a PKCS#11 device, and data keys beside it.

Invariants: neither ever leaves the device; a data key's reference is its CKA_ID, 16 random bytes, kept wrapped under
the KEK, so that nobody without the device writes one.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Self

from esl_shield.vault import cipher
from esl_shield.vault.keys.device import Device
from esl_shield.vault.keys.kek import Kek
from esl_shield.vault.keys.seats import Wanted
from esl_shield.vault.outside_key import OutsideKey

if TYPE_CHECKING:
    from esl_shield.config.resolver import DeviceConfig
    from esl_shield.vault.keys.seats import Flaws

REFERENCE_BYTES = 16


class DeviceKek(Kek):
    """A KEK in a device; made by ``open``."""

    __slots__ = ("_device", "_id")

    def __init__(self, device: Device) -> None:
        """Open the device; raises KekMissing and one of errors.device."""
        self._device = device
        self._id = device.kek_id()

    @classmethod
    def open(cls, uri: str, config: DeviceConfig) -> Self:
        """Open a KEK; raises KekUnusable, KekMissing and one of errors.device."""
        return cls(Device(uri, config))

    @staticmethod
    def create(uri: str, config: DeviceConfig) -> bool:
        """Make the KEK unless there is one; returns whether it was made. Raises KekUnusable, one of errors.device."""
        return Device(uri, config).create_kek()

    @staticmethod
    def flaws(uri: str, config: DeviceConfig) -> Flaws:
        """Say what is wrong with the KEK; raises KekMissing and one of errors.device."""
        return Device(uri, config).flaws()

    @property
    def id(self) -> str:
        """The first half of a constant block under the KEK (AES-ECB), made by the device."""
        return self._id

    def wrap(self, content: bytes, associated: bytes) -> bytes:
        """Have the device encrypt."""
        nonce = secrets.token_bytes(cipher.NONCE_BYTES)
        return nonce + self._device.seal(None, nonce, content, associated)

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytes:
        """Have the device decrypt; raises ValueError, one of errors.device."""
        return self._device.unseal(None, wrapped[: cipher.NONCE_BYTES], wrapped[cipher.NONCE_BYTES :], associated)

    def check(self) -> None:
        """Ask the device for the KEK; raises one of errors.device."""
        self._device.check()

    def new_outside_key(self, label: str) -> OutsideKey:
        """Make a data key in the device; raises one of errors.device."""
        reference = secrets.token_bytes(REFERENCE_BYTES)
        self._device.make(Wanted(label, reference))
        return DeviceKey(self._device, reference)

    def outside_key(self, reference: bytes) -> OutsideKey:
        """Return the data key of a reference; raises DeviceKeyMissing and one of errors.device."""
        self._device.require(Wanted(None, reference))
        return DeviceKey(self._device, reference)


class DeviceKey(OutsideKey):
    """A data key in a device."""

    __slots__ = ("_device", "_reference")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, device: Device, reference: bytes) -> None:
        self._device = device
        self._reference = reference

    @property
    def reference(self) -> bytes:
        """Its CKA_ID."""
        return self._reference

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeviceKey):
            return NotImplemented
        return self._reference == other._reference

    def seal(self, nonce: bytes, plaintext: bytes, associated: bytes) -> tuple[bytes, bytes]:
        """Have the device encrypt; raises one of errors.device."""
        sealed = self._device.seal(Wanted(None, self._reference), nonce, plaintext, associated)
        return sealed[: -cipher.TAG_BYTES], sealed[-cipher.TAG_BYTES :]

    def unseal(self, nonce: bytes, ciphertext: bytes, tag: bytes, associated: bytes) -> bytes:
        """Have the device decrypt; raises ValueError, one of errors.device."""
        return self._device.unseal(Wanted(None, self._reference), nonce, ciphertext + tag, associated)

    def destroy(self) -> None:
        """Destroy it; raises DeviceKeyMissing and one of errors.device."""
        self._device.destroy(Wanted(None, self._reference))
