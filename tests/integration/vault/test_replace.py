"""``token import --replace``: customers who changed numbers and keep their tokens."""

from __future__ import annotations

import pytest

from esl_shield.vault import cipher
from esl_shield.vault.seedkeys import open_keys
from esl_shield.vault.store import Store

UNKNOWN = "77000000000019"


@pytest.fixture
def imported(vault):
    """Tokens by alias: C-1 to C-4, and C-4 is revoked."""
    done = vault.import_(vault.write("in.csv", "number,alias", [f"1380013800{at},C-{at}" for at in range(1, 5)]))
    assert done.returncode == 0, done.stderr
    made = {row["alias"]: row["token"] for row in vault.output()}
    assert vault.run("token", "revoke", made["C-4"], "--tenant", "acme").returncode == 0
    return made


def _replace(vault, header, rows, *more):
    return vault.import_(vault.write("changed.csv", header, rows), "--replace", *more)


def _number(vault, token):
    """What a token's ciphertext opens to."""
    store = Store(vault.seeder_login)
    try:
        tenant = store.tenant("acme")
        keys = open_keys(vault.kek, tenant)
    finally:
        store.close()
    ((blob, version),) = vault.database.query(
        "SELECT ciphertext, key_version FROM shield.tokens WHERE token = %s", token
    )
    return cipher.decrypt(keys.data, bytes(blob), tenant.id, token, version)


def test_replace(vault, imported):
    """Named by alias, by token or both, tokens get their new numbers; a revoked one stays revoked; again: unchanged."""
    rows = [
        "13800138021,C-1,,north",
        f"13800138022,,{imported['C-2']},",
        f"13800138023,C-3,{imported['C-3']},",
        "13800138024,C-4,,",
    ]
    done = _replace(vault, "number,alias,token,shop", rows, "--label", "shop")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("4 rows: 4 replaced, 0 unchanged, 0 rejected")
    expected = [("C-1", "north"), ("", ""), ("C-3", ""), ("C-4", "")]
    out = vault.output()
    assert [(row["alias"], row["shop"]) for row in out] == expected
    assert [row["token"] for row in out] == [imported[f"C-{at}"] for at in range(1, 5)]
    seeder = vault.seeder()
    for at in range(1, 5):
        assert seeder.add(f"1380013802{at}", None, None) == (imported[f"C-{at}"], False)
        assert _number(vault, imported[f"C-{at}"]).reveal() == f"+861380013802{at}"
    assert seeder.add("13800138001", None, None)[0] not in imported.values()
    assert vault.database.query("SELECT status FROM shield.tokens WHERE token = %s", imported["C-4"]) == [("revoked",)]
    again = _replace(vault, "number,alias,token,shop", rows, "--label", "shop")
    assert again.stderr.startswith("4 rows: 0 replaced, 4 unchanged, 0 rejected")


def test_rejected_rows(vault, imported):
    """What cannot be replaced goes to the rejected rows with its reason and the number masked; the others go in."""
    steward = vault.database.open(vault.database.login("steward", tenants=["acme"]))
    steward.call("hold_token", "acme", imported["C-3"], None, "LIT-1", "order")
    rows = [
        "13800138002,C-1,",
        "13800138031,C-9,",
        f"13800138031,C-1,{imported['C-2']}",
        "13800138031,C-3,",
        "13800138031,,",
        "13800138031,,12345678",
        f"13800138031,,{UNKNOWN}",
        "13800138031,C-1",
        "1380,C-1,",
        "13800138031,C-2,",
        "13800138031,C-1,",
    ]
    done = _replace(vault, "number,alias,token", rows)
    assert done.returncode == 1
    assert done.stderr.startswith("11 rows: 1 replaced, 0 unchanged, 10 rejected")
    refused = vault.output("out.rejected.csv")
    assert [(row["line"], row["reason"]) for row in refused] == [
        ("2", "number.taken"), ("3", "token.unknown"), ("4", "token.unknown"), ("5", "token.held"),
        ("6", "row.unnamed"), ("7", "token.malformed"), ("8", "token.unknown"), ("9", "row.ragged"),
        ("10", "number.invalid"), ("12", "number.taken"),
    ]  # fmt: skip
    assert all(len(row["number"].lstrip("*")) <= 2 for row in refused)
    assert [row["token"] for row in vault.output()] == [imported["C-2"]]
    assert _number(vault, imported["C-1"]).reveal() == "+8613800138001"
    assert _number(vault, imported["C-3"]).reveal() == "+8613800138003"


def test_refusals(vault, imported):
    """A file that names no tokens, and an end for new tokens, are refused; nothing is changed."""
    for header, more, error in (
        ("number", (), "no column token or alias"),
        ("alias", (), "no column number"),
        ("number,alias", ("--expires-in", "3d"), "--expires-in is for new tokens"),
    ):
        done = _replace(vault, header, [], *more)
        assert (done.returncode, error in done.stderr) == (2, True), done.stderr
    assert _number(vault, imported["C-1"]).reveal() == "+8613800138001"
