"""Seeding: one token per number and tenant, whatever runs at the same time."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading

import pytest

from esl_shield.errors.database import DatabaseRefused

_drawn = itertools.count(1000)


def _row(position, number, token=None, alias=None, **fields):
    return {
        "ord": position,
        "index": hashlib.sha256(number.encode()).hexdigest(),
        "token": token or f"91{next(_drawn):012}",
        "ciphertext": hashlib.sha512(number.encode()).hexdigest(),
        "alias": alias,
        "expires_at": None,
        "country": "CN",
        "region": "Beijing",
        "time_zone": "Asia/Shanghai",
        "line_type": "mobile",
        "labels": {},
        **fields,
    }


def _seed(seeder, tenant, *rows):
    return seeder.call("seed_tokens", tenant, 1, 1, list(rows))


@pytest.fixture
def acme(tenants):
    """Acme's id."""
    return tenants["acme"]


def test_new_numbers_get_their_tokens(database, seeder, acme):
    """Every field of a created token is stored, counted and audited once per batch."""
    row = _row(7, "a", alias="order-7", expires_at="2030-01-01T00:00:00Z", labels={"shop": "north"})
    assert _seed(seeder, acme, row) == [(7, row["token"], "created")]
    info = seeder.call("token_info", "acme", row["token"], None)[0]
    assert info[:3] == (row["token"], ["order-7"], "active")
    assert info[3].isoformat() == "2030-01-01T00:00:00+00:00"
    assert info[4:9] == ("CN", "Beijing", "Asia/Shanghai", "mobile", {"shop": "north"})
    assert database.query("SELECT tokens FROM dba.tenants WHERE name = 'acme'") == [(2,)]
    assert database.query(
        "SELECT detail, token FROM shield.audit_events WHERE kind = 'tokens.seeded' ORDER BY id DESC LIMIT 1"
    ) == [({"created": 1, "existing": 0, "aliases": 1}, None)]


def test_a_number_keeps_its_token(seeder, acme):
    """A number seeded again gets the token it has; a new alias is added to it."""
    first = _row(0, "a", alias="one")
    _seed(seeder, acme, first)
    assert _seed(seeder, acme, _row(0, "a", alias="two")) == [(0, first["token"], "existing")]
    assert _seed(seeder, acme, _row(0, "a", alias="two")) == [(0, first["token"], "existing")]
    assert seeder.call("token_info", "acme", None, "two")[0][1] == ["one", "two"]


def test_a_number_twice_in_one_batch_has_one_token(seeder, acme):
    """The second row of the same number finds the first's token."""
    first, second = _row(0, "a"), _row(1, "a", alias="same")
    assert _seed(seeder, acme, first, second) == [(0, first["token"], "created"), (1, first["token"], "existing")]


def test_an_alias_of_another_number_changes_nothing(database, seeder, acme):
    """A row whose alias is taken is left out, new number or known; also inside one batch."""
    _seed(seeder, acme, _row(0, "a", alias="one"), _row(1, "b"))
    before = database.query("SELECT count(*) FROM shield.tokens")
    rows = (_row(0, "c", alias="one"), _row(1, "b", alias="one"), _row(2, "d", alias="ONE"))
    answers = sorted(_seed(seeder, acme, *rows))
    assert [(ord_, outcome) for ord_, _, outcome in answers] == [(0, "alias_taken"), (1, "alias_taken"), (2, "created")]
    assert [token for _, token, _ in answers][:2] == [None, None]
    assert database.query("SELECT count(*) FROM shield.tokens")[0][0] == before[0][0] + 1


def test_a_token_that_exists_is_drawn_again(seeder, acme):
    """A candidate that exists is a collision; the number can come again with another."""
    _seed(seeder, acme, _row(0, "a", token="91000000099999"))
    assert _seed(seeder, acme, _row(0, "b", token="91000000099999")) == [(0, None, "collision")]
    assert _seed(seeder, acme, _row(0, "b"))[0][2] == "created"


class _OneByOne:
    """What seeding means: each row for itself, one after the other."""

    def __init__(self):
        self.tokens, self.numbers, self.aliases = set(), {}, {}

    def seed(self, row):
        known, alias = self.numbers.get(row["index"]), row["alias"]
        if alias in self.aliases and self.aliases[alias] != known:
            return (row["ord"], None, "alias_taken")
        if known is None and row["token"] in self.tokens:
            return (row["ord"], None, "collision")
        token = known or row["token"]
        self.tokens.add(token)
        self.numbers[row["index"]] = token
        if alias is not None:
            self.aliases[alias] = token
        return (row["ord"], token, "existing" if known else "created")


def test_a_batch_comes_out_as_its_rows_one_by_one(database, seeder, acme):
    """Rows that share numbers, aliases and candidate tokens in whatever way: as if each were seeded for itself."""
    chance, model = random.Random(7), _OneByOne()  # noqa: S311 - which rows share what, the same in every run
    for _ in range(30):
        rows = [
            _row(
                position,
                f"n{chance.randrange(60)}",
                token=f"91{chance.randrange(500, 620):012}",
                alias=chance.choice([None, f"alias-{chance.randrange(60)}"]),
            )
            for position in range(12)
        ]
        assert sorted(_seed(seeder, acme, *rows)) == [model.seed(row) for row in rows]
    stored = "SELECT count(*) FROM shield.{} WHERE tenant_id = %s"
    counts = [database.query(stored.format(table), acme)[0][0] for table in ("tokens", "number_refs", "aliases")]
    assert counts == [len(model.tokens) + 1, len(model.numbers) + 1, len(model.aliases) + 1]
    ((created, aliases),) = database.query(
        "SELECT sum((detail ->> 'created')::int)::int, sum((detail ->> 'aliases')::int)::int FROM shield.audit_events"
        " WHERE kind = 'tokens.seeded' AND tenant_id = %s",
        acme,
    )
    assert (created, aliases) == (len(model.tokens) + 1, len(model.aliases) + 1)


def test_the_same_number_in_two_tenants_has_two_tokens(database, seeder, tenants):
    """Tenants share nothing."""
    bricks = database.open(database.login("seeder", ["brick"]))
    assert _seed(seeder, tenants["acme"], _row(0, "a"))[0][2] == "created"
    assert _seed(bricks, tenants["brick"], _row(0, "a", token="92000000000022"))[0][2] == "created"


def test_a_full_token_space_is_refused_whole(database):
    """Beyond one random token in 10,000 nothing of the batch is stored."""
    small = database.tenant("small", prefix="7", length=7 + 3)  # 10^8 tokens, so 10^4 may exist
    seeder = database.open(database.login("seeder", ["small"]))
    database.query("UPDATE shield.token_space SET tokens = 9999 WHERE tenant_id = %s", small)
    rows = [_row(n, f"n{n}", token=f"7{n:09}") for n in range(2)]
    with pytest.raises(DatabaseRefused) as caught:
        _seed(seeder, small, *rows)
    assert caught.value.sqlstate == "ES001"
    assert database.query("SELECT count(*) FROM shield.tokens WHERE tenant_id = %s", small) == [(0,)]
    assert _seed(seeder, small, rows[0])[0][2] == "created"


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "92000000000030"},
        {"token": "910000000012"},
        {"token": "+8613800138000"},
        {"ciphertext": "2b38363133383030313338303030"},
        {"ciphertext": "nothex"},
        {"index": "00"},
        {"alias": "two words"},
        {"alias": ""},
        {"line_type": "13800138000"},
        {"region": "13800138000"},
        {"time_zone": "+8613800138000"},
        {"country": "China"},
        {"labels": ["a"]},
        {"labels": {"a": "x" * 9000}},
        {"token": None},
    ],
)
def test_a_row_that_could_hold_a_number_where_none_belongs_is_refused(database, seeder, acme, wrong):
    """Columns take what belongs there: a plain number fits neither token, ciphertext, index nor any description."""
    with pytest.raises(DatabaseRefused) as caught:
        _seed(seeder, acme, _row(0, "good"), {**_row(1, "bad"), **wrong})
    assert "13800138000" not in str(caught.value)
    assert caught.value.__context__ is None
    assert database.query("SELECT count(*) FROM shield.tokens WHERE tenant_id = %s", acme) == [(1,)]


def test_an_index_key_that_was_replaced_is_refused(database, seeder, acme):
    """An import that still works with the old index key would double numbers."""
    for version in (1, 2):
        database.query("SELECT shield_api.add_key(%s, 'index', %s, %s, 'kek')", acme, version, b"x" * 40)
    with pytest.raises(DatabaseRefused) as caught:
        _seed(seeder, acme, _row(0, "a"))
    assert caught.value.sqlstate == "ES004"


def test_imports_at_the_same_time_neither_double_nor_deadlock(database, seeder, acme):
    """Eight imports of the same numbers in different orders: one token per number, every import gets the same."""
    numbers = [f"n{n}" for n in range(40)]
    config = database.login("seeder", ["acme"])
    found, failures = [], []

    def run(seeder, order):
        try:
            for start in range(0, len(order), 10):
                batch = [_row(n, number, alias=f"alias-{number}") for n, number in enumerate(order[start : start + 10])]
                answers = _seed(seeder, acme, *batch)
                found.extend(zip(order[start : start + 10], (token for _, token, _ in answers), strict=True))
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    orders = [numbers[shift:] + numbers[:shift] for shift in range(0, 40, 5)]
    orders = [order if position % 2 else order[::-1] for position, order in enumerate(orders)]
    threads = [threading.Thread(target=run, args=(database.open(config), order)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(found)) == len(numbers)
    assert database.query("SELECT tokens FROM dba.tenants WHERE name = 'acme'") == [(41,)]
    assert database.query("SELECT count(*) FROM shield.number_refs WHERE tenant_id = %s", acme) == [(41,)]


def test_newest_keys_are_what_seeding_gets(database, seeder, acme):
    """The tenant's newest data key and index key, wrapped; reading them is audited."""
    assert seeder.call("seeding_tenant", "acme")[0][4] == []
    for purpose, versions in (("data", (1, 2)), ("index", (1,))):
        for version in versions:
            wrapped = f"{purpose}{version}".encode() * 10
            database.query("SELECT shield_api.add_key(%s, %s, %s, %s, 'kek')", acme, purpose, version, wrapped)
    wrapped = [("data", 2, (b"data2" * 10).hex()), ("index", 1, (b"index1" * 10).hex())]
    keys = [{"purpose": p, "version": v, "wrapped": w, "kek_id": "kek"} for p, v, w in wrapped]
    assert seeder.call("seeding_tenant", "acme") == [(acme, "CN", "91", 14, keys)]
    assert database.query("SELECT count(*) FROM shield.audit_events WHERE kind = 'key.read'") == [(2,)]


def test_tokens_are_found_by_alias_and_changed(database, seeder):
    """Shown by token, alias or both; revoked, given an end and none; every change audited."""
    token = "91000000000018"
    by_token = seeder.call("token_info", "acme", token, None)
    assert by_token == seeder.call("token_info", "acme", None, "customer-1")
    assert by_token == seeder.call("token_info", "acme", token, "customer-1")
    assert seeder.call("token_info", "acme", token, "other") == []
    assert seeder.call("token_info", "acme", None, None) == []
    assert seeder.call("set_token", "acme", token, None, "2030-01-01T00:00:00Z") == [(True,)]
    assert seeder.call("set_token", "acme", token, "revoked", None) == [(True,)]
    status, expires_at = seeder.call("token_info", "acme", token, None)[0][2:4]
    assert (status, expires_at.year) == ("revoked", 2030)
    assert seeder.call("set_token", "acme", "91000000000026", "revoked", None) == [(False,)]
    with pytest.raises(DatabaseRefused):
        seeder.call("set_token", "acme", token, "lost", None)
    kinds = database.query("SELECT token, detail FROM shield.audit_events WHERE kind = 'token.changed' ORDER BY id")
    assert kinds == [(token, {"expires_at": "2030-01-01T00:00:00+00:00"}), (token, {"status": "revoked"})]
