"""A device's PKCS#11 module, loaded into this process once.

python-pkcs11 does nearly all of it. It initialises a module without saying that threads will call it, on which a module
may leave its locks out (SoftHSM does); so the module is initialised again here, with CKF_OS_LOCKING_OK. It logs out
with the session that logged in, which logs every session out; so logging in is done here too, apart from sessions.

Invariants: a module that has no locks is known to be such; a module is finalised only when no call of this process is
in it; sessions of before are known by their generation and never used again, because a module numbers handles anew; a
process made by fork from one that had loaded the module cannot use it (PKCS#11 2.40, 5.4).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pkcs11

from esl_shield.errors.device import DeviceAway, DeviceForked, DeviceUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

CKR_OK = 0x0
_CKR_CANT_LOCK = 0xA
_CKF_OS_LOCKING_OK = 0x2
_CKU_USER = 1
# Places in CK_FUNCTION_LIST, behind its version (PKCS#11 2.40, pkcs11f.h).
_INITIALIZE, _FINALIZE, _LOGIN = 0, 1, 18
_ULONG = ctypes.c_ulong


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS."""

    _fields_ = (
        ("mutexes", ctypes.c_void_p * 4),
        ("flags", _ULONG),
        ("reserved", ctypes.c_void_p),
    )


class Module:
    """One module; ``load`` gives everybody the same."""

    _loaded: ClassVar[dict[str, Module]] = {}
    _loading: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, uri: str, path: str) -> None:
        self.generation = 0
        self.one_thread = False
        self._uri = uri
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._calls = 0
        try:
            self.library: Any = pkcs11.lib(path)
        except pkcs11.PKCS11Error as error:
            raise DeviceAway(uri=uri, problem=f"its module does not start ({type(error).__name__})") from None
        functions = self._functions(path)
        prototype = ctypes.CFUNCTYPE(_ULONG, ctypes.c_void_p)
        self._initialize, self._finalize = prototype(functions[_INITIALIZE]), prototype(functions[_FINALIZE])
        self._login = ctypes.CFUNCTYPE(_ULONG, _ULONG, _ULONG, ctypes.c_char_p, _ULONG)(functions[_LOGIN])
        self._start_anew()

    @classmethod
    def load(cls, uri: str, path: str) -> Module:
        """Load, or find loaded; raises DeviceUnusable, DeviceAway."""
        with cls._loading:
            if path not in cls._loaded:
                _require_module(uri, path)
                cls._loaded[path] = cls(uri, path)
            return cls._loaded[path]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the module; raises DeviceForked."""
        if os.getpid() != self._process:
            raise DeviceForked(uri=self._uri)
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1

    def restart(self) -> bool:
        """Finalise and initialise, unless another than the caller is in the module; returns whether it was done.

        Some modules see a token that came back, or a server, only then. Raises DeviceAway.
        """
        with self._lock:
            if self._calls > 1:
                return False
            self._start_anew()
            return True

    def log_in(self, session: int, pin: bytes) -> int:
        """Log in with a session's handle; returns the CK_RV."""
        buffer = ctypes.create_string_buffer(pin, len(pin))
        try:
            result: int = self._login(session, _CKU_USER, ctypes.cast(buffer, ctypes.c_char_p), len(pin))
        finally:
            ctypes.memset(buffer, 0, len(pin))
        return result

    def _functions(self, path: str) -> Any:
        functions = ctypes.POINTER(ctypes.c_void_p)()
        ctypes.CDLL(path).C_GetFunctionList(ctypes.byref(functions))
        return (ctypes.c_void_p * (_LOGIN + 1)).from_address(
            ctypes.addressof(functions.contents) + ctypes.sizeof(ctypes.c_void_p)
        )

    def _start_anew(self) -> None:
        self.generation += 1
        self._finalize(None)  # whatever it says: it may never have been initialised, or be beyond repair
        result = self._initialize(ctypes.byref(_InitializeArguments(flags=_CKF_OS_LOCKING_OK)))
        if result == _CKR_CANT_LOCK:
            self.one_thread = True
            result = self._initialize(None)
        if result != CKR_OK:
            raise DeviceAway(uri=self._uri, problem=f"its module does not start (CK_RV {result:#x})")


def _require_module(uri: str, path: str) -> None:
    if not Path(path).is_file():
        raise DeviceUnusable(uri=uri, problem=f"there is no module at {path}; install the device's software")
    try:
        usable = hasattr(ctypes.CDLL(path), "C_GetFunctionList")
    except OSError:
        usable = False
    if not usable:
        raise DeviceUnusable(uri=uri, problem=f"{path} is no PKCS#11 module that this process can load")
