"""Keys in a PKCS#11 device: SoftHSM2, behind a module that misbehaves as told."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import subprocess
import sys
import time
import warnings

import gevent
import pytest
from fix_hsm import PATIENT, PIN, WRONG_PIN, make_token
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esl_shield.errors import device as errors
from esl_shield.errors.keys import CipherDamaged, CryptoError, KekMissing, KekUnusable, KeyDamaged, OtherKek
from esl_shield.vault import cipher, keyring
from esl_shield.vault.keys import Kek, Key, create_kek, open_kek
from esl_shield.vault.numbers import SubscriberNumber

NUMBER = SubscriberNumber("+8613800138001")
TOKEN = "77000000000000"
NAMES = {"tenant_id": 5, "purpose": "data", "version": 3}
HASTY = dataclasses.replace(PATIENT, timeout_s=0.3, sessions=2)
GIVEN_UP_S = 5.0


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    """Let what failed be tried again at once."""
    monkeypatch.setattr("esl_shield.vault.keys.device.PAUSE_S", 0.0)


@pytest.fixture
def kek(hsm):
    """A KEK made in the token and opened."""
    assert create_kek(hsm.uri(), PATIENT)
    return open_kek(hsm.uri(), PATIENT)


@contextlib.contextmanager
def raises_quietly(error):
    """Expect an error that repeats no PIN."""
    with pytest.raises(error) as caught:
        yield caught
    for pin in (PIN, WRONG_PIN):
        assert pin not in f"{caught.value} {caught.value!r} {caught.value.fields}"


def test_the_kek_is_made_once_and_never_leaves(hsm, kek):
    """Making it again changes nothing; it is sensitive, cannot be extracted, and names itself."""
    assert not create_kek(hsm.uri(), PATIENT)
    assert open_kek(hsm.uri(), PATIENT).id == kek.id
    shown = hsm.tool("--list-objects", "--type", "secrkey")
    assert shown.count("Secret Key Object") == 1
    assert "always sensitive, never extractable" in shown
    assert len(kek.id) == 16
    assert repr(kek) == "DeviceKek(hidden)"


def test_the_module_is_told_of_threads(hsm, kek):
    """It is initialised with CKF_OS_LOCKING_OK: without, SoftHSM2 leaves its locks out."""
    hsm.behave("C_DecryptInit fail 190 1", "C_EncryptInit fail 190 1", "C_GetSlotList empty 0 1")
    with pytest.raises(ValueError, match="damaged"):
        kek.unwrap(b"x" * 60, b"")
    assert hsm.calls("C_Initialize") == ["2"]


def test_a_key_wrapped_in_the_device_opens_there_alone(kek):
    """Tenant, purpose, version and every byte are bound, as under a KEK in memory."""
    key = Key.new()
    wrapped = keyring.wrap(kek, key, **NAMES)
    assert len(wrapped) == keyring.WRAPPED_BYTES
    assert keyring.unwrap(kek, wrapped, kek_id=kek.id, **NAMES) == key
    for change in ({"tenant_id": 6}, {"purpose": "index"}, {"version": 4}):
        with pytest.raises(KeyDamaged):
            keyring.unwrap(kek, wrapped, kek_id=kek.id, **{**NAMES, **change})
    for position in (0, 1, 2, 20, len(wrapped) - 1):
        damaged = bytearray(wrapped)
        damaged[position] ^= 1
        with pytest.raises(KeyDamaged):
            keyring.unwrap(kek, bytes(damaged), kek_id=kek.id, **NAMES)


def test_a_data_key_lives_in_the_device(hsm, kek):
    """The database holds a wrapped reference; numbers are encrypted and decrypted inside, and bound as ever."""
    key = keyring.new_key(kek, in_device=True, **NAMES)
    wrapped = keyring.wrap(kek, key, **NAMES)
    assert keyring.in_device(wrapped)
    again = keyring.unwrap(open_kek(hsm.uri(), PATIENT), wrapped, kek_id=kek.id, **NAMES)
    blob = cipher.encrypt(key, NUMBER, 5, TOKEN, 3)
    assert len(blob) == cipher.CIPHERTEXT_BYTES
    assert cipher.decrypt(again, blob, 5, TOKEN, 3) == NUMBER
    with pytest.raises(CipherDamaged):
        cipher.decrypt(again, blob, 6, TOKEN, 3)
    with pytest.raises(CipherDamaged):
        cipher.decrypt(again, blob[:-1] + bytes([blob[-1] ^ 1]), 5, TOKEN, 3)
    again.destroy()
    with pytest.raises(errors.DeviceKeyMissing, match=key.reference.hex()):
        cipher.decrypt(key, blob, 5, TOKEN, 3)
    with pytest.raises(errors.DeviceKeyMissing):
        keyring.unwrap(kek, wrapped, kek_id=kek.id, **NAMES)


def test_an_index_key_is_never_a_reference(kek):
    """Who swaps a data key's reference into an index key's row gets nothing; index keys are made in memory."""
    assert isinstance(keyring.new_key(kek, tenant_id=5, purpose="index", version=3, in_device=True), Key)
    key = keyring.new_key(kek, in_device=True, **NAMES)
    wrapped = keyring.wrap(kek, key, **NAMES)
    assert keyring.unwrap(kek, wrapped, kek_id=kek.id, **NAMES) == key
    with pytest.raises(KeyDamaged):
        keyring.unwrap(kek, wrapped, kek_id=kek.id, **{**NAMES, "purpose": "index"})
    names = {**NAMES, "purpose": "index"}
    with pytest.raises(KeyDamaged):
        keyring.unwrap(kek, keyring.wrap(kek, key, **names), kek_id=kek.id, **names)


def test_a_reference_needs_a_device(kek):
    """A KEK in memory neither makes nor opens a data key in a device."""
    memory = Kek.new()
    with pytest.raises(errors.NoDevice):
        keyring.new_key(memory, in_device=True, **NAMES)
    wrapped = keyring.wrap(memory, keyring.new_key(kek, in_device=True, **NAMES), **NAMES)
    with pytest.raises(errors.NoDevice):
        keyring.unwrap(memory, wrapped, kek_id=memory.id, **NAMES)


def test_a_key_moves_between_keks(hsm, kek):
    """What a file: KEK wraps is wrapped anew by the device, and between two keys of one device; references too."""
    create_kek(hsm.uri("other"), PATIENT)
    other, memory, key = open_kek(hsm.uri("other"), PATIENT), Kek.new(), Key.new()
    assert other.id != kek.id
    for made in (key, keyring.new_key(kek, in_device=True, **NAMES)):
        for before, after in ((memory, kek), (kek, other)):
            if before is memory and made is not key:
                continue
            wrapped = keyring.wrap(before, made, **NAMES)
            opened = keyring.unwrap(before, wrapped, kek_id=before.id, **NAMES)
            moved = keyring.unwrap(after, keyring.wrap(after, opened, **NAMES), kek_id=after.id, **NAMES)
            blob = cipher.encrypt(made, NUMBER, 5, TOKEN, 3)
            assert cipher.decrypt(moved, blob, 5, TOKEN, 3) == NUMBER


def test_the_devices_format_is_ours(hsm, kek, tmp_path):
    """A known key brought into the token decrypts what the same key in memory encrypted, and the other way."""
    raw, reference = bytes(range(32)), b"\x01" * 16
    (tmp_path / "raw").write_bytes(raw)
    hsm.tool(
        "--write-object", str(tmp_path / "raw"), "--type", "secrkey", "--key-type", "AES:32", "--label", "known",
        "--id", reference.hex(), "--sensitive", "--private", "--usage-decrypt",
    )  # fmt: skip
    inside, here = kek.outside_key(reference), Key(raw)

    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        plaintext=st.binary(min_size=1, max_size=64),
        associated=st.binary(max_size=64),
        nonce=st.binary(min_size=12, max_size=12),
    )
    def crossed(plaintext, associated, nonce):
        assert cipher.seal(inside, nonce, plaintext, associated) == cipher.seal(here, nonce, plaintext, associated)
        sealed = cipher.seal(here, nonce, plaintext, associated)
        assert cipher.unseal(inside, nonce, *sealed, associated) == plaintext

    crossed()


# What happens once under an operation, and that it is done all the same; the logins that takes.
RECOVERED = {
    "the session is closed": ("C_DecryptInit lose 0 1", 1),
    "CKR_SESSION_HANDLE_INVALID": ("C_DecryptInit fail b3 1", 1),
    "CKR_SESSION_CLOSED": ("C_Decrypt fail b0 1", 1),
    "CKR_DEVICE_REMOVED": ("C_Decrypt fail 32 1", 1),
    "CKR_TOKEN_NOT_PRESENT": ("C_DecryptInit fail e0 1", 1),
    "CKR_USER_NOT_LOGGED_IN": ("C_DecryptInit fail 101 1", 1),
    "CKR_KEY_HANDLE_INVALID": ("C_DecryptInit fail 60 1", 1),
    "CKR_CRYPTOKI_NOT_INITIALIZED": ("C_DecryptInit fail 190 1", 0),
    "CKR_DEVICE_ERROR": ("C_Decrypt fail 30 1", 1),
    "CKR_FUNCTION_FAILED": ("C_DecryptInit fail 6 1", 0),
    "a code of the vendor's": ("C_DecryptInit fail 80000001 1", 0),
}


@pytest.mark.parametrize("name", RECOVERED)
def test_what_is_lost_once_is_found_again(name, hsm, kek):
    """An operation outlives a lost session and a passing error."""
    wrapped = kek.wrap(b"content", b"with")
    line, logins = RECOVERED[name]
    hsm.behave(line)
    assert kek.unwrap(wrapped, b"with") == b"content"
    assert len(hsm.calls("C_Login")) == logins
    assert kek.unwrap(wrapped, b"with") == b"content"


def test_damage_costs_no_session(hsm, kek):
    """Whoever damages a ciphertext does not make the device log in again."""
    wrapped = kek.wrap(b"content", b"with")
    hsm.behave()
    for _ in range(3):
        with pytest.raises(ValueError, match="damaged"):
            kek.unwrap(wrapped, b"without")
    assert hsm.calls("C_OpenSession") == []


GONE = ["C_GetSlotList empty 0 0", "C_DecryptInit fail e0 0", "C_EncryptInit fail e0 0"]
# What goes on while the device is in use: what is said, and how it comes back.
LASTING = {
    "the token is taken out": (GONE, errors.DeviceAway, "no token of it is present"),
    "the device errs": (["C_DecryptInit fail 30 0", "C_EncryptInit fail 30 0"], errors.DeviceAway, "DeviceError"),
    "sessions are refused": (["C_DecryptInit fail b3 0", "C_OpenSession fail b1 0"], errors.DeviceAway, "SessionCount"),
    "logins fail": (["C_DecryptInit fail b3 0", "C_Login fail 30 0"], errors.DeviceAway, "0x30"),
    "the module does not start": (
        ["C_DecryptInit fail b3 0", "C_GetSlotList empty 0 0", "C_Initialize fail 5 0"],
        errors.DeviceAway,
        "does not start",
    ),
    "the PIN is locked": (["C_DecryptInit fail b3 0", "C_Login fail a4 0"], errors.PinLocked, "security officer"),
    "the PIN has expired": (["C_DecryptInit fail b3 0", "C_Login fail a3 0"], errors.DeviceUnusable, "expired"),
}


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_said_and_mended_without_a_restart(name, hsm, kek):
    """While it lasts every operation is one clear error; when it is over the next one works."""
    wrapped = kek.wrap(b"content", b"with")
    lines, error, words = LASTING[name]
    hsm.behave(*lines)
    for _ in range(3):
        with raises_quietly(error) as caught:
            kek.unwrap(wrapped, b"with")
        assert words in str(caught.value)
        with raises_quietly(error):
            kek.check()
    hsm.behave()
    assert kek.unwrap(wrapped, b"with") == b"content"
    kek.check()


def _weak(hsm, bits: int = 32, *more: str) -> None:
    hsm.tool("--keygen", "--key-type", f"AES:{bits}", "--label", "kek", "--usage-decrypt", *more)


def _extractable(hsm) -> None:
    _weak(hsm, 32, "--sensitive", "--extractable")


def _twice(hsm) -> None:
    for _ in range(2):
        _weak(hsm, 32, "--sensitive")


def _open_pin(hsm) -> None:
    hsm.pin_file.chmod(0o440)


# What is wrong from the start.
UNOPENED = {
    "no module": (lambda hsm: None, {"module-path": "/nonexistent/p11.so"}, errors.DeviceUnusable, "no module at"),
    "no PKCS#11 module": (lambda hsm: None, {"module-path": "/bin/sh"}, errors.DeviceUnusable, "no PKCS#11 module"),
    "no such token": (lambda hsm: None, {"token": "nowhere"}, errors.DeviceAway, "no token"),
    "another serial": (lambda hsm: None, {"serial": "0123"}, errors.DeviceAway, "no token"),
    "no such key": (lambda hsm: None, {}, KekMissing, "keys init"),
    "two of the name": (_twice, {}, errors.DeviceAmbiguous, "2 keys"),
    "a key that may leave": (_extractable, {}, errors.DeviceKeyWeak, "CKA_EXTRACTABLE"),
    "a key that is shown": (_weak, {}, errors.DeviceKeyWeak, "CKA_SENSITIVE"),
    "a short key": (lambda hsm: _weak(hsm, 16, "--sensitive"), {}, errors.DeviceUnusable, "256 bits"),
    "no PIN file": (lambda hsm: hsm.pin_file.unlink(), {}, errors.PinUnusable, "nothing is there"),
    "an open PIN file": (_open_pin, {}, errors.PinUnusable, "0440"),
    "an empty PIN": (lambda hsm: hsm.set_pin(""), {}, errors.PinUnusable, "one line"),
    "two PINs": (lambda hsm: hsm.set_pin(f"{PIN}\n{PIN}"), {}, errors.PinUnusable, "one line"),
    "the last try": (lambda hsm: hsm.behave("C_GetTokenInfo flags 20000 0"), {}, errors.PinLastTry, "by hand"),
    "a locked PIN": (lambda hsm: hsm.behave("C_GetTokenInfo flags 40000 0"), {}, errors.PinLocked, "security officer"),
    "another id": (_twice, {"id": "%01"}, KekMissing, "keys init"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNOPENED)
def test_what_cannot_be_opened_is_said(name, hsm):
    """Each cause is an error of its own; a PIN that is not to be tried is not."""
    prepare, change, error, words = UNOPENED[name]
    prepare(hsm)
    uri = hsm.uri(**{key: value for key, value in change.items() if key != "module-path"})
    if "module-path" in change:
        uri = uri.replace(str(hsm.module), change["module-path"])
    logins = len(hsm.calls("C_Login"))
    with raises_quietly(error) as caught:
        open_kek(uri, PATIENT)
    assert words in str(caught.value)
    if name in ("the last try", "a locked PIN"):
        assert len(hsm.calls("C_Login")) == logins


def test_what_is_no_place_of_a_kek_is_refused():
    """A PIN in the URI is refused and not repeated, by the vault as by the configuration."""
    with pytest.raises(KekUnusable) as caught:
        open_kek("pkcs11:token=a;object=b?module-path=/m.so&pin-value=4711")
    assert "4711" not in str(caught.value)


def test_a_name_two_tokens_have_is_none(hsm, kek):
    """Which of two tokens is meant must be said, by its serial number."""
    make_token(hsm.environment, hsm.label)
    wrapped = kek.wrap(b"content", b"")
    hsm.behave("C_DecryptInit lose 0 1", "C_GetSlotList empty 0 1")  # started anew, the module sees the new token
    with raises_quietly(errors.DeviceAmbiguous) as caught:
        kek.unwrap(wrapped, b"")
    assert "serial=" in str(caught.value)


def test_without_the_extra_it_is_said_what_to_install(hsm):
    """Nothing of PKCS#11 is imported before a URI asks for it, and then its lack is one sentence."""
    code = "import sys; sys.modules['pkcs11'] = None; from esl_shield.vault.keys import open_kek; open_kek(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, hsm.uri()], capture_output=True, text=True, check=False)
    assert "pip install 'esl-shield[hsm]'. [device.unusable]" in done.stderr


def test_a_weak_key_can_be_accepted(hsm):
    """Who says so in the configuration may use a key that could leave."""
    _weak(hsm, 32, "--extractable")
    kek = open_kek(hsm.uri(), dataclasses.replace(PATIENT, accept_weak_key=True))
    assert kek.unwrap(kek.wrap(b"content", b""), b"") == b"content"


def test_a_wrong_pin_is_tried_once(hsm, kek):
    """However often it is asked for, a refused PIN is not offered again until its file is another."""
    hsm.set_pin(WRONG_PIN)
    hsm.behave("C_DecryptInit lose 0 1")
    wrapped = kek.wrap(b"content", b"with")
    for _ in range(4):
        with raises_quietly(errors.PinRejected):
            kek.unwrap(wrapped, b"with")
        with raises_quietly(errors.PinRejected):
            open_kek(hsm.uri(), PATIENT)
    assert len(hsm.calls("C_Login")) == 1
    hsm.set_pin(PIN)
    assert kek.unwrap(wrapped, b"with") == b"content"
    assert len(hsm.calls("C_Login")) == 2


def test_another_key_in_its_place_is_not_used(hsm, kek):
    """A KEK that was replaced while the device was away is known by its fingerprint."""
    hsm.tool("--delete-object", "--type", "secrkey", "--label", "kek")
    with raises_quietly(KekMissing):
        kek.wrap(b"content", b"")
    assert create_kek(hsm.uri(), PATIENT)
    with raises_quietly(OtherKek):
        kek.wrap(b"content", b"")


def test_a_device_that_hangs_holds_nobody_up(hsm, kek):
    """Requests fail in their time, more of them than there are sessions; other greenlets run on; it comes back."""
    hasty = open_kek(hsm.uri(), HASTY)
    wrapped = hasty.wrap(b"content", b"with")
    hsm.behave("C_Decrypt hang 0 0")
    ticks = []

    def tick():
        while True:
            ticks.append(time.monotonic())
            gevent.sleep(0.01)

    ticking = gevent.spawn(tick)
    started = time.monotonic()
    asked = [gevent.spawn(_error_of, hasty, wrapped) for _ in range(HASTY.sessions * 3)]
    gevent.joinall(asked, timeout=GIVEN_UP_S)
    took = time.monotonic() - started
    ticking.kill()
    assert {type(greenlet.value) for greenlet in asked} == {errors.DeviceSlow}
    assert HASTY.timeout_s <= took < GIVEN_UP_S
    assert len(ticks) > 10
    assert max(later - earlier for earlier, later in itertools.pairwise(ticks)) < took
    hsm.behave()
    assert _eventually(hasty, wrapped) == b"content"


def _error_of(kek, wrapped):
    try:
        return kek.unwrap(wrapped, b"with")
    except CryptoError as error:
        return error


def _eventually(kek, wrapped):
    deadline = time.monotonic() + GIVEN_UP_S
    while isinstance(found := _error_of(kek, wrapped), errors.DeviceSlow) and time.monotonic() < deadline:
        gevent.sleep(0.01)
    return found


def test_many_at_once_share_the_sessions(hsm, kek):
    """A hundred greenlets get their own content back; no more sessions are opened than configured."""
    hsm.behave()
    shared = open_kek(hsm.uri(), PATIENT)
    contents = [b"%03d" % number for number in range(100)]
    done = [gevent.spawn(lambda text=text: shared.unwrap(shared.wrap(text, text), text)) for text in contents]
    gevent.joinall(done)
    assert [greenlet.value for greenlet in done] == contents
    assert 1 <= len(hsm.calls("C_OpenSession")) <= PATIENT.sessions


def test_a_fork_does_not_inherit_the_device(kek):
    """A child made by fork says so instead of sharing the parent's sessions; the parent works on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is what is tried
        child = os.fork()
    if child == 0:
        try:
            kek.wrap(b"content", b"")
        except errors.DeviceForked:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert kek.unwrap(kek.wrap(b"content", b""), b"") == b"content"
