"""``token hold|release|restore|erase|caps|certificate``, ``tenant caps|mask`` and ``mask`` as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from click.testing import CliRunner

from esl_shield.cli.main import root
from esl_shield.errors import ShieldError
from esl_shield.vault import tokens

CASE = ("--tenant", "acme", "--case", "C-1", "--reason", "asked for it")
UNKNOWN = "7700000000001" + tokens.damm_digit("7700000000001")


class Desk:
    """Commands in this process, each with its role's configuration; what a ShieldError ends with is its exit code."""

    def __init__(self, lab):
        self.lab = lab
        self.key = f"file:{lab.folder}/erasure.key"
        self._configs = {}

    def config(self, role):
        if role not in self._configs:
            login = self.lab.database.admin if role == "admin" else self.lab.database.login(role, tenants=["acme"])
            path = self.lab.folder / f"{role}.toml"
            path.write_text(
                f'[database]\nurl = "{login.url}"\nconnect_timeout_s = 5\n[keys]\nkek = "{self.lab.kek_uri}"\n'
                f'[erasure]\nkey = "{self.key}"\n'
            )
            path.chmod(0o600)
            self._configs[role] = str(path)
        return self._configs[role]

    def __call__(self, role, *arguments, stdin=None):
        """Run; answers (exit code, stdout, what went to stderr and the error's sentence)."""
        made = CliRunner().invoke(root, ["--config", self.config(role), *arguments], input=stdin, standalone_mode=False)
        if isinstance(made.exception, ShieldError):
            return made.exception.exit_code, made.stdout, made.stderr + str(made.exception)
        if made.exception is not None:
            return getattr(made.exception, "exit_code", 99), made.stdout, made.stderr + str(made.exception)
        return made.return_value or 0, made.stdout, made.stderr


@pytest.fixture
def desk(vault):
    return Desk(vault)


@pytest.fixture
def token(vault):
    """A token with the alias C-1042."""
    return vault.seeder().add("13800138042", "C-1042", None)[0]


def test_a_legal_case(desk, token):
    """Held, a token is not erased and the refusal names the case; released, it is, and the certificate verifies."""
    assert desk("steward", "token", "hold", "--alias", "C-1042", *CASE)[1] == f"held token {token} for case C-1\n"
    assert desk("steward", "token", "hold", token, *CASE)[1] == f"case C-1 holds token {token} already\n"
    code, out, error = desk("eraser", "token", "erase", token, *CASE, "--yes")
    assert (code, out.splitlines()[1].split()) == (1, ["0", token, "held", "-", "-"])
    assert "a legal hold stands (case C-1)" in error
    listed = json.loads(desk("eraser", "token", "holds", "--tenant", "acme", "--format", "json")[1])
    assert (listed["token"], listed["case_id"], listed["released_at"]) == (token, "C-1", None)
    assert desk("steward", "token", "release", token, *CASE)[1] == (
        f"released token {token} for case C-1; no other holds on it\n"
    )
    code, _, error = desk("steward", "token", "release", token, *CASE)
    assert code == 1
    assert "hold.unknown" in error
    assert desk("auditor", "token", "holds", "--tenant", "acme", "--format", "json")[1] == ""
    assert desk("auditor", "token", "holds", "--tenant", "acme", "--all", "--format", "json")[1]

    code, public, _ = desk("eraser", "token", "certificate", "init")
    assert (code, public.splitlines()[0]) == (0, "-----BEGIN PUBLIC KEY-----")
    pem, proof = desk.lab.folder / "public.pem", desk.lab.folder / "proof.json"
    pem.write_text(public)
    code, out, _ = desk(
        "eraser", "token", "erase", token, *CASE, "--yes", "--certificate", str(proof), "--format", "json"
    )
    assert (code, json.loads(out)["outcome"]) == (0, "erased")
    assert proof.stat().st_mode & 0o777 == 0o600
    for arguments in (["--key", str(pem)], []):
        code, out, _ = desk("eraser", "token", "certificate", "verify", str(proof), *arguments)
        assert (code, out.startswith("valid: signed by key ")) == (0, True)
    proof.write_text(proof.read_text().replace(token, UNKNOWN))
    code, out, error = desk("auditor", "token", "certificate", "verify", str(proof), "--key", str(pem))
    assert (code, out) == (1, "")
    assert "certificate.false" in error


def test_again(desk, token):
    """An erasure again says when it was, and gives the certificate that was not written the first time."""
    desk("eraser", "token", "certificate", "init")
    first = json.loads(desk("eraser", "token", "erase", token, *CASE, "--yes", "--format", "json")[1])
    proof = desk.lab.folder / "late.json"
    again = ("token", "erase", token, *CASE, "--yes", "--format", "json", "--certificate", str(proof))
    code, out, _ = desk("eraser", *again)
    assert (code, json.loads(out)) == (0, {**first, "outcome": "already"})
    assert json.loads(proof.read_text())["erasures"][0]["erasure"] == first["erasure"]
    code, _, error = desk("eraser", *again)
    assert code == 2
    assert "import.bad_output" in error


def test_a_list(desk, vault):
    """A list is erased in order, its certificate holds what was; what was held or unknown makes it end with 1."""
    desk("eraser", "token", "certificate", "init")
    made = [vault.seeder().add(f"138001380{at:02d}", f"C-{at}", None)[0] for at in range(4)]
    desk("steward", "token", "hold", made[1], *CASE)
    rows = f"alias,token,why\nC-0,,x\n,{made[1]},x\nC-2,{made[2]},x\nC-3,{made[2]},x\n,{UNKNOWN},x\n"
    proof = vault.folder / "list.json"
    arguments = ("token", "erase", "--file", "-", *CASE, "--yes", "--certificate", str(proof), "--format", "json")
    done = vault.run(*arguments, stdin=rows.encode(), config=desk.config("eraser"))
    code, out, error = done.returncode, done.stdout, done.stderr
    shown = [json.loads(line) for line in out.splitlines()]
    assert [(row["line"], row["outcome"]) for row in shown] == [
        (2, "erased"), (3, "held"), (4, "erased"), (5, "unknown"), (6, "unknown"),
    ]  # fmt: skip
    assert (code, error) == (1, "2 erased, 0 already, 1 held, 2 unknown\n")
    assert [entry["token"] for entry in json.loads(proof.read_text())["erasures"]] == [made[0], made[2]]
    assert vault.count("tokens") == 2


def test_a_reader_who_leaves_stops_no_erasure(desk, vault):
    """With nobody reading what it prints the whole list is erased and certified."""
    desk("eraser", "token", "certificate", "init")
    made = [vault.seeder().add(f"138001380{at:02d}", None, None)[0] for at in range(3)]
    list_ = vault.write("list.csv", "token", made)
    proof = vault.folder / "proof.json"
    read, write = os.pipe()
    os.close(read)
    arguments = ("token", "erase", "--file", str(list_), *CASE, "--yes", "--certificate", str(proof))
    command = vault.command(*arguments, config=desk.config("eraser"))
    with os.fdopen(write, "wb") as stdout:
        subprocess.run(command, stdout=stdout, env=vault.environment(), cwd=vault.folder, timeout=60, check=False)
    assert vault.count("tokens") == 0
    assert [entry["token"] for entry in json.loads(proof.read_text())["erasures"]] == made


NUMBER = "13800138042"
REFUSALS = [
    ("eraser", ["erase", *CASE], 2, "give a TOKEN or --alias"),
    ("eraser", ["erase", UNKNOWN, "--alias", "C-1", *CASE, "--yes"], 2, "give a TOKEN or --alias"),
    ("eraser", ["erase", UNKNOWN, "--file", "x.csv", *CASE, "--yes"], 2, "give a TOKEN, --alias or --file"),
    ("eraser", ["erase", UNKNOWN, *CASE], 2, "give --yes"),
    ("eraser", ["erase", UNKNOWN, *CASE, "--yes"], 1, "token.unknown"),
    ("eraser", ["erase", "--alias", "C-9", *CASE, "--yes"], 1, "token.unknown"),
    ("eraser", ["erase", UNKNOWN, "--tenant", "nobody", *CASE[2:], "--yes"], 2, "tenant.unknown"),
    ("eraser", ["erase", UNKNOWN, "--tenant", "acme", "--reason", "x", "--yes"], 2, ""),
    ("eraser", ["erase", UNKNOWN, "--tenant", "acme", "--case", " ", "--reason", "x", "--yes"], 2, "case.rejected"),
    ("eraser", ["erase", UNKNOWN, "--tenant", "acme", "--case", "C", "--reason", "a\nb", "--yes"], 2, "case.rejected"),
    (
        "eraser",
        ["erase", UNKNOWN, "--tenant", "acme", "--case", "C", "--reason", "x" * 301, "--yes"],
        2,
        "case.rejected",
    ),
    ("eraser", ["erase", UNKNOWN, "--tenant", "acme", "--case", NUMBER, "--reason", "x"], 2, "number.in_argument"),
    ("eraser", ["erase", UNKNOWN, "--tenant", "acme", "--case", "C", "--reason", NUMBER], 2, "number.in_argument"),
    ("eraser", ["erase", NUMBER, *CASE, "--yes"], 2, "number.in_argument"),
    ("eraser", ["erase", "--alias", NUMBER, *CASE, "--yes"], 2, "number.in_argument"),
    ("eraser", ["erase", UNKNOWN, *CASE, "--yes", "--certificate", "c.json"], 2, "certificate.key_unusable"),
    ("eraser", ["erase", "--file", "none.csv", *CASE, "--yes"], 2, "import.bad_csv"),
    ("eraser", ["hold", UNKNOWN, *CASE], 2, "a steward"),
    ("eraser", ["release", UNKNOWN, *CASE], 2, "a steward"),
    ("eraser", ["caps", UNKNOWN, "--tenant", "acme", "--per-day", "1"], 2, "a steward"),
    ("eraser", ["show", UNKNOWN, "--tenant", "acme"], 2, "a seeder"),
    ("steward", ["erase", UNKNOWN, *CASE, "--yes"], 2, "an eraser"),
    ("seeder", ["erase", UNKNOWN, *CASE, "--yes"], 2, "an eraser"),
    ("seeder", ["restore", UNKNOWN, *CASE], 2, "a steward"),
    ("steward", ["hold", UNKNOWN, *CASE], 1, "token.unknown"),
    ("steward", ["hold", NUMBER, *CASE], 2, "number.in_argument"),
    ("steward", ["hold", *CASE], 2, "give a TOKEN or --alias"),
    ("steward", ["release", UNKNOWN, *CASE], 1, "token.unknown"),
    ("steward", ["restore", UNKNOWN, *CASE], 1, "token.unknown"),
    ("steward", ["restore", "7700", *CASE], 2, "token.malformed"),
    ("steward", ["caps", UNKNOWN, "--tenant", "acme"], 1, "token.unknown"),
    ("steward", ["caps", UNKNOWN, "--tenant", "acme", "--per-day", "1"], 1, "token.unknown"),
    ("steward", ["caps", UNKNOWN, "--tenant", "acme", "--per-day", "-1"], 2, "cap.rejected"),
    ("steward", ["caps", UNKNOWN, "--tenant", "acme", "--per-day", "9999999999"], 2, "cap.rejected"),
    ("steward", ["holds", "--tenant", "nobody"], 2, "tenant.unknown"),
    ("seeder", ["holds", "--tenant", "acme"], 2, "a steward, an eraser or an auditor"),
    ("auditor", ["certificate", "verify", "none.json"], 2, "certificate.key_unusable"),
    ("auditor", ["certificate", "verify", "none.json", "--key", "none.pem"], 2, "certificate.unreadable"),
]


def test_refusals(desk):
    """What cannot be done ends with one sentence and the contract's code, and repeats no number."""
    for role, arguments, code, error in REFUSALS:
        got, _, said = desk(role, "token", *arguments)
        assert (got, error in said) == (code, True), (arguments, got, said)
        assert "38042" not in said


BAD_LISTS = [
    ("", "its first row"),
    ("number\n13800138042\n", "its first row"),
    ("token,token\n", "once"),
    ("token\n", "names no token"),
    ("token\n13800138042\n", "line 2 has no token of this tenant"),
    (f"token\nTOKEN\n{UNKNOWN[:-1]}{(int(UNKNOWN[-1]) + 1) % 10}\n", "line 3 has no token"),
    ("alias\n13800138042\n", "line 2 has no alias"),
    ("alias\na b\n", "line 2 has no alias"),
    ("token,alias\nTOKEN\n", "line 2 has more or fewer cells"),
    ("token,alias\nTOKEN,\n,\n", "line 3 names no token"),
]


def test_bad_lists(desk, token):
    """A list with one bad line is refused whole, before anything is erased, without what stands there."""
    list_ = desk.lab.folder / "list.csv"
    for rows, problem in BAD_LISTS:
        list_.write_text(rows.replace("TOKEN", token))
        code, out, said = desk("eraser", "token", "erase", "--file", str(list_), *CASE, "--yes")
        assert (code, out, problem in said) == (2, "", True), (rows, said)
        assert "38042" not in said
    assert desk.lab.count("erasures") == 0


def test_restore(desk, token):
    """A revoked token is restored by a steward; a token that is not revoked stays as it is."""
    desk("seeder", "token", "revoke", token, "--tenant", "acme")
    assert desk("steward", "token", "restore", token, *CASE)[1] == f"restored token {token}\n"
    assert desk("steward", "token", "restore", token, *CASE)[1] == f"token {token} is not revoked\n"
    assert desk.lab.database.query("SELECT status FROM shield.tokens") == [("active",)]


def test_token_caps(desk, token):
    """A token's cap is shown, set, taken off and given back to its tenant's."""
    shown = []
    for per_day in (None, "30", "none", "tenant"):
        more = [] if per_day is None else ["--per-day", per_day]
        code, out, _ = desk("steward", "token", "caps", token, "--tenant", "acme", *more, "--format", "json")
        assert code == 0
        made = json.loads(out)
        shown.append((made["per_day"], made["own_per_day"], made["tenant_per_day"], made["used"]))
    assert shown == [(10, None, 10, 0), (30, 30, 10, 0), (None, "none", 10, 0), (10, None, 10, 0)]
    assert "per_day         10" in desk("auditor", "token", "caps", token, "--tenant", "acme")[1]


def test_tenant_caps(desk):
    """Caps that are given change, the others stay; who may not is told who may."""
    shown = json.loads(desk("auditor", "tenant", "caps", "acme", "--format", "json")[1])
    assert shown == {
        "tenant": "acme", "token_per_day": 10, "agent_per_hour": 300, "tenant_per_day": None, "calls_today": 0,
    }  # fmt: skip
    changed = desk(
        "admin", "tenant", "caps", "acme", "--agent-per-hour", "none", "--tenant-per-day", "7", "--format", "json"
    )
    assert json.loads(changed[1]) == {**shown, "agent_per_hour": None, "tenant_per_day": 7}
    assert "agent_per_hour  none" in desk("steward", "tenant", "caps", "acme")[1]
    for role, arguments, code, error in (
        ("auditor", ("acme", "--tenant-per-day", "1"), 2, "an administrator"),
        ("admin", ("nobody", "--tenant-per-day", "1"), 2, "tenant.unknown"),
        ("admin", ("nobody",), 2, "tenant.unknown"),
        ("admin", ("acme", "--tenant-per-day", "many"), 2, "cap.rejected"),
    ):
        got, _, said = desk(role, "tenant", "caps", *arguments)
        assert (got, error in said) == (code, True), said


def test_labels_are_shown_as_the_tenant_says(desk, vault):
    """A label is hidden until an administrator says how it is shown."""
    vault.import_(
        vault.write("in.csv", "number,name,city", ["13800138042,张三丰,Bath"]), "--label", "name", "--label", "city"
    )
    made = vault.output()[0]["token"]

    def labels():
        return json.loads(desk("seeder", "token", "show", made, "--tenant", "acme", "--format", "json")[1])["labels"]

    assert labels() == {"name": "***", "city": "***"}
    said = desk("admin", "tenant", "mask", "acme", "--label", "name", "--as", "name")
    assert said[1] == "set: label name of acme is shown as name\n"
    desk("admin", "tenant", "mask", "acme", "--label", "city", "--as", "keep 1 0")
    assert labels() == {"name": "张**", "city": "***"}
    desk("admin", "tenant", "mask", "acme", "--label", "city", "--as", "clear")
    assert labels() == {"name": "张**", "city": "Bath"}
    assert desk("seeder", "tenant", "mask", "acme")[1].split() == ["LABEL", "PATTERN", "city", "clear", "name", "name"]
    desk("admin", "tenant", "mask", "acme", "--label", "city", "--as", "hidden")
    assert labels() == {"name": "张**", "city": "***"}
    for role, arguments, error in (
        ("seeder", ("acme", "--label", "city", "--as", "clear"), "an administrator"),
        ("admin", ("acme", "--label", "city"), "give --label with --as"),
        ("admin", ("acme", "--label", "city", "--as", ".*"), "mask.rejected"),
        ("admin", ("acme", "--label", "number", "--as", "clear"), "label.rejected"),
        ("admin", ("nobody", "--label", "city", "--as", "clear"), "tenant.unknown"),
        ("admin", ("nobody",), "tenant.unknown"),
    ):
        code, _, told = desk(role, "tenant", "mask", *arguments)
        assert (code, error in told) == (2, True), told


def test_mask():
    """Lines of standard input are masked one by one, without any configuration."""
    lines = "13800138001\n１３８00138001\r\n" + "1" * 20_000 + "\n123456"

    def run(*arguments, stdin=None):
        given = lines.encode() if stdin is None else stdin
        return CliRunner().invoke(root, ["mask", *arguments], input=given, standalone_mode=False)

    assert run("--kind", "phone").stdout.splitlines() == ["*********01", "***", "***", "****56"]
    assert run("--kind", "name", stdin=b"\xff\n\xe5\xbc\xa0\xe4\xb8\x89").stdout == "***\n张**\n"
    assert json.loads(run("--kind", "keep 1 1", "--format", "json", stdin=b"contract-77").stdout) == {"masked": "c***7"}
    assert run("--kind", "phone", stdin=b"").stdout == ""
    assert "mask.rejected" in str(run("--kind", "[0-9]+").exception)
    assert run("13800138001", "--kind", "phone").exception.error_id == "number.in_argument"
