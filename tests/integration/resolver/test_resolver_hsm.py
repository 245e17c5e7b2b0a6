"""A resolver whose KEK and data key live in a PKCS#11 device: SoftHSM2, behind a module that misbehaves as told."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fix_hsm import PATIENT, PIN, WRONG_PIN, make_hsm
from rekeying import Calls, Job, move_rows
from resolver_process import NUMBERS, Vault, search, write_config

from esl_shield.vault import keylife
from esl_shield.vault.keks import Keks
from esl_shield.vault.keys import create_kek, open_kek

BUDGET_S = 2.0
ROWS = 100
TIMES = "[keys.device]\nsessions = 2\ntimeout_s = 0.4\n"
PATIENT_TIMES = "[keys.device]\ntimeout_s = 1.0\nopen_timeout_s = 20.0\n"


@pytest.fixture(scope="module")
def token(softhsm, tmp_path_factory):
    """A token with a KEK, for this module's tests in turn."""
    made = make_hsm(softhsm, tmp_path_factory.mktemp("token"))
    assert create_kek(made.uri(), PATIENT)
    return made


@pytest.fixture(scope="module")
def vault(database, token, tmp_path_factory):
    """A tenant whose data key lives in the device."""
    vault = Vault(database, tmp_path_factory.mktemp("vault"), open_kek(token.uri(), PATIENT))
    vault.secrets += [PIN, WRONG_PIN]
    yield vault
    vault.close()


@pytest.fixture
def device(token):
    """The token, well-behaved again afterwards."""
    yield token
    token.set_pin(PIN)
    token.behave()


@pytest.fixture
def start(start_resolver, device):
    """Start a resolver on the device."""
    return lambda times=PATIENT_TIMES: start_resolver(kek=device.uri(), resolver=times)


def test_numbers_are_decrypted_by_the_device_and_the_pin_is_nowhere(start, vault, device):
    """A redemption is one decryption in the device; the PIN is in no environment, argument or line of the process."""
    resolver = start()
    assert resolver.edge(vault.permit("mobile")).body == NUMBERS["mobile"]
    device.behave()
    assert resolver.edge(vault.permit("fixed")).body == NUMBERS["fixed"]
    assert len(device.calls("C_DecryptInit")) == 1
    assert resolver.get("/healthz").status == 200
    process = Path(f"/proc/{resolver.process.pid}")
    for page in ("environ", "cmdline", "comm", "status"):
        assert PIN.encode() not in (process / page).read_bytes()
    search(resolver, vault)


def test_a_ciphertext_of_another_token_is_damage_not_an_outage(start, vault):
    """The device refuses it, the resolver says so in the audit trail, and goes on."""
    resolver = start()
    token, kept = vault.tokens["abroad"], vault.ciphertext(vault.tokens["abroad"])
    vault.store(token, vault.ciphertext(vault.tokens["mobile"]))
    permit = vault.permit("abroad")
    assert resolver.edge(permit).status == 503
    assert vault.audit(permit.call)[-1] == ("permit.refused_number", "cipher.damaged")
    vault.store(token, kept)
    assert resolver.edge(vault.permit("abroad")).body == NUMBERS["abroad"]


def test_a_device_that_hangs_is_503_in_time_and_comes_back(start, vault, device, until):
    """More callers than sessions are each told in time; pages are served meanwhile; afterwards numbers come again."""
    resolver = start(TIMES)
    until(lambda: resolver.edge(vault.permit("mobile")).body == NUMBERS["mobile"])
    permits = [vault.permit("mobile") for _ in range(8)]
    device.behave("C_Decrypt hang 0 0")
    with concurrent.futures.ThreadPoolExecutor(len(permits)) as callers:
        asked = [callers.submit(_timed, resolver, permit) for permit in permits]
        started = time.monotonic()
        assert resolver.get("/metrics").status == 200
        pages_s = time.monotonic() - started
        answers = [call.result() for call in asked]
    assert {status for status, _ in answers} == {503}
    assert max(took_s for _, took_s in answers) < BUDGET_S
    assert pages_s < BUDGET_S
    assert {vault.audit(permit.call)[-1] for permit in permits} == {("permit.refused_number", "device.slow")}
    until(lambda: resolver.get("/healthz").status == 503)
    device.behave()
    until(lambda: resolver.edge(vault.permit("mobile")).body == NUMBERS["mobile"])
    until(lambda: resolver.get("/healthz").status == 200)


def _timed(resolver, permit):
    started = time.monotonic()
    return resolver.edge(permit).status, time.monotonic() - started


def test_a_token_taken_out_and_put_back(start, vault, device, until):
    """Calls are 503 while it is out, the page of health says so, and nobody restarts anything."""
    resolver = start()
    assert resolver.edge(vault.permit("mobile")).status == 200
    device.behave("C_GetSlotList empty 0 0", "C_DecryptInit fail e0 0", "C_EncryptInit fail e0 0")
    permit = vault.permit("mobile")
    assert resolver.edge(permit).status == 503
    assert vault.audit(permit.call)[-1] == ("permit.refused_number", "device.away")
    until(lambda: resolver.get("/healthz").status == 503)
    device.behave()
    until(lambda: resolver.get("/healthz").status == 200)
    until(lambda: resolver.edge(vault.permit("mobile")).body == NUMBERS["mobile"])


def test_a_stop_does_not_wait_for_a_device_that_hangs(start, vault, device):
    """SIGTERM ends the process in its drain time though a thread is stuck in the module."""
    resolver = start(TIMES)
    device.behave("C_Decrypt hang 0 0")
    assert resolver.edge(vault.permit("mobile")).status == 503
    resolver.process.send_signal(signal.SIGTERM)
    assert resolver.process.wait(15) == 0


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        pytest.param(lambda token: token.set_pin(WRONG_PIN), 2, "pin.rejected", id="wrong PIN"),
        pytest.param(lambda token: token.pin_file.chmod(0o444), 2, "pin.unusable", id="open PIN"),
        pytest.param(lambda token: token.behave("C_GetSlotList empty 0 0"), 3, "device.away", id="no token"),
        pytest.param(lambda token: token.behave("C_FindObjectsInit hang 0 0"), 3, "device.slow", id="hangs"),
    ],
)
def test_a_resolver_without_its_device_does_not_start(database, vault, device, tmp_path, spoil, code, says):
    """One sentence and the exit code, the PIN in neither; a wrong one is offered once."""
    times = "[keys.device]\nopen_timeout_s = 2.0\n"
    path = write_config(tmp_path, database.login("resolver").url, device.uri(), resolver=times)
    device.behave()
    spoil(device)
    done = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(path), "resolver"], capture_output=True, text=True,
        timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert done.returncode == code
    assert f"[{says}]" in done.stderr
    assert len(device.calls("C_Login")) <= 1
    for pin in (PIN, WRONG_PIN):
        assert pin not in done.stderr + done.stdout
    assert vault.kek.id


def test_no_call_fails_while_the_devices_key_changes(start, database, vault, device, tmp_path, until):
    """The data key rotated in the device, rows moved by a job killed and run again, the older key destroyed there."""
    for at in range(ROWS):
        vault.seed(f"+86139{at:08d}")
    keks = Keks(vault.kek)
    job = Job(tmp_path, database.login("rekeyer"), device.uri(), 100, PATIENT_TIMES)
    before = device.tool("--list-objects", "--type", "secrkey").count("Secret Key Object")
    calls = Calls(start(), vault)
    try:
        (key,) = keylife.newest_keys(vault.admin_login, "data", vault.tenant)
        assert keylife.rotate(vault.admin_login, keks, key).in_device
        move_rows(job, calls, vault, ROWS, until)
        older = keylife.find_key(vault.admin_login, vault.tenant, "data", 1)
        found = keylife.dependents(vault.admin_login, older)
        keylife.destroy(vault.admin_login, older, "gone", keylife.outside(keks, older, found))
        calls.more(until)
    finally:
        calls.stop()
    assert calls.wrong == []
    assert calls.made > 15
    assert device.tool("--list-objects", "--type", "secrkey").count("Secret Key Object") == before
