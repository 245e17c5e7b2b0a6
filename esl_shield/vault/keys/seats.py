"""A session in a device with the keys found in it, and how one is come by: token, login, key.

Invariants: a URI that fits several tokens or keys fits none; a key that could leave the device, or be used without
the PIN, is refused unless the configuration accepts it; whoever opens a session closes it when it is not taken.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, PKCS11Error, TokenFlag
from pkcs11.exceptions import AttributeTypeInvalid, TokenNotPresent, TokenNotRecognised

from esl_shield.errors.device import (
    DeviceAmbiguous,
    DeviceAway,
    DeviceKeyMissing,
    DeviceKeyWeak,
    DeviceUnusable,
    PinLastTry,
    PinLocked,
)
from esl_shield.errors.keys import KekMissing
from esl_shield.vault.keys.module import CKR_OK

if TYPE_CHECKING:
    from esl_shield.config.pkcs11_uri import Place
    from esl_shield.vault.keys.module import Module
    from esl_shield.vault.keys.pin import PinFile

KEY_BITS = 256
_CKR_ALREADY_LOGGED_IN = 0x100
_CKR_PIN_WRONG = (0xA0, 0xA1, 0xA2)  # incorrect, invalid, of a wrong length
_CKR_NO_PIN = {0xA3: "its PIN has expired; set a new one", 0x102: "nobody has set the token's user PIN yet"}
_CKR_PIN_LOCKED = 0xA4
_MOST_KEYS = 4096
NEEDED = (Mechanism.AES_GCM, Mechanism.AES_ECB, Mechanism.AES_KEY_GEN)


@dataclass(frozen=True)
class Wanted:
    """A key by its label, its id or both."""

    label: str | None
    key_id: bytes | None

    def __bool__(self) -> bool:
        return self.label is not None or self.key_id is not None


@dataclass(frozen=True)
class Flaws:
    """What is wrong with a key: ``unfit`` for any use, ``weak`` as a secret, ``foreign`` by its history."""

    unfit: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass
class Seat:
    """A session, when it was opened (the module's and the device's generation), and the keys seen in it."""

    session: Any
    generation: tuple[int, int]
    keys: dict[Wanted, Any] = field(default_factory=dict)


class Access:
    """How to reach the keys of one URI."""

    def __init__(self, uri: str, place: Place, pin: PinFile, *, accept_weak: bool) -> None:
        self.uri = uri
        self.kek = Wanted(place.label, place.key_id)
        self._place = place
        self._pin = pin
        self._accept_weak = accept_weak

    def open(self, module: Module, *, writable: bool = False) -> Any:
        """Open a session that is logged in.

        Raises DeviceAway, DeviceAmbiguous, DeviceUnusable, for the PIN one of ``pin.*``, and PKCS11Error.
        """
        token = self.token(module)
        session = token.open(rw=writable)
        try:
            self._log_in(module, token, session)
        except BaseException:
            close(session)
            raise
        return session

    def token(self, module: Module) -> Any:
        """Find the one token; raises DeviceAway, DeviceAmbiguous."""
        found = []
        for slot in module.library.get_slots(token_present=True):
            with contextlib.suppress(TokenNotPresent, TokenNotRecognised):  # taken out since the list was made
                token = slot.get_token()
                if self._fits(module.library, slot, token):
                    found.append(token)
        if not found:
            raise DeviceAway(uri=self.uri, problem="no token of it is present")
        if len(found) > 1:
            raise DeviceAmbiguous(uri=self.uri, count=len(found), things="tokens")
        return found[0]

    def key(self, seat: Seat, wanted: Wanted) -> Any:
        """Find a key, checked; raises KekMissing, DeviceKeyMissing, DeviceAmbiguous, DeviceKeyWeak, DeviceUnusable."""
        if wanted not in seat.keys:
            key = self.find(seat.session, wanted)
            flaws = flaws_of(key)
            if flaws.unfit:
                raise DeviceUnusable(uri=self.uri, problem=f"its key {' and '.join(flaws.unfit)}")
            if flaws.weak and not self._accept_weak:
                raise DeviceKeyWeak(uri=self.uri, problem=" and ".join(flaws.weak))
            if len(seat.keys) >= _MOST_KEYS:
                seat.keys.clear()
            seat.keys[wanted] = key
        return seat.keys[wanted]

    def find(self, session: Any, wanted: Wanted) -> Any:
        """Find a key as it is; raises KekMissing, DeviceKeyMissing, DeviceAmbiguous."""
        template: dict[Any, Any] = {Attribute.CLASS: ObjectClass.SECRET_KEY}
        template |= {} if wanted.label is None else {Attribute.LABEL: wanted.label}
        template |= {} if wanted.key_id is None else {Attribute.ID: wanted.key_id}
        found = list(session.get_objects(template))
        if not found and wanted == self.kek:
            raise KekMissing(source=self.uri)
        if not found:
            raise DeviceKeyMissing(uri=self.uri, reference=(wanted.key_id or b"").hex())
        if len(found) > 1:
            raise DeviceAmbiguous(uri=self.uri, count=len(found), things="keys")
        return found[0]

    def _log_in(self, module: Module, token: Any, session: Any) -> None:
        if token.flags & TokenFlag.USER_PIN_LOCKED:
            raise PinLocked(uri=self.uri, source=self._place.pin_file)
        if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
            raise PinLastTry(uri=self.uri, source=self._place.pin_file)
        self._pin.offer(lambda pin: self._accepted(module.log_in(session.handle, pin)))

    def _accepted(self, result: int) -> bool:
        if result == _CKR_PIN_LOCKED:
            raise PinLocked(uri=self.uri, source=self._place.pin_file)
        if result in _CKR_NO_PIN:
            raise DeviceUnusable(uri=self.uri, problem=_CKR_NO_PIN[result])
        if result not in (CKR_OK, _CKR_ALREADY_LOGGED_IN, *_CKR_PIN_WRONG):
            raise DeviceAway(uri=self.uri, problem=f"it does not let this process log in (CK_RV {result:#x})")
        return result not in _CKR_PIN_WRONG

    def _fits(self, library: Any, slot: Any, token: Any) -> bool:
        major, minor = library.library_version
        there = {
            "token": token.label, "serial": token.serial.decode("utf-8", "replace").strip(), "model": token.model,
            "manufacturer": token.manufacturer_id, "slot-id": str(slot.slot_id),
            "slot-description": slot.slot_description, "slot-manufacturer": slot.manufacturer_id,
            "library-manufacturer": library.manufacturer_id, "library-description": library.library_description,
            "library-version": f"{major}.{minor}",
        }  # fmt: skip
        return all(there[name] == value for name, value in self._place.token.items())


def close(session: Any) -> None:
    """Close a session that is given up, if there still is one."""
    with contextlib.suppress(PKCS11Error):
        session.close()


def flaws_of(key: Any) -> Flaws:
    """Judge a key by its attributes."""
    has = functools.partial(_attribute, key)
    unfit = [
        f"cannot {verb}"
        for verb, name in (("encrypt", Attribute.ENCRYPT), ("decrypt", Attribute.DECRYPT))
        if has(name) is not True
    ]
    if has(Attribute.KEY_TYPE) is not KeyType.AES or has(Attribute.VALUE_LEN) != KEY_BITS // 8:
        unfit.append("is not AES of 256 bits")
    weak = [] if has(Attribute.SENSITIVE) is True else ["it is not CKA_SENSITIVE"]
    weak += [] if has(Attribute.EXTRACTABLE) is False else ["it is CKA_EXTRACTABLE"]
    weak += [] if has(Attribute.PRIVATE) is True else ["it is not CKA_PRIVATE, so it takes no PIN"]
    home = has(Attribute.ALWAYS_SENSITIVE) is True and has(Attribute.NEVER_EXTRACTABLE) is True
    return Flaws(tuple(unfit), tuple(weak), () if home else ("it was made elsewhere, or could once leave",))


def _attribute(key: Any, name: Attribute) -> Any:
    try:
        return key[name]
    except (AttributeTypeInvalid, NotImplementedError):
        return None
