"""Tokens of an ff1 prefix from the command that computes them to the number at the edge, without a row for any."""

from __future__ import annotations

import csv
import json
import secrets

import pytest
from click.testing import CliRunner
from permissions import grant
from resolver_process import NUMBERS, REFUSED

from esl_shield.cli.main import root
from esl_shield.errors.methods import PermissionsNotRequired, PrefixTaken, PrefixUnknown
from esl_shield.vault import keylife, tokens
from esl_shield.vault.keks import Keks
from esl_shield.vault.keys import Kek

CUSTOMERS = ["+8613800138777", "+8613900139555", "+8615000150444"]
LANDLINE = NUMBERS["fixed"]


class Console:
    """Commands of ours as one role, in this process."""

    def __init__(self, folder, vault, **logins) -> None:
        self._folder = folder
        self._vault = vault
        self._logins = logins
        self.said = ""

    def run(self, role: str, *arguments: str):
        config = self._folder / f"{role}-{secrets.token_hex(4)}.toml"
        config.write_text(
            f'[database]\nurl = "{self._logins[role].url}"\n[keys]\nkek = "file:{self._vault.kek_file}"\n'
        )
        config.chmod(0o600)
        result = CliRunner().invoke(root, ["--config", str(config), *arguments], standalone_mode=False)
        self.said += result.output
        if result.exception is not None:
            raise result.exception
        return result

    def add(self, prefix: str, *options: str) -> dict:
        """Add an ff1 prefix."""
        words = (
            "tenant",
            "prefix",
            "add",
            "--tenant",
            "bank",
            "--prefix",
            prefix,
            "--method",
            "ff1",
            "--country",
            "CN",
        )
        return json.loads(self.run("admin", *words, *options, "--format", "json").stdout)


@pytest.fixture(scope="module")
def console(database, vault, tmp_path_factory):
    return Console(
        tmp_path_factory.mktemp("console"), vault, admin=database.admin, seeder=database.login("seeder"),
        steward=database.login("steward"), auditor=database.login("auditor"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def computed(console, vault, tmp_path_factory):
    """Tokens of CUSTOMERS under prefix 81, by number; the tenant requires permissions from now on."""
    with pytest.raises(PermissionsNotRequired):
        console.add("81")
    vault.one("UPDATE shield.tenants SET requires_permission = true WHERE id = %s", vault.tenant_id)
    assert console.add("81") == {
        "tenant": "bank", "prefix": "81", "method": "ff1", "key_version": 1, "outcome": "added",
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("files")
    return compute(console, folder, "81", CUSTOMERS)


def compute(console, folder, prefix, numbers):
    source, target = folder / "in.csv", folder / "out.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([("number", "alias"), *((number, f"C-{at}") for at, number in enumerate(numbers))])
    console.run(
        "seeder", "token", "compute", str(source), "--tenant", "bank", "--prefix", prefix, "--output", str(target)
    )
    with target.open(newline="") as file:
        return {numbers[int(row["alias"][2:])]: row["token"] for row in csv.DictReader(file)}


def permit_for(vault, token):
    """A permit for a token that may be dialled."""
    grant(vault.one, vault.tenant, token)
    return vault.permit(token)


def count(vault):
    return vault.one("SELECT count(*) FROM shield.rowless_tokens"), vault.one("SELECT count(*) FROM shield.tokens")


def test_a_computed_token_reaches_its_customer(resolver, vault, computed):
    """Call, permit and audit events are those of a stored token, the edge gets the number, and no row is made."""
    before = count(vault)
    for number, token in computed.items():
        assert tokens.valid_for(token, "81", 20)
        permit = permit_for(vault, token)
        assert resolver.edge(permit).body == number
        assert vault.audit(permit.call) == [("call.authorized", None), ("permit.redeemed", None)]
        assert vault.one("SELECT token FROM shield.calls WHERE id = %s", permit.call) == token
    assert count(vault) == before
    assert resolver.metric('esl_shield_resolver_method_attempts_total{method="ff1",outcome="number"}') >= len(computed)


def test_a_token_that_stands_for_nobody_is_refused_like_a_permit(resolver, vault, computed):
    """A guess with the right prefix, length and check digit is 404 as a used permit is; the reason is audited."""
    permit = permit_for(vault, tokens.draw("81", 20))
    assert resolver.edge(permit).raw == REFUSED
    assert vault.audit(permit.call)[1:] == [("permit.redeemed", None), ("permit.refused_number", "token_nobody")]


@pytest.mark.parametrize(
    "token", [tokens.draw("81", 19), tokens.draw("83", 20), "81" + "0" * 18], ids=["short", "no prefix", "check digit"]
)
def test_what_is_no_token_of_a_prefix_is_not_called(resolver, vault, computed, token):
    """Another length or prefix is unknown to the database; a wrong check digit is refused where it is decrypted."""
    try:
        permit = permit_for(vault, token)
    except AssertionError:
        assert vault.one(
            "SELECT detail->>'reason' FROM shield.audit_events WHERE kind = 'call.refused' ORDER BY id DESC LIMIT 1"
        ) == "token_unknown"  # fmt: skip
    else:
        assert resolver.edge(permit).raw == REFUSED


def test_revocation_expiry_and_caps_need_no_row_before(resolver, vault, console, computed, tmp_path):
    """A token without a row is revoked, ends and is capped by the commands for stored ones, also with a permit out."""
    token, other = compute(console, tmp_path, "81", ["+8613900139777", "+8615000150777"]).values()
    late = permit_for(vault, token)
    console.run("seeder", "token", "revoke", token, "--tenant", "bank")
    assert resolver.edge(late).raw == REFUSED
    assert vault.audit(late.call)[1] == ("permit.refused", "token_over")
    with pytest.raises(AssertionError):
        permit_for(vault, token)
    console.run("seeder", "token", "expire", other, "--tenant", "bank", "--at", "now")
    with pytest.raises(AssertionError):
        permit_for(vault, other)
    console.run("seeder", "token", "expire", other, "--tenant", "bank", "--at", "never")
    console.run("steward", "token", "caps", other, "--tenant", "bank", "--per-day", "1")
    assert resolver.edge(permit_for(vault, other)).status == 200
    with pytest.raises(AssertionError):
        permit_for(vault, other)
    reasons = "SELECT array_agg(DISTINCT detail->>'reason') FROM shield.audit_events WHERE kind = 'call.refused' AND token = ANY (%s)"  # noqa: E501
    assert set(vault.one(reasons, [token, other])) == {"token_revoked", "token_expired", "token_cap"}
    assert console.run("seeder", "token", "show", token, "--tenant", "bank").exit_code == 0


def test_a_new_key_is_a_new_prefix_and_the_old_one_serves_until_retired(resolver, vault, console, computed, tmp_path):
    """Tokens of two prefixes are of two keys; a removed prefix's are unknown at once and it never comes back."""
    version = console.add("84")["key_version"]
    assert version > 1
    assert console.add("84")["outcome"] == "unchanged"
    number = CUSTOMERS[0]
    (tmp_path / "new").mkdir()
    new = compute(console, tmp_path / "new", "84", [number])[number]
    assert new[2:-1] != computed[number][2:-1]
    assert [resolver.edge(permit_for(vault, token)).body for token in (computed[number], new)] == [number, number]
    late = permit_for(vault, new)
    console.run("admin", "tenant", "prefix", "remove", "--tenant", "bank", "--prefix", "84")
    assert resolver.edge(late).raw == REFUSED
    with pytest.raises(AssertionError):
        permit_for(vault, new)
    missing = "SELECT array_agg(version) FROM shield_api.missing_method_keys(ARRAY[%s, %s], ARRAY[1, %s])"
    assert vault.one(missing, vault.tenant_id, vault.tenant_id, version) == [version]  # what resolvers forget
    with pytest.raises(PrefixUnknown):
        console.run("admin", "tenant", "prefix", "remove", "--tenant", "bank", "--prefix", "99")
    with pytest.raises(PrefixTaken, match="retired"):
        console.add("84")
    with pytest.raises(PrefixUnknown):
        compute(console, tmp_path / "new", "84", [number])
    rows = console.run(
        "auditor", "tenant", "prefix", "list", "--tenant", "bank", "--format", "json"
    ).stdout.splitlines()
    shown = {row["prefix"]: (row["method"], row["retired_at"] is None) for row in map(json.loads, rows)}
    assert shown.items() >= {"7": ("stored", True), "81": ("ff1", True), "84": ("ff1", False)}.items()


@pytest.mark.parametrize(
    "prefix", ["7", "75", "8", "812"], ids=["own", "begins with own", "begins one", "begins with one"]
)
def test_no_prefix_begins_anothers(console, computed, prefix):
    """A prefix that could make a token of two meanings is refused."""
    with pytest.raises(PrefixTaken):
        console.add(prefix)


def test_the_crms_own_key(console, vault, resolver, computed, tmp_path):
    """A key the CRM brought makes the tokens that docs/methods.md computes, and is shown by nothing."""
    key = tmp_path / "key"
    key.write_text(bytes(range(32)).hex() + "\n")
    key.chmod(0o400)
    console.add("86", "--key-file", str(key))
    number = "+8613800138001"
    token = compute(console, tmp_path, "86", [number])[number]
    assert resolver.edge(permit_for(vault, token)).body == number
    with pytest.raises(PrefixTaken):
        console.add("86", "--key-file", str(key))
    assert bytes(range(32)).hex() not in console.said


def test_its_key_follows_the_kek_and_is_not_destroyed(console, vault, computed, database, tmp_path):
    """`keys rewrap` takes ff1 keys along, and one that a prefix uses is never destroyed."""
    new = Kek.new()
    moved = [key.purpose for key, _ in keylife.rewrap(database.admin, Keks(new, [vault.kek]))]
    back = [key.purpose for key, _ in keylife.rewrap(database.admin, Keks(vault.kek, [new]))]
    assert sorted(moved) == sorted(back)
    assert "ff1" in moved
    assert compute(console, tmp_path, "81", CUSTOMERS) == computed
    verdict = "SELECT verdict FROM shield_api.destroy_key(%s, 'ff1', 1, 'gone')"
    assert vault.one(verdict, vault.tenant_id) == "LIVE"


def test_numbers_a_prefix_does_not_allow_are_rejected_in_the_file(console, vault, computed, tmp_path):
    """A landline gets no token; its row is in the rejected file, masked, and the command ends with 1."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(f"number\n{LANDLINE}\n{CUSTOMERS[0]}\n")
    words = ("token", "compute", str(source), "--tenant", "bank", "--prefix", "81", "--output", str(target))
    result = console.run("seeder", *words)
    assert result.return_value == 1
    rejected = (tmp_path / "out.rejected.csv").read_text()
    assert "number.not_allowed" in rejected
    assert LANDLINE[3:] not in rejected
    assert target.read_text().splitlines()[1:] == ["," + computed[CUSTOMERS[0]]]


def test_without_permissions_no_token_without_a_row_is_called(vault, computed):
    """A tenant that stops requiring permissions stops calling such tokens."""
    vault.one("UPDATE shield.tenants SET requires_permission = false WHERE id = %s", vault.tenant_id)
    try:
        with pytest.raises(AssertionError):
            permit_for(vault, computed[CUSTOMERS[0]])
    finally:
        vault.one("UPDATE shield.tenants SET requires_permission = true WHERE id = %s", vault.tenant_id)


def test_nothing_said_holds_a_number(console, computed, vault):
    """Neither commands nor audit events nor calls hold a customer's number or the tokens' key."""
    permit_for(vault, computed[CUSTOMERS[0]])
    written = console.said + vault.one("SELECT string_agg(e::text, '') FROM shield.audit_events e")
    written += vault.one("SELECT string_agg(c::text, '') FROM shield.calls c")
    assert [number for number in [*CUSTOMERS, LANDLINE] if number[1:] in written or number[3:] in written] == []
