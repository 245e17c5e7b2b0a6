"""Keys rotated, re-encrypted and destroyed by the command line over a real database, numbers checked at each step."""

from __future__ import annotations

import json

import pytest

from esl_shield.vault import cipher, keyring
from esl_shield.vault.keks import Keks


def _rows(vault):
    statement = "SELECT token, ciphertext, key_version FROM shield.tokens ORDER BY token"
    return {token: (bytes(blob), version) for token, blob, version in vault.database.query(statement)}


def data_key(vault, version, kek=None):
    """The opened data key of the tenant ``acme``."""
    statement = (
        "SELECT k.tenant_id, k.wrapped, k.kek_id FROM shield.data_keys k JOIN shield.tenants t ON t.id = k.tenant_id"
        " WHERE t.name = 'acme' AND purpose = 'data' AND version = %s"
    )
    tenant_id, wrapped, kek_id = vault.database.query(statement, version)[0]
    names = {"tenant_id": tenant_id, "purpose": "data", "version": version, "kek_id": kek_id}
    return keyring.unwrap(kek or vault.kek, bytes(wrapped), **names)


def _numbers(vault):
    """What every ciphertext opens to, by token."""
    tenant_id = vault.database.query("SELECT id FROM shield.tenants WHERE name = 'acme'")[0][0]
    opened = {version: data_key(vault, version) for version in {version for _, version in _rows(vault).values()}}
    return {
        token: cipher.decrypt(opened[version], blob, tenant_id, token, version).reveal()
        for token, (blob, version) in _rows(vault).items()
    }


def _import(vault, first, count):
    file = vault.write("in.csv", "number,alias", [f"138{n:08d},C-{n}" for n in range(first, first + count)])
    done = vault.import_(file)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def admin(vault):
    """The administrator's configuration."""
    path = vault.folder / "admin.toml"
    path.write_text(vault.config(vault.database.admin).read_text())
    path.chmod(0o600)
    return path


@pytest.fixture
def rekeyer(vault):
    """The rekeyer's configuration."""
    path = vault.folder / "rekeyer.toml"
    path.write_text(vault.config(vault.database.login("rekeyer", tenants=["acme"])).read_text())
    path.chmod(0o600)
    return path


def test_a_data_keys_life(vault, admin, rekeyer):
    """Rotated, re-encrypted, destroyed: every number stays readable, and in the end only under the new version."""
    _import(vault, 0, 700)
    before = _numbers(vault)
    done = vault.run("keys", "rotate", "--tenant", "acme", config=admin)
    assert (done.returncode, done.stdout) == (0, "tenant acme writes under data key version 2\n"), done.stderr
    _import(vault, 600, 200)
    assert {version for _, version in _rows(vault).values()} == {1, 2}
    refused = vault.run(
        "keys", "destroy", "--tenant", "acme", "--version", "1", "--backups", "gone", "--yes", config=admin
    )
    assert refused.returncode == 1
    assert "700 rows depend on it" in refused.stderr
    done = vault.run("keys", "reencrypt", "--tenant", "acme", "--rate", "0", config=rekeyer)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "tenant acme: 700 rows encrypted anew under data key version 2, 0 left\n"
    assert {version for _, version in _rows(vault).values()} == {2}
    after = _numbers(vault)
    assert {token: after[token] for token in before} == before
    events = vault.database.query(
        "SELECT detail FROM shield.audit_events WHERE kind = 'tokens.reencrypted' ORDER BY id"
    )
    assert sum(event["changed"] for (event,) in events) == 700
    assert (
        events[0][0]
        == {"before": [1], "version": 2, "asked": 500, "changed": 500, "changed_meanwhile": 0} | events[0][0]
    )
    again = vault.run("keys", "reencrypt", "--format", "json", config=rekeyer)
    assert json.loads(again.stdout) == {"tenant": "acme", "work": "reencrypt", "version": 2, "changed": 0, "left": 0}
