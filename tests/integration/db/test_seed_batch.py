"""A batch of new numbers goes in whole, or changes nothing and is sorted out by seed_tokens."""

import contextlib
import json
import os

import pytest
from key_lab import Running
from polling import until

from esl_shield.errors.database import DatabaseRefused

PREFIX, LENGTH = "91", 14
_WAITING = (
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE NOT l.granted AND a.datname = current_database()"
)


@pytest.fixture
def seeder(database):
    tenant = database.tenant(prefix=PREFIX, length=LENGTH)
    return tenant, database.open(database.login("seeder", tenants=["acme"]))


def _columns(*, tokens=(1, 2, 3), indexes=(1, 2, 3), aliases="A-1,,A-3", expires=None, labels=None, place_of="1,2,1"):
    return [
        b"".join(bytes([n]) * 32 for n in indexes),
        ",".join(f"{PREFIX}{n:0{LENGTH - len(PREFIX)}}" for n in tokens),
        os.urandom(50 * len(tokens)),
        aliases, expires,
        ["CN", "US"], ["Beijing", ""], ["Asia/Shanghai", ""], ["mobile", "toll_free"],
        place_of, labels,
    ]  # fmt: skip


def _rows(database):
    return [
        database.query(f"SELECT count(*) FROM shield.{table}")[0][0] for table in ("tokens", "number_refs", "aliases")
    ]


def test_columns_become_rows(database, seeder):
    """Each column's value lands in its row; the batch is counted and audited once."""
    tenant, login = seeder
    labels = json.dumps([{"city": "a"}, {}, {"city": "c"}])
    columns = _columns(expires="2099-01-01T00:00:00+00:00,,", labels=labels)
    assert login.call("seed_batch", tenant, 1, 1, *columns) == [(True,)]
    found = database.query(
        "SELECT k.token, k.ciphertext, extract(year FROM k.expires_at)::int, k.country, k.region, k.time_zone,"
        " k.line_type, k.labels, n.number_index, a.alias"
        " FROM shield.tokens k JOIN shield.number_refs n USING (tenant_id, token)"
        " LEFT JOIN shield.aliases a USING (tenant_id, token) ORDER BY 1"
    )
    tokens = columns[1].split(",")
    for at, row in enumerate(found):
        place = at % 2
        assert row[0] == tokens[at]
        assert bytes(row[1]) == columns[2][50 * at : 50 * at + 50]
        assert row[2:7] == (2099 if at == 0 else None, *(columns[4 + n][place] for n in range(1, 5)))
        assert row[7] == json.loads(labels)[at]
        assert bytes(row[8]) == bytes([at + 1]) * 32
        assert row[9] == ("A-1", None, "A-3")[at]
    assert len(found) == 3
    assert database.query("SELECT tokens FROM shield.token_space") == [(3,)]
    events = database.query("SELECT detail FROM shield.audit_events WHERE kind = 'tokens.seeded'")
    assert events == [({"created": 3, "existing": 0, "aliases": 2},)]


def test_a_batch_is_found_by_lots(database, seeder):
    """A token's index row is found in its lot or, where it has none, by the token: no other goes with it."""
    tenant, login = seeder
    many = range(1, 101)
    assert login.call("seed_batch", tenant, 1, 1, *_columns(tokens=many, indexes=many, aliases="," * 99,
        place_of=",".join("1" * 100))) == [(True,)]  # fmt: skip
    lots = database.query("SELECT lot, count(*) FROM shield.number_refs GROUP BY 1 ORDER BY 1")
    assert lots == [(0, 31), (1, 32), (2, 32), (3, 5)]
    alone = f"{PREFIX}{7:0{LENGTH - len(PREFIX)}}"
    database.query("UPDATE shield.tokens SET lot = NULL WHERE token = %s", alone)
    database.query("UPDATE shield.number_refs SET lot = NULL WHERE token = %s", alone)
    for token in (alone, f"{PREFIX}{64:0{LENGTH - len(PREFIX)}}"):
        assert database.query("SELECT indexes FROM shield.drop_number(%s, %s)", tenant, token) == [(1,)]
        assert database.query("SELECT count(*) FROM shield.number_refs WHERE token = %s", token) == [(0,)]
    assert _rows(database) == [100, 98, 0]


def test_a_later_alias_has_the_lot_of_its_token(database, seeder):
    """An alias given to a token of a batch afterwards is found, and erased, beside its first."""
    tenant, login = seeder
    assert login.call("seed_batch", tenant, 1, 1, *_columns()) == [(True,)]
    again = {"ord": 0, "index": "03" * 32, "token": f"{PREFIX}{9:0{LENGTH - len(PREFIX)}}", "ciphertext": "00" * 50}
    later = again | {"alias": "Z-3", "country": "CN", "region": "", "time_zone": "", "line_type": "mobile"}
    assert login.call("seed_tokens", tenant, 1, 1, [later])[0][2] == "existing"
    token = f"{PREFIX}{3:0{LENGTH - len(PREFIX)}}"
    assert login.call("token_info", "acme", None, "Z-3")[0][:2] == (token, ["A-3", "Z-3"])
    assert database.query("SELECT aliases FROM dba.tokens WHERE token = %s", token) == [(["A-3", "Z-3"],)]
    eraser = database.open(database.login("eraser", tenants=["acme"]))
    assert eraser.call("erase_tokens", "acme", [token], [None], "A-1", "asked")[0][2] == "erased"
    assert database.query("SELECT alias FROM shield.aliases") == [("A-1",)]


@pytest.mark.parametrize(
    "second",
    [
        {"indexes": (7, 8, 3), "tokens": (7, 8, 9), "aliases": None},
        {"indexes": (7, 8, 9), "tokens": (7, 8, 3), "aliases": None},
        {"indexes": (7, 8, 9), "tokens": (7, 8, 9), "aliases": ",,A-3"},
        {"indexes": (7, 7, 9), "tokens": (7, 8, 9), "aliases": None},
        {"indexes": (7, 8, 9), "tokens": (7, 7, 9), "aliases": None},
        {"indexes": (7, 8, 9), "tokens": (7, 8, 9), "aliases": "B,B,"},
    ],
    ids=["number", "token", "alias", "number-twice", "token-twice", "alias-twice"],
)
def test_anything_known_changes_nothing(database, seeder, second):
    """A number, token or alias that is there, or comes twice, leaves the whole batch to seed_tokens."""
    tenant, login = seeder
    assert login.call("seed_batch", tenant, 1, 1, *_columns()) == [(True,)]
    before = _rows(database)
    assert login.call("seed_batch", tenant, 1, 1, *_columns(**second)) == [(False,)]
    assert _rows(database) == before == [3, 3, 2]
    assert database.query("SELECT count(*) FROM shield.audit_events WHERE kind = 'tokens.seeded'") == [(1,)]


@pytest.mark.parametrize(
    "columns",
    [
        {"indexes": (1, 2)}, {"aliases": "A-1,A-2"}, {"place_of": "1,2"}, {"labels": "[{}]"},
        {"tokens": (1, 2, 10**12)},
    ],
    ids=["index", "alias", "place", "labels", "token"],
)  # fmt: skip
def test_ragged_columns(database, seeder, columns):
    """Columns of different lengths, and tokens that are not the tenant's, are refused."""
    tenant, login = seeder
    with pytest.raises(DatabaseRefused) as caught:
        login.call("seed_batch", tenant, 1, 1, *_columns(**columns))
    assert caught.value.sqlstate == "23514"
    assert _rows(database) == [0, 0, 0]


def test_not_with_an_index_key_that_is_not_the_only_one(database, seeder):
    """While a tenant has another index key, or a newer data key, batches go the long way, which knows what to do."""
    tenant, login = seeder
    for purpose, version in (("index", 1), ("data", 1), ("index", 2)):
        database.query("SELECT shield_api.add_key(%s, %s, %s, %s, 'kek')", tenant, purpose, version, b"x" * 62)
    assert login.call("seed_batch", tenant, 1, 1, *_columns()) == [(False,)]
    assert login.call("seed_batch", tenant, 2, 1, *_columns()) == [(False,)]
    assert _rows(database) == [0, 0, 0]


def test_another_tenant(database, seeder):
    """A seeder seeds no tenant it does not see."""
    _, login = seeder
    other = database.tenant("other", prefix="92")
    with pytest.raises(DatabaseRefused) as caught:
        login.call("seed_batch", other, 1, 1, *_columns())
    assert caught.value.sqlstate == "ES002"


@contextlib.contextmanager
def _under_way(database, tenant, columns):
    """A batch that is in and whose transaction goes on."""
    connection = database.connect(database.login("seeder", tenants=["acme"]))
    connection.autocommit = False
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f"SELECT shield_api.seed_batch(%s, 1, 1{', %s' * len(columns)})", [tenant, *columns])
        assert cursor.fetchall() == [(True,)]
        yield
        connection.commit()


def _waiting(database, many):
    until(lambda: database.query(_WAITING) == [(many,)], f"{many} waiting")


def test_batches_share_a_tenant_and_others_have_it_alone(database, seeder):
    """A batch does not wait for one under way, an erasure does, and a later batch waits for the erasure."""
    tenant, login = seeder
    eraser = database.open(database.login("eraser", tenants=["acme"]))
    third = _columns(tokens=(7, 8, 9), indexes=(7, 8, 9), aliases=None)
    with database.connect().cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT shield.take_turn(%s, false)", (tenant,))
        assert login.call("seed_batch", tenant, 1, 1, *_columns()) == [(True,)]
        erasing = Running(lambda: eraser.call("erase_tokens", "acme", [None], ["A-1"], "A-1", "asked"))
        _waiting(database, 1)
        importing = Running(lambda: login.call("seed_batch", tenant, 1, 1, *third))
        _waiting(database, 2)
        cursor.execute("ROLLBACK")
    assert erasing.done()[0][2] == "erased"
    assert importing.done() == [(True,)]
    assert _rows(database) == [5, 5, 1]


def test_the_last_room_is_taken_once(database, seeder):
    """Of two batches at once, for which there is room one by one, the second changes nothing."""
    tenant, login = seeder
    most = 10 ** (LENGTH - len(PREFIX) - 1) // 10_000
    database.query("UPDATE shield.token_space SET tokens = %s", most - 4)
    with _under_way(database, tenant, _columns()):
        second = _columns(tokens=(4, 5, 6), indexes=(4, 5, 6), aliases=None)
        importing = Running(lambda: login.call("seed_batch", tenant, 1, 1, *second))
        _waiting(database, 1)
    assert importing.done() == [(False,)]
    assert _rows(database) == [3, 3, 2]
    assert database.query("SELECT tokens FROM shield.token_space") == [(most - 1,)]


@pytest.mark.parametrize(
    "shared",
    [{"indexes": (4, 2, 6), "aliases": None}, {"indexes": (4, 5, 6), "aliases": ",A-3,"}],
    ids=["number", "alias"],
)
def test_what_two_batches_share_is_the_first_ones(database, seeder, shared):
    """A batch with a number or an alias of a batch under way waits for it and changes nothing."""
    tenant, login = seeder
    with _under_way(database, tenant, _columns()):
        importing = Running(lambda: login.call("seed_batch", tenant, 1, 1, *_columns(tokens=(4, 5, 6), **shared)))
        _waiting(database, 1)
    assert importing.done() == [(False,)]
    assert _rows(database) == [3, 3, 2]


def _find(columns):
    return columns[0], columns[3]


def test_rows_with_nothing_new_are_found(database, seeder):
    """A known number is found with its own alias or none, not with another one; what is sought is audited."""
    tenant, login = seeder
    columns = _columns()
    tokens = columns[1].split(",")
    assert login.call("seed_batch", tenant, 1, 1, *columns) == [(True,)]
    for aliases, found in (
        ("A-1,,A-3", tokens), (None, tokens), (",,", tokens), ("A-1,A-3,B-9", [tokens[0], "", ""]),
    ):  # fmt: skip
        assert login.call("find_seeded", tenant, 1, 1, *_find(_columns(aliases=aliases))) == [(",".join(found),)]
    assert login.call("find_seeded", tenant, 1, 1, *_find(_columns(indexes=(9, 3, 8), aliases=None))) == [
        (f",{tokens[2]},",)
    ]
    assert login.call("find_seeded", tenant, 1, 1, *_find(_columns(indexes=(7, 8, 9)))) == [(",,",)]
    events = database.query("SELECT detail FROM shield.audit_events WHERE kind = 'tokens.seeded' ORDER BY id")
    assert [(event["created"], event["existing"], event["aliases"]) for (event,) in events] == [
        (3, 0, 2), (0, 3, 0), (0, 3, 0), (0, 3, 0), (0, 1, 0), (0, 1, 0), (0, 0, 0),
    ]  # fmt: skip


def test_finding_is_for_sure_keys_whole_columns_and_own_tenants(database, seeder):
    """While keys change nothing is said of any row; ragged columns and another's tenant are refused."""
    tenant, login = seeder
    other = database.tenant("other", prefix="92")
    with pytest.raises(DatabaseRefused) as caught:
        login.call("find_seeded", other, 1, 1, *_find(_columns()))
    assert caught.value.sqlstate == "ES002"
    for indexes, aliases in ((b"x" * 95, "a,b,c"), (b"x" * 96, "a,b"), (None, None), (b"", None)):
        with pytest.raises(DatabaseRefused) as caught:
            login.call("find_seeded", tenant, 1, 1, indexes, aliases)
        assert caught.value.sqlstate == "23514"
    for purpose, version in (("index", 1), ("data", 1), ("index", 2)):
        database.query("SELECT shield_api.add_key(%s, %s, %s, %s, 'kek')", tenant, purpose, version, b"x" * 62)
    assert login.call("find_seeded", tenant, 1, 1, *_find(_columns())) == [(None,)]
    assert login.call("find_seeded", tenant, 2, 1, *_find(_columns())) == [(None,)]
    with pytest.raises(DatabaseRefused):
        login.call("find_seeded", tenant, 1, None, *_find(_columns()))
    assert database.query("SELECT count(*) FROM shield.audit_events WHERE kind = 'tokens.seeded'") == [(0,)]
