"""``tenant add|list`` and ``keys init|list`` as an administrator runs them."""

import json

import pytest

from esl_shield.vault.keys import open_kek


@pytest.fixture
def admin(vault):
    """The administrator's configuration."""
    return vault.config(vault.database.admin)


def _tenants(vault, config):
    done = vault.run("tenant", "list", "--format", "json", config=config)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}


def _add(vault, config, *arguments):
    return vault.run("tenant", "add", *arguments, config=config)


def test_add(vault, admin):
    """A new tenant has its shape, its keys and the usual caps; without --prefix a free one is chosen."""
    done = _add(vault, admin, "globex", "--domain", "globex.example", "--region", "US")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "created: tenant globex, tokens of 14 digits beginning with 10\n"
    globex = _tenants(vault, admin)["globex"]
    assert (globex["token_prefix"], globex["token_length"], globex["region"]) == ("10", 14, "US")
    assert (globex["token_per_day"], globex["agent_per_hour"], globex["tenant_per_day"]) == (10, 300, None)
    kinds = [
        json.loads(line) for line in vault.run("keys", "list", "--format", "json", config=admin).stdout.splitlines()
    ]
    assert {(key["purpose"], key["kek_id"]) for key in kinds if key["tenant"] == "globex"} == {
        ("data", vault.kek.id),
        ("index", vault.kek.id),
    }
    table = vault.run("tenant", "list", config=admin).stdout
    assert table.startswith("ID")
    assert "globex.example" in table


def test_add_again(vault, admin):
    """The same again changes nothing; its tokens and keys stay."""
    arguments = ("globex", "--domain", "globex.example", "--prefix", "66", "--region", "US", "--token-per-day", "3")
    assert _add(vault, admin, *arguments).stdout.startswith("created, caps set: tenant globex")
    before = vault.database.query("SELECT * FROM shield.data_keys ORDER BY 1, 2")
    events = vault.count("audit_events")
    assert _add(vault, admin, *arguments).stdout.startswith("unchanged: tenant globex")
    assert _add(vault, admin, "globex", "--domain", "globex.example", "--region", "US").returncode == 0
    assert vault.count("audit_events") == events
    done = _add(vault, admin, *arguments[:-1], "4", "--format", "json")
    assert json.loads(done.stdout) == {
        "tenant": "globex", "outcome": "caps set", "token_prefix": "66", "token_length": 14,
    }  # fmt: skip
    assert [
        tuple(map(_bytes, row)) for row in vault.database.query("SELECT * FROM shield.data_keys ORDER BY 1, 2")
    ] == [tuple(map(_bytes, row)) for row in before]
    assert _tenants(vault, admin)["globex"]["token_per_day"] == 4


def test_caps(vault, admin):
    """Caps can be given and lifted."""
    assert (
        _add(vault, admin, "a", "--domain", "a.example", "--token-per-day", "none", "--tenant-per-day", "9").returncode
        == 0
    )
    made = _tenants(vault, admin)["a"]
    assert (made["token_per_day"], made["agent_per_hour"], made["tenant_per_day"]) == (None, 300, 9)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["acme", "--domain", "other.example"], "there is one of this name"),
        (["new", "--domain", "acme.example"], "its domain is another tenant's"),
        (["new", "--domain", "new.example", "--prefix", "77"], "its prefix is another tenant's"),
        (["new", "--domain", "new.example", "--prefix", "7"], "tenant.taken"),
        (["new", "--domain", "new.example", "--prefix", "770"], "tenant.taken"),
        (["new", "--domain", "new.example", "--region", "ZZ"], "ISO 3166"),
        (["new", "--domain", "new.example", "--length", "7"], "tenant.rejected"),
        (["new", "--domain", "new.example", "--length", "21"], "tenant.rejected"),
        (["new", "--domain", "new.example", "--prefix", "12345678", "--length", "12"], "tenant.rejected"),
        (["new", "--domain", "new.example", "--prefix", "x"], "tenant.rejected"),
        (["new", "--domain", "new example"], "tenant.rejected"),
        (["new", "--domain", "new.example", "--region", "China"], "tenant.rejected"),
        (["new", "--domain", "new.example", "--token-per-day", "many"], "tenant.rejected"),
        (["a b", "--domain", "new.example"], "tenant.rejected"),
        (["13800138001", "--domain", "new.example"], "tenant.rejected"),
        (["new"], "--domain"),
    ],
)
def test_refusals(vault, admin, arguments, error):
    """A tenant that cannot be is refused in one sentence, and nothing is written."""
    done = _add(vault, admin, *arguments)
    assert done.returncode == 2
    assert error in done.stderr
    assert "Traceback" not in done.stderr
    assert "138001" not in done.stderr
    assert vault.count("tenants") == 1
    assert vault.count("data_keys") == 2


def test_resize(vault, admin):
    """A full tenant gets longer tokens; those it has stay, and the change is audited."""
    vault.add_tenant("small", "8", length=9)
    login = vault.database.login("seeder", tenants=["small"])
    old = vault.seeder("small", login).add("13800000001", None, None)[0]
    resize = ("tenant", "resize", "small", "--length", "12")
    assert vault.run(*resize, config=admin).stdout == "resized: tenant small, new tokens have 12 digits\n"
    assert vault.run(*resize, config=admin).stdout == "unchanged: tenant small, new tokens have 12 digits\n"
    seeder = vault.seeder("small", login)
    assert seeder.add("13800000001", None, None) == (old, False)
    assert len(seeder.add("13800000002", None, None)[0]) == 12
    for name, length, error in (
        ("small", "9", "only get longer"),
        ("small", "21", "8 to 20"),
        ("none", "14", "unknown"),
    ):
        done = vault.run("tenant", "resize", name, "--length", length, config=admin)
        assert done.returncode == 2
        assert error in done.stderr
    assert "database.right_missing" in vault.run("tenant", "resize", "acme", "--length", "15").stderr
    ((detail,),) = vault.database.query("SELECT detail FROM shield.audit_events WHERE kind = 'tenant.resized'")
    assert detail == {"before": 9, "after": 12}


def test_without_kek(vault):
    """Without a usable KEK no tenant is added."""
    for kek in (f"file:{vault.folder}/none", "env:NO_SUCH_KEK"):
        done = _add(vault, vault.config(vault.database.admin, kek=kek), "new", "--domain", "new.example")
        assert done.returncode == 2
        assert "keys.kek_missing" in done.stderr
    assert vault.count("tenants") == 1


def test_other_kek(vault):
    """With another KEK than the database's keys are wrapped under nothing is added."""
    other = vault.config(vault.database.admin, kek=f"file:{vault.folder}/other")
    (vault.folder / "other").write_text("ab" * 32)
    (vault.folder / "other").chmod(0o400)
    for command in (["tenant", "add", "new", "--domain", "new.example"], ["keys", "init"]):
        done = vault.run(*command, config=other)
        assert done.returncode == 2
        assert "keys.other_kek" in done.stderr
    assert vault.count("data_keys") == 2


def test_failure_after_the_tenant(vault, admin):
    """When its keys cannot be stored the tenant is not there either: it is one transaction."""
    vault.database.query("ALTER TABLE shield.data_keys ADD CHECK (tenant_id < 2)")
    assert _add(vault, admin, "new", "--domain", "new.example").returncode == 2
    assert vault.count("tenants") == 1


def test_of_another_role(vault):
    """A seeder's login cannot add a tenant or keys; it lists its own tenant only."""
    vault.add_tenant("globex", "88")
    for command in (["tenant", "add", "new", "--domain", "new.example"], ["keys", "init"]):
        done = vault.run(*command)
        assert done.returncode == 2
        assert "which takes the login of an administrator" in done.stderr
    assert list(_tenants(vault, vault.config())) == ["acme"]


def test_init(vault, admin):
    """Keys init leaves an existing KEK and existing keys as they are and adds what tenants lack."""
    vault.database.query("DELETE FROM shield.data_keys WHERE purpose = 'index'")
    before = open_kek(vault.kek_uri)
    done = vault.run("keys", "init", config=admin)
    assert done.returncode == 0, done.stderr
    assert "was there" in done.stdout
    assert "created the index key of tenant acme" in done.stdout
    assert "data key" not in done.stdout
    assert open_kek(vault.kek_uri) == before
    assert before.raw.hex() not in done.stderr + done.stdout


def test_init_of_a_new_installation(vault):
    """Keys init creates the KEK where the database holds no keys yet."""
    vault.database.query("DELETE FROM shield.data_keys")
    config = vault.config(vault.database.admin, kek=f"file:{vault.folder}/new")
    done = vault.run("keys", "init", config=config)
    assert done.returncode == 0, done.stderr
    assert (vault.folder / "new").stat().st_mode & 0o777 == 0o400
    assert done.stdout.startswith(f"created KEK {open_kek(f'file:{vault.folder}/new').id} at file:")
    again = vault.run("keys", "init", "--format", "json", config=config)
    assert json.loads(again.stdout)["kek_created"] is False
    assert vault.count("data_keys") == 2


def test_init_with_the_kek_lost(vault):
    """Keys init never makes up for a lost KEK with a new one."""
    config = vault.config(vault.database.admin, kek=f"file:{vault.folder}/lost")
    done = vault.run("keys", "init", config=config)
    assert done.returncode == 2
    assert "keys.kek_lost" in done.stderr
    assert vault.kek.id in done.stderr
    assert not (vault.folder / "lost").exists()


def _bytes(value):
    return bytes(value) if isinstance(value, memoryview) else value
