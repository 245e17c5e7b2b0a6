"""The commands an administrator and a seeder run, with the KEK in a device (SoftHSM2)."""

from __future__ import annotations

import json
import os

import pytest
from fix_hsm import PATIENT, PIN, WRONG_PIN
from vault_lab import TENANT, VaultLab

from esl_shield.vault import cipher, keyring
from esl_shield.vault.keys import create_kek, open_kek
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.provisioning import NewTenant, add_tenant

NUMBER = "+8613800138077"
PATIENCE = "\n[keys.device]\ntimeout_s = 20.0\nopen_timeout_s = 20.0\n"


class Site:
    """A migrated database, a token, and commands run with the KEK's URI in their configuration."""

    def __init__(self, database, hsm, folder):
        self.database = database
        self.hsm = hsm
        self.lab = VaultLab.__new__(VaultLab)  # not made whole: that would make a KEK in a file, and a tenant under it
        self.lab.folder, self.lab.database, self.lab.kek_uri = folder, database, hsm.uri()

    def add_tenant(self, *, data_key_in_device):
        create_kek(self.hsm.uri(), PATIENT)
        tenant = NewTenant(TENANT, "acme.example", "77", 14, "CN", None, data_key_in_device)
        add_tenant(self.database.admin, open_kek(self.hsm.uri(), PATIENT), tenant)

    def run(self, *arguments, login=None, **more):
        path = self.lab.config(login or self.database.admin)
        path.write_text(path.read_text() + PATIENCE)
        done = self.lab.run(*arguments, config=path, **more)
        for pin in (PIN, WRONG_PIN):
            assert pin not in done.stdout + done.stderr
        assert "138077" not in done.stdout + done.stderr
        return done


@pytest.fixture
def site(database, hsm, tmp_path):
    return Site(database, hsm, tmp_path)


def test_from_an_empty_token_to_a_number_decrypted(site):
    """Keys init, tenant add with its data key in the device, token add; all once, and the device alone decrypts."""
    made = site.run("keys", "init", "--format", "json")
    assert made.returncode == 0, made.stderr
    assert '"kek_created": true' in made.stdout
    assert '"kek_created": false' in site.run("keys", "init", "--format", "json").stdout
    add = (
        "tenant",
        "add",
        TENANT,
        "--domain",
        "acme.example",
        "--prefix",
        "77",
        "--region",
        "CN",
        "--data-key-in-device",
    )
    assert site.run(*add).stdout.startswith("created")
    assert site.run(*add).stdout.startswith("unchanged")
    assert site.hsm.tool("--list-objects", "--type", "secrkey").count("Secret Key Object") == 2
    seeder = site.database.login("seeder", tenants=[TENANT])
    token = site.run("token", "add", "--tenant", TENANT, login=seeder, stdin=NUMBER.encode() + b"\n")
    assert token.returncode == 0, token.stderr
    wrapped, kek_id, tenant = site.database.query(
        "SELECT wrapped, kek_id, tenant_id FROM shield.data_keys WHERE purpose = 'data'"
    )[0]
    assert keyring.in_device(wrapped)
    kek = open_kek(site.hsm.uri(), PATIENT)
    key = keyring.unwrap(kek, wrapped, tenant_id=tenant, purpose="data", version=1, kek_id=kek_id)
    [(made_token, blob)] = site.database.query("SELECT token, ciphertext FROM shield.tokens")
    assert cipher.decrypt(key, bytes(blob), tenant, made_token, 1) == SubscriberNumber(NUMBER)


@pytest.mark.slow
def test_doctor_looks_into_the_device(site):
    """A KEK made here is well; one that was brought in, and a PIN others read, are found. Slow: five processes."""
    create_kek(site.hsm.uri(), PATIENT)
    said = site.run("doctor", "--only", "keys", "--role", "admin", "--all", "--format", "json").stdout
    found = {line["check"]: line["severity"] for line in map(json.loads, said.splitlines())}
    assert found["keys.device"] == found["keys.opens"] == found["keys.module"] == "ok"
    site.hsm.tool("--delete-object", "--type", "secrkey", "--label", "kek")
    raw = site.lab.folder / "raw"
    raw.write_bytes(bytes(32))
    brought = (
        "--type",
        "secrkey",
        "--key-type",
        "AES:32",
        "--label",
        "kek",
        "--sensitive",
        "--private",
        "--usage-decrypt",
    )
    site.hsm.tool("--write-object", str(raw), *brought)
    said = site.run("doctor", "--only", "keys", "--role", "admin", "--format", "json").stdout
    found = {line["check"]: line["severity"] for line in map(json.loads, said.splitlines())}
    assert found["keys.device"] == "warning"
    site.hsm.pin_file.chmod(0o444)
    said = site.run("doctor", "--only", "keys", "--role", "admin", "--format", "json").stdout
    found = {line["check"]: line["severity"] for line in map(json.loads, said.splitlines())}
    assert found["keys.readers"] == found["keys.opens"] == "critical"


@pytest.mark.slow
def test_an_import_through_the_device(site):
    """Rows are encrypted inside; a wrong PIN later is one sentence, nothing half-written. Slow: two processes."""
    site.add_tenant(data_key_in_device=True)
    seeder = site.database.login("seeder", tenants=[TENANT])
    file = site.lab.write("in.csv", "number", [f"+86138001380{n:02d}" for n in range(50)])
    out = site.lab.folder / "out.csv"
    command = ("token", "import", str(file), "--tenant", TENANT, "--output", str(out))
    site.hsm.set_pin(WRONG_PIN)
    refused = site.run(*command, login=seeder)
    assert refused.returncode == 2
    assert "[pin.rejected]" in refused.stderr
    assert not out.exists()
    site.hsm.set_pin(PIN)
    done = site.run(*command, login=seeder)
    assert done.returncode == 0, done.stderr
    assert site.lab.count("tokens") == 50


def test_a_data_key_in_a_device_needs_a_kek_in_one(database, vault):
    """With a KEK in a file it is one sentence, and no tenant was added."""
    done = vault.run(
        "tenant", "add", "other", "--domain", "other.example", "--data-key-in-device",
        config=vault.config(database.admin),
    )  # fmt: skip
    assert done.returncode == 2
    assert "[device.none]" in done.stderr
    assert database.query("SELECT count(*) FROM dba.tenants WHERE name = 'other'") == [(0,)]


@pytest.mark.slow
def test_a_lost_device_is_no_reason_for_a_new_kek(site):
    """When the database holds keys and the token has none, keys init makes none. Slow: a variant, in processes."""
    site.add_tenant(data_key_in_device=False)
    site.hsm.tool("--delete-object", "--type", "secrkey", "--label", "kek")
    done = site.run("keys", "init")
    assert done.returncode == 2
    assert "[keys.kek_lost]" in done.stderr
    assert "Secret Key Object" not in site.hsm.tool("--list-objects", "--type", "secrkey")
    assert site.run("keys", "init", "--kek-only").stdout.startswith("created KEK")


def test_a_worker_that_could_read_the_pin_does_not_start(site):
    """The PIN is as good as the KEK; that it is readable is enough."""
    login = site.database.login("worker")
    path = site.lab.config(login)
    path.write_text(path.read_text() + '\n[[gateways]]\nname = "a"\ndelivery = "edge"\n')
    if not os.access(site.hsm.pin_file, os.R_OK):
        pytest.skip("this user reads nothing")
    done = site.lab.run("worker", config=path)
    assert done.returncode == 2
    assert "it can read the PIN of the KEK's device" in done.stderr
    assert "[worker.misplaced]" in done.stderr
