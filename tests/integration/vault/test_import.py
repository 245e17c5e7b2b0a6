"""``token import`` against a real database: what goes in, what comes out, what is refused."""

import re
import stat
import time

import key_lab
import pytest

from esl_shield.vault import cipher, tokens
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.seedkeys import open_keys


def _numbers(count, first=0):
    return [f"138{at + first:08d}" for at in range(count)]


def test_tokens_come_out(vault):
    """Every accepted row has one line in the file's order: alias, token, labels."""
    file = vault.write(
        "in.csv",
        "note,City,number,alias",
        ["n,北京,13800000001,C-1", "n,,+86 138 0000 0002,", "n,=1+1,13800000001,C-3"],
    )
    done = vault.import_(file, "--label", "City")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "3 rows: 2 new tokens, 1 known, 0 rejected" in done.stderr
    text = (vault.folder / "out.csv").read_text(encoding="utf-8")
    assert text.startswith("alias,token,City\n")
    rows = vault.output()
    assert [(row["alias"], row["City"]) for row in rows] == [("C-1", "北京"), ("", ""), ("C-3", "'=1+1")]
    assert all(tokens.valid_for(row["token"], "77", 14) for row in rows)
    assert rows[0]["token"] == rows[2]["token"] != rows[1]["token"]
    assert stat.S_IMODE((vault.folder / "out.csv").stat().st_mode) == 0o600
    assert not (vault.folder / "out.rejected.csv").exists()


def test_what_is_kept(vault):
    """The database keeps ciphertext that opens for this token only, what was derived, and the labels asked for."""
    file = vault.write("in.csv", "number,expires_at,city,note", ["13800000001,2099-01-01T00:00:00+08:00,=B,dropped"])
    assert vault.import_(file, "--label", "city").returncode == 0
    ((tenant_id, token, blob, version, expires_at, country, zone, line, labels),) = vault.database.query(
        "SELECT tenant_id, token, ciphertext, key_version, expires_at, country, time_zone, line_type, labels"
        " FROM shield.tokens"
    )
    seeder = vault.seeder()
    keys = open_keys(vault.kek, seeder.tenant)
    assert cipher.decrypt(keys.data, blob, tenant_id, token, version) == SubscriberNumber("+8613800000001")
    assert expires_at.isoformat() == "2098-12-31T16:00:00+00:00"
    assert (country, zone, line, labels) == ("CN", "Asia/Shanghai", "mobile", {"city": "=B"})


def test_again(vault):
    """The same file again gives the same output and changes nothing."""
    file = vault.write("in.csv", "number,alias", [f"{n},C-{n[-4:]}" for n in _numbers(50)])
    assert vault.import_(file).returncode == 0
    first = (vault.folder / "out.csv").read_bytes()
    done = vault.import_(file)
    assert "50 rows: 0 new tokens, 50 known" in done.stderr
    assert (vault.folder / "out.csv").read_bytes() == first
    assert (vault.count("tokens"), vault.count("number_refs"), vault.count("aliases")) == (50, 50, 50)


def _seeded(vault):
    details = vault.database.query("SELECT detail FROM shield.audit_events WHERE kind = 'tokens.seeded' ORDER BY id")
    return [(detail["created"], detail["existing"]) for (detail,) in details]


def test_known_numbers_are_found_and_the_rest_seeded_at_once(vault, monkeypatch):
    """A number known in a batch costs the others nothing, and every row has its own number's token."""
    monkeypatch.setattr("esl_shield.vault.seeder.PART_ROWS", 3)
    seeding = vault.seeder()
    ((known, _),) = seeding.seed(seeding.prepare(key_lab.rows([4])))
    outcomes = seeding.seed(seeding.prepare(key_lab.rows(range(8))))
    assert [outcome.created for outcome in outcomes] == [True] * 4 + [False] + [True] * 3
    assert outcomes[4].token == known
    assert seeding.seed(seeding.prepare(key_lab.rows(range(8)))) == [
        outcome._replace(created=False) for outcome in outcomes
    ]
    assert _seeded(vault) == [(1, 0), (0, 1), (7, 0), (0, 8)]
    assert all(outcome.created for outcome in seeding.seed(seeding.prepare(key_lab.rows(range(10, 18)))))
    assert _seeded(vault)[4:] == [(0, 0), (8, 0)]


NAMES = {
    "as before": (["A-0", "A-1", "A-2", "A-3", None], [0, 1, 2, 3, 4]),
    "none": ([None] * 5, [0, 1, 2, 3, 4]),
    "another's": (["A-1", "A-0", "A-2", "A-3", "A-3"], [2, 3]),
    "one more": (["B-0", "A-1", "A-2", "A-3", "B-4"], [0, 1, 2, 3, 4]),
    "one more, twice": (["B-0", "B-0", "A-2", "A-3", None], [0, 2, 3, 4]),
    "a new row's": (["A-0", "A-1", "N-7", "N-8", None], [0, 1, 2, 3, 4]),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part_rows", [3, 100])
def test_known_numbers_with_other_aliases(vault, monkeypatch, name, part_rows):
    """Rows found and rows looked at one by one become the same: an alias of nobody is added, another's refused."""
    monkeypatch.setattr("esl_shield.vault.seeder.PART_ROWS", part_rows)
    seeding = vault.seeder()
    first = [row._replace(alias=f"A-{at}" if at < 4 else None) for at, row in enumerate(key_lab.rows(range(5)))]
    tokens = [outcome.token for outcome in seeding.seed(seeding.prepare(first))]
    aliases, taken = NAMES[name]
    known = [row._replace(alias=alias) for row, alias in zip(first, aliases, strict=True)]
    new = [row._replace(alias=f"N-{at}") for at, row in enumerate(key_lab.rows(range(5, 10)), 5)]
    outcomes = seeding.seed(seeding.prepare(known + new))
    assert [at for at, outcome in enumerate(outcomes[:5]) if outcome.token == tokens[at]] == taken
    assert [outcome.created for outcome in outcomes[:5]] == [False] * 5
    lost = {alias for at, alias in enumerate(aliases) if at in taken} & {"N-7", "N-8"}
    assert [outcome.created for outcome in outcomes[5:]] == [f"N-{at}" not in lost for at in range(5, 10)]
    sure = {row.alias: outcome.token for row, outcome in zip(known + new, outcomes, strict=True) if outcome.token}
    sure.pop(None, None)
    found = dict(vault.database.query("SELECT alias, token FROM shield.aliases"))
    assert found == {f"A-{at}": tokens[at] for at in range(4)} | sure


@pytest.mark.parametrize("aliases", [(None, "X"), ("A", None)], ids=["one number twice", "its alias for another too"])
def test_an_erasure_after_the_look_up_divides_nothing(vault, monkeypatch, aliases):
    """Rows of one number, or of one alias, become of one token though the number they were found by is erased."""
    monkeypatch.setattr("esl_shield.vault.seeder.PART_ROWS", 3)
    seeding = vault.seeder()
    (known,) = [row._replace(alias="A") for row in key_lab.rows([0])]
    ((token, _),) = seeding.seed(seeding.prepare([known]))
    new = key_lab.rows(range(1, 5))
    if aliases[1]:
        rows = [known._replace(alias=None), *new, known._replace(alias="X")]
    else:
        rows = [known, *new[:3], new[3]._replace(alias="A")]
    eraser = vault.database.open(vault.database.login("eraser"))
    seeding._store._call = key_lab.Between(
        seeding._store.database, "seed_tokens",
        lambda: eraser.call("erase_tokens", "acme", [token], [None], "A-1", "asked"),
    ).call  # fmt: skip
    outcomes = seeding.seed(seeding.prepare(rows))
    assert vault.count("erasures") == 1
    assert outcomes[0].created
    assert outcomes[0].token != token
    assert outcomes[-1].token == (outcomes[0].token if aliases[1] else None)


def test_rejected_rows(vault):
    """Refused rows go to a private file with line, reason and masked number, and the command ends with 1."""
    rows = [
        "13800000001,C-1,",
        "13800000002,C-1,",  # the alias is another's
        "nonsense,C-3,",
        '"13800000004",13800000004,',
        "13800000005,C-5",  # ragged
        "13800000006,C-6,2001-01-01",
        "13800000007,C-7,",
    ]
    done = vault.import_(vault.write("in.csv", "number,alias,expires_at", rows))
    assert done.returncode == 1
    assert "7 rows: 2 new tokens, 0 known, 5 rejected" in done.stderr
    assert [row["alias"] for row in vault.output()] == ["C-1", "C-7"]
    assert (vault.folder / "out.rejected.csv").read_text() == (
        "line,reason,number\n"
        "3,alias.taken,*********02\n"
        "4,number.spelling,\n"
        "5,alias.holds_number,*********04\n"
        "6,row.ragged,*********05\n"
        "7,expires_at.past,*********06\n"
    )
    assert stat.S_IMODE((vault.folder / "out.rejected.csv").stat().st_mode) == 0o600
    assert vault.count("tokens") == 2


def test_rejected_rows_mended(vault):
    """When a later run refuses nothing, the earlier file of refused rows is gone."""
    vault.import_(vault.write("in.csv", "number", ["1"]))
    assert (vault.folder / "out.rejected.csv").exists()
    assert vault.import_(vault.write("in.csv", "number", ["13800000001"])).returncode == 0
    assert not (vault.folder / "out.rejected.csv").exists()


def test_lines_count_from_the_file(vault):
    """A refused row's line is where it begins in the file, even after fields of several lines."""
    file = vault.folder / "in.csv"
    file.write_text('number,note\n13800000001,"a\nb"\n\nbad,"c\nd"\n')
    assert vault.import_(file).returncode == 1
    assert [row["line"] for row in vault.output("out.rejected.csv")] == ["5"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b"phone\n13800138001\n", "no column number"),
        (b"13800138001,x\n", "no column number"),
        (b"number\n13800138001\n13800138002\xff\n", "line 3 is not UTF-8"),
        ("number\n13800138001\n".encode("utf-16"), "NUL byte"),
        (b'number\n13800138001\n"13800138002\n', "line 3"),
        (b"number\n" + b"1" * 300_000 + b"\n", "longer"),
    ],
)
def test_broken_files(vault, content, problem):
    """A broken file is one clear sentence, no output, and nothing in the database."""
    file = vault.folder / "in.csv"
    file.write_bytes(content)
    done = vault.import_(file)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "[import.bad_csv]" in done.stderr
    assert "Traceback" not in done.stderr
    assert "138001" not in done.stderr
    assert not (vault.folder / "out.csv").exists()
    assert vault.count("tokens") == 0


def test_broken_pipe_of_rows(vault):
    """From standard input, which cannot be read twice, rows before the break are in and no output appears."""
    done = vault.import_("-", stdin=b"number\n" + "\n".join(_numbers(1500)).encode() + b"\n\xff\n")
    assert done.returncode == 2
    assert vault.count("tokens") <= 1000
    assert sorted(path.name for path in vault.folder.glob("out*")) == []


def test_standard_input(vault):
    """FILE may be - for standard input, with a byte order mark or without."""
    done = vault.import_("-", stdin="\ufeffnumber,alias\n13800000001,C-1\n".encode())
    assert done.returncode == 0, done.stderr
    assert vault.output()[0]["alias"] == "C-1"


def test_empty_import(vault):
    """A file of nothing but a header is an import of no rows."""
    assert vault.import_(vault.write("in.csv", "number", [])).returncode == 0
    assert vault.output() == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["none.csv"], "import.bad_csv"),
        (["in.csv", "--label", "town"], "label.rejected"),
        (["in.csv", "--label", "token"], "label.rejected"),
        (["in.csv", "--output", "none/out.csv"], "import.bad_output"),
        (["in.csv", "--output", "."], "import.bad_output"),
        (["in.csv", "--output", "in.csv"], "import.bad_csv"),
        (["in.csv", "--tenant", "nobody"], "tenant.unknown"),
        (["in.csv", "--expires-in", "soon"], "--expires-in"),
    ],
)
def test_usage(vault, arguments, error):
    """What cannot be done as asked is refused before anything is written."""
    file = vault.write("in.csv", "number", ["13800000001"])
    done = vault.import_(*arguments)
    assert done.returncode == 2
    assert error in done.stderr
    assert file.read_text() == "number\n13800000001\n"
    assert vault.count("tokens") == 0


def test_expires_in(vault):
    """New tokens without an expiry of their own get the one given for all."""
    file = vault.write("in.csv", "number,expires_at", ["13800000001,", "13800000002,2099-01-01"])
    assert vault.import_(file, "--expires-in", "30d").returncode == 0
    days = [
        row[0]
        for row in vault.database.query(
            "SELECT round(extract(epoch FROM expires_at - now()) / 86400)::int FROM shield.tokens ORDER BY 1"
        )
    ]
    assert days[0] == 30
    assert days[1] > 10_000


def test_quiet(vault):
    """--quiet prints nothing; without a terminal there is no bar."""
    file = vault.write("in.csv", "number", _numbers(3))
    assert vault.import_(file, "--quiet").stderr == ""
    assert "%" not in vault.import_(file).stderr


def test_bar(vault):
    """At a terminal a bar shows rows, rows per second and the time left; it is gone when the import is done."""
    file = vault.write("in.csv", "number", _numbers(2500))
    code, shown = vault.run_at_a_terminal("token", "import", str(file), "--tenant", "acme", "--output", "out.csv")
    assert code == 0
    assert re.search(rb"\d+ rows, \d+ rows/s +\d+%\|.*\| \[\d+:\d+<\d+:\d+", shown)
    assert b"2500 rows: 2500 new tokens" in shown


def test_space_full(vault):
    """When a tenant's tokens are used up the import stops and says which length to set; nothing is written."""
    vault.add_tenant("small", "8", length=9)
    login = vault.database.login("seeder", tenants=["small"])
    seeder_config = vault.config(login)
    file = vault.write("in.csv", "number", _numbers(1001))
    done = vault.run("token", "import", str(file), "--tenant", "small", "--output", "out.csv", config=seeder_config)
    assert done.returncode == 2
    assert "token.space_full" in done.stderr
    assert "tenant resize small --length 10" in done.stderr
    assert vault.count("tokens") <= 1000
    assert not (vault.folder / "out.csv").exists()


def test_collisions(vault):
    """Tokens that are taken are drawn again until each number has one of its own."""
    vault.add_tenant("tiny", "9", length=8)
    seeder = vault.seeder("tiny", vault.database.login("seeder", tenants=["tiny"]))
    drawn = {seeder.add(number, None, None)[0] for number in _numbers(100)}
    assert len(drawn) == 100 == vault.count("tokens")


def test_wrong_kek(vault):
    """With another KEK than the keys were wrapped under nothing is imported, and the sentence names both."""
    other = vault.folder / "other"
    other.write_text("ab" * 32)
    other.chmod(0o400)
    file = vault.write("in.csv", "number", _numbers(1))
    done = vault.import_(file, config=vault.config(kek=f"file:{other}"))
    assert done.returncode == 2
    assert "keys.wrong_kek" in done.stderr
    assert vault.kek.id in done.stderr
    assert "abab" not in done.stderr


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda kek: kek.unlink(), "keys.kek_missing"),
        (lambda kek: kek.chmod(0o644), "keys.kek_exposed"),
        (lambda kek: (kek.chmod(0o600), kek.write_text("no key")), "keys.kek_unusable"),
    ],
)
def test_kek_not_usable(vault, change, error):
    """A missing, exposed or broken KEK is one clear sentence with what to do."""
    change(vault.folder / "kek")
    done = vault.import_(vault.write("in.csv", "number", _numbers(1)))
    assert done.returncode == 2
    assert error in done.stderr
    assert vault.count("tokens") == 0


def test_damaged_keys(vault):
    """A wrapped key that was changed in the database is refused."""
    vault.database.query("UPDATE shield.data_keys SET wrapped = set_byte(wrapped, 30, get_byte(wrapped, 30) # 1)")
    done = vault.import_(vault.write("in.csv", "number", _numbers(1)))
    assert done.returncode == 2
    assert "keys.damaged" in done.stderr


def test_no_keys_section(vault):
    """Without [keys] in the configuration the command says what is missing."""
    done = vault.import_(vault.write("in.csv", "number", _numbers(1)), config=vault.config(keys=False))
    assert done.returncode == 2
    assert "[keys] kek" in done.stderr


def test_of_another_role(vault):
    """A login of another role cannot import."""
    config = vault.config(vault.database.login("worker", tenants=["acme"]))
    done = vault.import_(vault.write("in.csv", "number", _numbers(1)), config=config)
    assert done.returncode == 2
    assert "which takes the login of a seeder" in done.stderr


def test_database_away(vault):
    """With the database away the command ends with 3 and one sentence, at once."""
    away = vault.folder / "away.toml"
    url = "postgresql+psycopg2://nobody:secret@/nothing?host=/nonexistent"
    away.write_text(f'[database]\nurl = "{url}"\n[keys]\nkek = "{vault.kek_uri}"\n')
    away.chmod(0o600)
    started = time.monotonic()
    done = vault.import_(vault.write("in.csv", "number", _numbers(1)), config=away)
    assert done.returncode == 3
    assert "database.away" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 20
    assert not list(vault.folder.glob("out*"))


def test_two_tenants(vault):
    """One number has a token in each tenant, and a login of one cannot seed the other."""
    vault.add_tenant("globex", "88")
    other = vault.config(vault.database.login("seeder", tenants=["globex"]))
    file = vault.write("in.csv", "number", _numbers(1))
    done = vault.run("token", "import", str(file), "--tenant", "globex", "--output", "g.csv", config=other)
    assert done.returncode == 0, done.stderr
    done = vault.import_(file, config=other)
    assert "tenant.unknown" in done.stderr
    assert vault.import_(file).returncode == 0
    assert vault.output()[0]["token"] != vault.output("g.csv")[0]["token"]
    (a,), (b,) = vault.database.query("SELECT number_index FROM shield.number_refs")
    assert bytes(a) != bytes(b)


def test_killed_output_is_begun_anew(vault):
    """The partial output of a killed import does not disturb the next."""
    (vault.folder / "out.csv.partial").write_text("half a li")
    assert vault.import_(vault.write("in.csv", "number", _numbers(2))).returncode == 0
    assert sorted(path.name for path in vault.folder.iterdir()) == ["in.csv", "kek", "out.csv", "role.toml"]
