"""``did add|list|remove|import`` as an administrator and an auditor run them."""

import json

import pytest


@pytest.fixture
def admin(vault):
    """The administrator's configuration."""
    vault.add_tenant("globex", "78", region="GB")
    return vault.config(vault.database.admin)


def _did(vault, config, *arguments, **more):
    return vault.run("did", *arguments, config=config, **more)


def _listed(vault, config):
    done = _did(vault, config, "list", "--format", "json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_add_list_and_remove(vault, admin):
    """A DID is one E.164 number however it was spelled; the same again changes nothing; removed it is gone."""
    add = ("add", "021-6000 1111", "--tenant", "acme", "--to", "1001", "--to", "queue:sales@acme.example")
    done = _did(vault, admin, *add)
    assert (done.returncode, done.stdout, done.stderr) == (0, "created: DID +862160001111 of acme\n", "")
    events = vault.count("audit_events")
    assert _did(vault, admin, *add).stdout.startswith("unchanged")
    assert vault.count("audit_events") == events
    done = _did(vault, admin, "add", "+862160001111", "--tenant", "acme", "--to", "1002", "--disabled")
    assert done.stdout.startswith("changed")
    (row,) = _listed(vault, admin)
    assert (row["did"], row["tenant"], row["destinations"], row["enabled"]) == (
        "+862160001111", "acme", ["1002"], False,
    )  # fmt: skip
    seeder = vault.config(vault.seeder_login)
    assert [row["did"] for row in _listed(vault, seeder)] == ["+862160001111"]
    admin = vault.config(vault.database.admin)
    assert _did(vault, admin, "remove", "02160001111", "--tenant", "acme").stdout == "removed: DID +862160001111\n"
    gone = _did(vault, admin, "remove", "02160001111", "--tenant", "acme")
    assert gone.returncode == 1
    assert "[did.unknown]" in gone.stderr
    assert _listed(vault, admin) == []


def test_a_did_is_one_tenants(vault, admin):
    """Another tenant's DID is refused until it is removed there."""
    assert _did(vault, admin, "add", "+442079460900", "--tenant", "globex", "--to", "1001").returncode == 0
    taken = _did(vault, admin, "add", "+442079460900", "--tenant", "acme", "--to", "1001")
    assert taken.returncode == 2
    assert "[did.taken]" in taken.stderr
    assert [row["tenant"] for row in _listed(vault, admin)] == ["globex"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("12", "--to", "1001"), "did.rejected"),
        (("reception", "--to", "1001"), "did.rejected"),
        (("+862160001111", "--to", "a b"), "did.rejected"),
        (("+862160001111", "--to", "queue:"), "did.rejected"),
        (("+862160001111", "--to", "1", "--to", "2", "--to", "3", "--to", "4"), "did.rejected"),
        (("+862160001111", "--to", "1001", "--masks-per-minute", "many"), "did.rejected"),
        (("+862160001111",), "Missing option"),
    ],
)
def test_what_is_no_did_is_one_sentence(vault, admin, arguments, error):
    """Bad input changes nothing and is answered with one error."""
    done = _did(vault, admin, "add", *arguments, "--tenant", "acme")
    assert done.returncode == 2
    assert error in done.stderr
    assert _listed(vault, admin) == []


def test_an_unknown_tenant_and_a_login_without_the_right(vault, admin):
    """Each says what is wrong."""
    add = ("add", "+862160001111", "--to", "1001", "--tenant")
    assert "[tenant.unknown]" in _did(vault, admin, *add, "nobody").stderr
    refused = _did(vault, vault.config(vault.seeder_login), *add, "acme")
    assert refused.returncode == 2
    assert "administrator" in refused.stderr


def test_import_is_all_or_nothing_and_idempotent(vault, admin):
    """A file is taken whole, again without a change, and with one bad line not at all."""
    rows = ["02160001111,1001 queue:sales,,", "+862160002222,1002,false,30", '"021 6000 3333",1003,true,none']
    good = vault.write("good.csv", "did,destinations,enabled,masks_per_minute", rows)
    done = _did(vault, admin, "import", str(good), "--tenant", "acme")
    assert (done.returncode, done.stdout) == (0, "3 DIDs of acme: 3 created, 0 changed, 0 unchanged\n")
    assert _did(vault, admin, "import", str(good), "--tenant", "acme").stdout.endswith("0 changed, 3 unchanged\n")
    assert [(row["did"], row["enabled"], row["masks_per_minute"]) for row in _listed(vault, admin)] == [
        ("+862160001111", True, 600), ("+862160002222", False, 30), ("+862160003333", True, None),
    ]  # fmt: skip
    for bad in ("0216000444,1001,,", "02160004444,a;b,,", "02160001111,1001", "02160004444,1001,maybe,", "+86,1,,x"):
        header = "did,destinations,enabled,masks_per_minute"
        file = vault.write("bad.csv", header, ["02160006666,1001,,", bad])
        done = _did(vault, admin, "import", str(file), "--tenant", "acme")
        assert done.returncode == 2, bad
        assert "line 3" in done.stderr, done.stderr
    twice = vault.write("twice.csv", "did,destinations", ["02160007777,1001", "+862160007777,1002"])
    assert "twice" in _did(vault, admin, "import", str(twice), "--tenant", "acme").stderr
    assert len(_listed(vault, admin)) == 3


@pytest.mark.parametrize(
    "header", ["number,destinations", "did", "did,destinations,colour", "did,did,destinations", ""]
)
def test_a_file_of_other_columns_is_refused(vault, admin, header):
    """The first row must name the columns."""
    done = _did(vault, admin, "import", str(vault.write("x.csv", header, ["1,2"])), "--tenant", "acme")
    assert done.returncode == 2
    assert "[import.bad_csv]" in done.stderr
