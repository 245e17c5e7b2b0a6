"""Canary numbers through every path of seeding, failing ones included; then a search of everything that was written."""

import base64
import contextlib

import pytest

from esl_shield.audit import known

GOOD = ("+8613800138101", "+8613800138102", "+442079460018", "+12025550101", "+61491570006")
BAD = ("+8613800138103", "+8613800138104", "+8613800138105", "+8613800138106", "+8613800138107", "+8613800138108")


def _rows():
    return [
        "13800138101,C-1,,Beijing",
        "0086 138-0013-8102,C-2,2099-01-01,x",
        "+44 (0)20 7946 0018,C-3,,",
        "+1 202 555 0101,C-4,,=x",
        "+61 491 570 006,,,",
        "13800138103,C-1,,alias taken",
        "13800138104,13800138104,,alias is the number",
        "13800138105,C-5,,call 138 0013 8105",
        "13800138106,C-6,soon,x",
        "13800138107,C-7,x",
        "１３８００１３８１０８ ext 12,C-8,,x",
    ]


def _needles(tokens, numbers=(*GOOD, *BAD)):
    found = {}
    for number in numbers:
        found |= known.forms(number)
        for token in tokens:
            found |= known.forms(number, token)
    return found


def _dump(vault):
    """Every row of every table of ours and of PostgreSQL's catalogs that users' data gets into, as text."""
    tables = vault.database.query(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
        " WHERE schemaname NOT IN ('information_schema') AND tablename NOT LIKE 'pg_authid'"
    )
    parts = []
    for (table,) in tables:
        with contextlib.suppress(Exception):
            parts.extend(row[0] for row in vault.database.query(f"SELECT t::text FROM {table} t"))
    assert len(parts) > 1000
    return "\n".join(parts).encode()


def _bytea(vault):
    columns = vault.database.query(
        "SELECT table_schema || '.' || table_name, column_name FROM information_schema.columns"
        " WHERE data_type = 'bytea' AND table_schema = 'shield'"
    )
    assert columns
    return b"\n".join(
        bytes(row[0])
        for table, column in columns
        for row in vault.database.query(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_canaries(vault):
    """After imports, additions and mistakes of every kind only the files of numbers hold numbers."""
    source = vault.write("numbers.csv", "number,alias,expires_at,note", _rows())
    runs = [
        vault.import_(source, "--label", "note"),
        vault.import_(source, "--label", "note"),
        vault.import_(source, "--label", "13800138101"),
        vault.import_(source, "--output", str(vault.folder / "none" / "out.csv")),
        vault.import_(vault.write("headless.csv", "13800138101,C-1", ["13800138102,C-2"])),
        vault.import_("-", stdin=b'number\n13800138101\n"13800138102\n'),
        vault.import_("-", stdin=b"number\n13800138101\n13800138102\xff\n"),
        vault.import_("13800138101.csv"),
        vault.run("token", "add", "--tenant", "acme", stdin=b"13800138101\n"),
        vault.run("token", "add", "--tenant", "acme", "--alias", "13800138103", stdin=b"13800138103\n"),
        vault.run("token", "add", "--tenant", "acme", "--alias", "C-2", stdin=b"13800138103\n"),
        vault.run("token", "add", "--tenant", "acme", "--expires-at", "13800138103", stdin=b"13800138103\n"),
        vault.run("token", "add", "--tenant", "acme", stdin=b"13800138104 ext 5\n"),
        vault.run("token", "add", "--tenant", "acme", stdin=b"13800138104\n13800138105\n"),
        vault.run("token", "add", "--tenant", "acme", "13800138103"),
        vault.run("token", "add", "--tenant", "acme", "--13800138103"),
        vault.run("token", "13800138103"),
        vault.run("token", "show", "13800138103", "--tenant", "acme"),
        vault.run("token", "show", "--alias", "13800138103", "--tenant", "acme"),
        vault.run("token", "revoke", "138 0013 8103", "--tenant", "acme"),
        vault.run("token", "expire", "+8613800138103", "--tenant", "acme", "--at", "now"),
        vault.run("call", "list", "--tenant", "acme", "--alias", "13800138103"),
        vault.run("call", "list", "--tenant", "acme", "--token", "13800138103"),
        vault.run("call", "list", "--tenant", "acme", "--limit", "13800138103x"),
        vault.run("token", "show", "--alias", "C-1", "--tenant", "acme"),
    ]
    assert [done.returncode for done in runs] == [1, 1, 2, 2, 2, 2, 2, 2, 0, *[2] * 15, 0]
    tokens = sorted({row["token"] for row in vault.output()})
    assert len(tokens) == len(GOOD)
    needles = _needles(tokens)
    printed = "\n".join(done.stdout + done.stderr for done in runs).encode()
    assert b"Traceback" not in printed
    assert known.scan_bytes(printed, needles) == []
    assert known.scan_bytes(_dump(vault), needles) == []
    assert known.scan_bytes(_bytea(vault), needles) == []
    for name in ("numbers.csv", "headless.csv"):
        assert known.scan_tree(vault.folder / name, needles)
        (vault.folder / name).unlink()
    assert known.scan_tree(vault.folder, needles) == []


@pytest.mark.timeout(300)
def test_canaries_in_the_servers_files(vault):
    """The server's own files, its write-ahead log and message log included, hold no number after an import."""
    source = vault.write("numbers.csv", "number,alias,expires_at,note", _rows())
    vault.import_(source, "--label", "note")
    vault.run("token", "show", "--alias", "13800138103", "--tenant", "acme")
    vault.database.query("CHECKPOINT")
    assert known.scan_tree(vault.database.cluster.folder, _needles([])) == []


def test_the_search_would_find_them(vault):
    """Were a number kept in any column, the search of the database would find it, also encoded."""
    # A number of this test's own: the server's files keep it.
    vault.import_(vault.write("in.csv", "number,alias", ["13800138199,C-1"]))
    needles = _needles([vault.output()[0]["token"]], ["+8613800138199"])
    for hidden in ("13800138199", base64.b64encode(b"x13800138199").decode(), b"13800138199".hex()):
        vault.database.query("UPDATE shield.tokens SET labels = jsonb_build_object('x', %s)", hidden)
        assert known.scan_bytes(_dump(vault), needles)
    vault.database.query("UPDATE shield.tokens SET labels = '{}', ciphertext = %s", b"\1" * 34 + b"13800138199")
    assert known.scan_bytes(_bytea(vault), needles)
