"""A PKCS#11 device at work: operations in threads, a session each, found again when they are lost.

Invariants: no operation is done in the thread that asks (gevent's hub would stand still with it), none is waited for
longer than its time, and as many run at once as there are sessions, so a device that hangs takes threads and no more; a
session lost under an operation is opened again once, and the operation done again; what is found after that is the
same KEK or none; nobody tries to open sessions more often than once in PAUSE_S while that fails.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, PKCS11Error, exceptions

from esl_shield.config.pkcs11_uri import Place
from esl_shield.errors import ShieldError
from esl_shield.errors.device import DeviceAway, DeviceForked, DeviceUnusable
from esl_shield.errors.keys import KekMissing, KekUnusable, OtherKek
from esl_shield.vault.keys.module import Module
from esl_shield.vault.keys.pin import PinFile
from esl_shield.vault.keys.seats import KEY_BITS, NEEDED, Access, Flaws, Seat, Wanted, close, flaws_of
from esl_shield.vault.keys.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esl_shield.config.resolver import DeviceConfig

T = TypeVar("T")

PAUSE_S = 1.0
TAG_BITS = 128
# One block under AES-ECB, as key check values are made. GCM under the same key enciphers the zero block and counter
# blocks, which end in small numbers: this is neither.
_CONSTANT = b"esl_shield KEK 1"
_FINGERPRINT_BYTES = 8
_GONE = (
    exceptions.SessionHandleInvalid, exceptions.SessionClosed, exceptions.DeviceRemoved, exceptions.TokenNotPresent,
    exceptions.TokenNotRecognised, exceptions.UserNotLoggedIn, exceptions.KeyHandleInvalid,
    exceptions.ObjectHandleInvalid, exceptions.SlotIDInvalid,
)  # fmt: skip
_CANNOT = (
    exceptions.MechanismInvalid, exceptions.MechanismParamInvalid, exceptions.FunctionNotSupported,
    exceptions.AttributeTypeInvalid, exceptions.AttributeValueInvalid, exceptions.TemplateIncomplete,
    exceptions.TemplateInconsistent, exceptions.TokenWriteProtected, exceptions.KeyTypeInconsistent,
)  # fmt: skip
_DAMAGED = (exceptions.EncryptedDataInvalid, exceptions.EncryptedDataLenRange)


class _RefusedError(Exception):
    """A device that works refused an operation twice; the text names the library's error."""


class Device:
    """The device of one URI. Its sessions end with the process."""

    def __init__(self, uri: str, config: DeviceConfig) -> None:
        """Raise KekUnusable for what is no URI of a KEK; nothing is opened yet."""
        try:
            self._place = Place.of(uri)
        except ValueError as error:
            problem = str(error)
        else:
            problem = ""
        if problem:
            raise KekUnusable(source="pkcs11:", problem=problem)
        self._process = os.getpid()
        self._uri = uri
        self._config = config
        self._access = Access(uri, self._place, PinFile(uri, self._place.pin_file), accept_weak=config.accept_weak_key)
        self._threads = Threads(uri, config.sessions)
        self._free: deque[Seat] = deque()
        self._opening = threading.Lock()
        self._generation = 0
        self._failed: tuple[float, ShieldError] | None = None
        self._kek_id: str | None = None

    def kek_id(self) -> str:
        """Open the device and return the KEK's fingerprint; raises KekMissing and one of errors.device."""
        return self._run(self._fingerprint, self._config.open_timeout_s)

    def check(self) -> None:
        """Return if the KEK could be used now; raises what ``kek_id`` does."""
        self._run(self._fingerprint)

    def seal(self, wanted: Wanted | None, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt under a key (None: the KEK); returns ciphertext and tag. Raises one of errors.device."""

        def work(seat: Seat) -> bytes:
            return bytes(self._key(seat, wanted).encrypt(plaintext, **_gcm(nonce, associated)))

        try:
            return self._run(work)
        except _RefusedError as error:
            problem = f"it refuses to encrypt ({error})"
        raise DeviceUnusable(uri=self._uri, problem=problem)

    def unseal(self, wanted: Wanted | None, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        """Undo ``seal``; raises ValueError if any byte differs, else one of errors.device."""

        def work(seat: Seat) -> bytes | None:
            try:
                return bytes(self._key(seat, wanted).decrypt(sealed, **_gcm(nonce, associated)))
            except _DAMAGED:
                return None

        try:
            opened = self._run(work)
        except _RefusedError:
            # Modules say in their own ways that a tag is wrong (SoftHSM: CKR_GENERAL_ERROR); a device that does all
            # else, and refuses this twice, means it.
            opened = None
        if opened is None:
            message = "the device says that it is damaged"
            raise ValueError(message)
        return opened

    def require(self, wanted: Wanted) -> None:
        """Return if a key is there and fit; raises DeviceKeyMissing and one of errors.device."""
        self._run(lambda seat: self._key(seat, wanted))

    def create_kek(self) -> bool:
        """Make the KEK unless there is one; returns whether it was made. Raises one of errors.device."""
        return self._outside(self._make_kek)

    def make(self, wanted: Wanted) -> None:
        """Make a key that never leaves; raises one of errors.device."""
        self._outside(lambda session: _generate(session, wanted))

    def destroy(self, wanted: Wanted) -> None:
        """Destroy a key; raises DeviceKeyMissing and one of errors.device."""
        self._outside(lambda session: self._access.find(session, wanted).destroy())
        self._give_up()

    def flaws(self) -> Flaws:
        """Say what is wrong with the KEK, and what the token cannot do; raises one of errors.device."""

        def look(session: Any) -> Flaws:
            found = flaws_of(self._access.find(session, self._access.kek))
            there = session.token.slot.get_mechanisms()
            lacking = tuple(
                f"cannot be used with {name.name}: the token lacks it" for name in NEEDED if name not in there
            )
            return Flaws(found.unfit + lacking, found.weak, found.foreign)

        return self._outside(look)

    def _key(self, seat: Seat, wanted: Wanted | None) -> Any:
        return self._access.key(seat, wanted or self._access.kek)

    def _fingerprint(self, seat: Seat) -> str:
        block = self._key(seat, None).encrypt(_CONSTANT, mechanism=Mechanism.AES_ECB)
        return bytes(block)[:_FINGERPRINT_BYTES].hex()

    def _make_kek(self, session: Any) -> bool:
        kek = self._access.kek
        try:
            self._access.find(session, kek)
        except KekMissing:
            _generate(session, kek)
            return True
        return False

    def _outside(self, work: Callable[[Any], T]) -> T:
        """Work once in a session of its own that may write."""

        def attempt() -> T:
            module = self._module()
            with module.entered(), _told(self._uri):
                session = self._reach(module, writable=True)
                try:
                    return work(session)
                finally:
                    close(session)

        return self._threads.call(attempt, self._config.open_timeout_s)

    def _run(self, work: Callable[[Seat], T], timeout_s: float | None = None) -> T:
        if os.getpid() != self._process:
            raise DeviceForked(uri=self._uri)
        return self._threads.call(lambda: self._attempt(work), timeout_s or self._config.timeout_s)

    def _attempt(self, work: Callable[[Seat], T]) -> T:
        module = self._module()
        with module.entered():
            problem, working = "", False
            for _ in range(2):
                seat = self._seat(module)
                try:
                    result = work(seat)
                except PKCS11Error as error:
                    problem, working = type(error).__name__, self._still_works(seat, error)
                    if not working:
                        close(seat.session)
                        self._give_up()
                        continue
                    self._free.append(seat)
                except BaseException:
                    close(seat.session)
                    raise
                else:
                    self._free.append(seat)
                    return result
        if working:
            raise _RefusedError(problem)
        raise DeviceAway(uri=self._uri, problem=f"it lost its session twice ({problem})")

    def _still_works(self, seat: Seat, error: PKCS11Error) -> bool:
        if isinstance(error, _GONE):
            return False
        try:
            self._fingerprint(seat)
        except PKCS11Error:
            return False
        return True

    def _give_up(self) -> None:
        """Let no session opened before be used again: where one was lost, all are."""
        self._generation += 1

    def _seat(self, module: Module) -> Seat:
        while True:
            try:
                seat = self._free.pop()
            except IndexError:
                break
            if seat.generation == (module.generation, self._generation):
                return seat
            if seat.generation[0] == module.generation:
                close(seat.session)
        with self._opening:
            return self._open(module)

    def _open(self, module: Module) -> Seat:
        if self._failed and time.monotonic() < self._failed[0]:
            error = self._failed[1]
            raise type(error)(**error.fields)
        try:
            with _told(self._uri):
                seat = self._open_once(module)
        except ShieldError as error:
            self._failed = time.monotonic() + PAUSE_S, error
            raise
        self._failed = None
        return seat

    def _open_once(self, module: Module) -> Seat:
        session = self._reach(module)
        seat = Seat(session, (module.generation, self._generation))
        try:
            self._recognise(self._fingerprint(seat))
        except BaseException:
            close(session)
            raise
        return seat

    def _recognise(self, found: str) -> None:
        if self._kek_id not in (None, found):
            raise OtherKek(wanted=self._kek_id, given=found)
        self._kek_id = found

    def _reach(self, module: Module, *, writable: bool = False) -> Any:
        """Open a session, if need be after the module was started anew."""
        try:
            with _told(self._uri):
                return self._access.open(module, writable=writable)
        except DeviceAway:
            if not module.restart():
                raise
        return self._access.open(module, writable=writable)

    def _module(self) -> Module:
        module = Module.load(self._uri, self._place.module)
        if module.one_thread and self._config.sessions > 1:
            problem = "its module cannot be called from several threads; set [keys.device] sessions = 1"
            raise DeviceUnusable(uri=self._uri, problem=problem)
        return module


def _gcm(nonce: bytes, associated: bytes) -> dict[str, Any]:
    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": GCMParams(nonce, associated, TAG_BITS)}


def _generate(session: Any, wanted: Wanted) -> None:
    template = {
        Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False,
        Attribute.ENCRYPT: True, Attribute.DECRYPT: True, Attribute.SIGN: False, Attribute.VERIFY: False,
        Attribute.WRAP: False, Attribute.UNWRAP: False, Attribute.DERIVE: False, Attribute.MODIFIABLE: False,
    }  # fmt: skip
    session.generate_key(
        KeyType.AES, KEY_BITS, label=wanted.label, id=wanted.key_id, store=True,
        mechanism=Mechanism.AES_KEY_GEN, template=template,
    )  # fmt: skip


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what the library raises into one of ours."""
    try:
        yield
    except _CANNOT as error:
        failure: ShieldError = DeviceUnusable(uri=uri, problem=f"it cannot do what is needed ({type(error).__name__})")
    except PKCS11Error as error:
        failure = DeviceAway(uri=uri, problem=f"it answers with an error ({type(error).__name__})")
    else:
        return
    raise failure
