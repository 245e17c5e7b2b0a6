"""The life of a data key that lives in a PKCS#11 device (SoftHSM2): rotated, moved out, destroyed."""

from __future__ import annotations

import pytest
from fix_hsm import PATIENT
from key_lab import KeyLab
from vault_lab import TENANT, VaultLab

from esl_shield.errors.device import DeviceKeyLeft, NoDevice
from esl_shield.vault import keylife
from esl_shield.vault.keks import Keks
from esl_shield.vault.keys import Kek, create_kek, open_kek
from esl_shield.vault.provisioning import NewTenant, add_tenant

PATIENCE = "\n[keys.device]\ntimeout_s = 20.0\nopen_timeout_s = 20.0\n"


class HsmVaultLab(VaultLab):
    """A VaultLab whose KEK and first data key live in a token."""

    def __init__(self, database, folder, hsm) -> None:
        self.database, self.folder, self.kek_uri = database, folder, hsm.uri()
        create_kek(self.kek_uri, PATIENT)
        self.kek = open_kek(self.kek_uri, PATIENT)
        add_tenant(database.admin, self.kek, NewTenant(TENANT, "acme.example", "77", 14, "CN", None, True))
        self.seeder_login = database.login("seeder", tenants=[TENANT])
        self._stores = []

    def config(self, *arguments, **more):
        path = super().config(*arguments, **more)
        path.write_text(path.read_text() + PATIENCE)
        return path


@pytest.fixture
def lab(database, tmp_path, hsm):
    vault = HsmVaultLab(database, tmp_path, hsm)
    yield KeyLab(vault)
    vault.close()


def _objects(hsm) -> int:
    """How many keys the token has."""
    return hsm.tool("--list-objects", "--type", "secrkey").count("Secret Key Object")


def _clear(lab, version=1):
    """A key's older version that could be destroyed, and what of it is in the device."""
    lab.let_calls_end()
    key = keylife.find_key(lab.database.admin, TENANT, "data", version)
    found = keylife.dependents(lab.database.admin, key)
    assert found.verdict == "CLEAR"
    return key, found


def test_a_data_keys_life_in_a_device(lab, hsm):
    """Rotated, it is in the device again; rows move; destroyed by the command line, it is in the device no more."""
    lab.seed(0, 20)
    before = lab.numbers()
    key = lab.rotate()
    assert (key.version, key.in_device, _objects(hsm)) == (2, True, 3)
    assert lab.do().changed == 20
    assert lab.numbers() == before
    lab.let_calls_end()
    done = lab.vault.run(
        "keys", "destroy", "--tenant", TENANT, "--version", "1", "--backups", "gone", "--yes",
        config=lab.vault.config(lab.database.admin),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert _objects(hsm) == 2
    assert lab.numbers() == before
    in_device = lab.database.query("SELECT version, in_device FROM dba.keys WHERE purpose = 'data' ORDER BY version")
    assert in_device == [(1, False), (2, True)]


def test_a_data_key_in_a_device_leaves_it_by_rotation_alone(lab, hsm):
    """A KEK in a file takes no reference, and nothing is changed; rotated out and destroyed, the rest moves."""
    lab.seed(0, 5)
    before = lab.numbers()
    memory = Keks(Kek.new(), [lab.vault.kek])
    kept = lab.database.query("SELECT * FROM shield.data_keys ORDER BY purpose, version")
    with pytest.raises(NoDevice):
        list(keylife.rewrap(lab.database.admin, memory))
    assert lab.database.query("SELECT * FROM shield.data_keys ORDER BY purpose, version") == kept
    (key,) = keylife.newest_keys(lab.database.admin, "data", TENANT)
    assert not keylife.rotate(lab.database.admin, lab.keks, key, in_device=False).in_device
    lab.do()
    key, found = _clear(lab)
    keylife.destroy(lab.database.admin, key, "gone", keylife.outside(lab.keks, key, found))
    assert _objects(hsm) == 1
    assert len(list(keylife.rewrap(lab.database.admin, memory))) == 2
    lab.keks = Keks(memory.current)
    assert lab.numbers() == before


def test_the_database_forgets_a_key_before_the_device(lab, hsm):
    """Away at the end, the device keeps an orphan that is named; a refusal of the database touches no device."""
    lab.seed(0, 2)
    lab.rotate()
    key = keylife.find_key(lab.database.admin, TENANT, "data", 1)
    assert keylife.dependents(lab.database.admin, key).wrapped is None
    lab.do()
    key, found = _clear(lab)
    inside = keylife.outside(lab.keks, key, found)
    hsm.behave("C_DestroyObject fail 30 0")
    with pytest.raises(DeviceKeyLeft, match=inside.reference.hex()):
        keylife.destroy(lab.database.admin, key, "gone", inside)
    hsm.behave()
    assert keylife.dependents(lab.database.admin, key).verdict == "ALREADY"
    assert _objects(hsm) == 3


def test_a_key_the_device_has_lost_can_be_destroyed_still(lab, hsm):
    """What the device has no more is no reason to keep its row."""
    lab.seed(0, 2)
    lab.rotate()
    lab.do()
    key, found = _clear(lab)
    keylife.outside(lab.keks, key, found).destroy()
    keylife.destroy(lab.database.admin, key, "gone", keylife.outside(lab.keks, key, found))
    assert keylife.dependents(lab.database.admin, key).verdict == "ALREADY"


def test_a_rotation_that_lost_a_race_leaves_no_key_in_the_device(lab, hsm):
    """The version somebody else made first is drawn anew, and what was made for it is destroyed."""
    (stale,) = keylife.newest_keys(lab.database.admin, "data", TENANT)
    lab.rotate()
    assert keylife.rotate(lab.database.admin, lab.keks, stale).version == 3
    assert _objects(hsm) == 4
