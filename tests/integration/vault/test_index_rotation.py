"""Index keys replaced by added rows: a number keeps its token throughout, whoever looks it up or brings it again."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from key_lab import Between, Running, lab, rows

from esl_shield.db.engine import Database
from esl_shield.errors.keys import KeyKept, KeysChanged, RotationOpen
from esl_shield.resolver.forms import MaskForm
from esl_shield.resolver.mask import Masker
from esl_shield.vault import keylife, keyring
from esl_shield.vault.leaks import Leaks
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.replacing import Replacer
from esl_shield.vault.store import Store

__all__ = ["lab"]

DID = "+862160001111"
THREADS = 6


@pytest.fixture
def masker(lab):
    """The resolver's masking part, which keeps keys for minutes."""
    lab.database.query("SELECT shield_api.set_did('acme', %s, '{1001}', true, NULL)", DID)
    return Masker(lab.database.open(lab.database.login("masker", tenants=["acme"])), lab.keks)


def mask(masker, number: int) -> str:
    """The token a caller's number is shown as."""
    outcome = masker.mask(MaskForm(number=f"+86138{number:08d}", did=DID, call=str(uuid.uuid4())))
    assert outcome.answer == "token", outcome.reason
    return outcome.body


def leaked(lab, number: int) -> list[str]:
    """What a search for leaks says of a number."""
    login = lab.database.login("scanner", tenants=["acme"], lookups_per_s=1000)
    leaks = Leaks(login, lab.keks, ["acme"], ())
    try:
        found = leaks.read(f"+86138{number:08d}".encode())
        leaks.ask(found)
    finally:
        leaks.close()
    return [suspect.token.token for suspect in found if suspect.token]


def retired(lab, version: int = 1) -> int:
    """Retire an index key; how many rows were removed."""
    key = keylife.find_key(lab.database.admin, "acme", "index", version)
    keylife.retire(lab.database.admin, key)
    return list(keylife.remove_refs(lab.database.admin, key))[-1][1]


def test_an_index_keys_life(lab, masker):
    """At every step of a rotation an import, a caller and a search for leaks find the token a number had before."""
    tokens = [outcome.token for outcome in lab.seed(0, 4)]
    assert mask(masker, 0) == tokens[0]
    running = lab.vault.seeder()

    def look(new: int) -> None:
        """Known numbers keep their tokens and a new one gets one token, whoever meets it first."""
        again = lab.seed(0, 4, running)
        assert [(outcome.token, outcome.created) for outcome in again] == [(token, False) for token in tokens]
        assert [mask(masker, number) for number in range(4)] == tokens
        made = mask(masker, new)
        assert [outcome.token for outcome in lab.seed(new, 1, running)] == [made]
        assert leaked(lab, 1) == [tokens[1]]
        assert leaked(lab, new) == [made]

    look(10)
    assert lab.rotate("index").version == 2
    look(11)
    lab.seed(0, 2, running)  # what is met on the way gets its row under the newest key, once
    with pytest.raises(RotationOpen):
        lab.rotate("index")
    with pytest.raises(KeyKept, match="keys reindex"):
        retired(lab)
    progress = lab.do("reindex")
    assert (progress.seen, lab.refs(1), lab.refs(2)) == (6, 5, 6)
    look(12)
    assert lab.do("reindex") is None
    assert retired(lab) == 5
    look(13)
    assert lab.refs(1) == 0
    lab.let_calls_end()
    keylife.destroy(lab.database.admin, keylife.find_key(lab.database.admin, "acme", "index", 1), "gone")
    look(14)
    assert lab.rotate("index").version == 3
    look(15)
    count = lab.one("SELECT count(*) FROM shield.tokens")
    assert count == len(set(lab.numbers().values())) == lab.one("SELECT tokens FROM shield.token_space")


@pytest.mark.slow
def test_an_index_key_is_replaced_by_the_command_line(lab):
    """Rotate, reindex, retire and destroy, each a command; list tells the states, and what is too early is refused.

    Slow: a process for each command; what they do is tried without.
    """
    lab.seed(0, 3)
    admin, rekeyer = lab.config("admin"), lab.config("rekeyer")
    retire = ("keys", "retire", "--tenant", "acme")
    run = lab.vault.run
    assert run("keys", "rotate", "--all", "--purpose", "index", config=admin).returncode == 0
    early = run(*retire, config=admin)
    assert (early.returncode, "[keys.kept]" in early.stderr) == (1, True), early.stderr
    done = run("keys", "reindex", "--tenant", "acme", config=rekeyer)
    assert done.stdout == "tenant acme: 3 rows indexed under index key version 2, 0 left\n", done.stderr
    done = run(*retire, config=admin)
    assert done.stdout == "the index key version 1 of tenant acme is retired, 3 rows under it were removed\n", (
        done.stderr
    )
    assert run(*retire, "--format", "json", config=admin).stdout.count('"removed": 0') == 1
    lab.let_calls_end()
    destroy = ("keys", "destroy", "--tenant", "acme", "--purpose", "index", "--version", "1", "--backups", "abandoned")
    assert run(*destroy, "--yes", config=admin).returncode == 0
    assert run(*retire, config=admin).stderr == "tenant acme has no older index key\n"
    assert (lab.refs(1), lab.refs(2)) == (0, 3)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_imports_that_run_while_every_key_is_rotated(lab):
    """Two import processes of overlapping files, both keys rotated in their middle: one token for each number.

    Slow: two whole imports.
    """
    files = [
        lab.vault.write(f"in{at}.csv", "number", [f"138{number:08d}" for number in range(at * 4500, at * 4500 + 9000)])
        for at in range(2)
    ]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(
            lab.vault.command("token", "import", str(file), "--tenant", "acme", "--output", f"out{at}.csv"),
            cwd=lab.vault.folder, env=lab.vault.environment(), stdout=pipe, stderr=pipe,
        )
        for at, file in enumerate(files)
    ]  # fmt: skip
    for purpose in ("index", "data"):
        before = lab.one("SELECT count(*) FROM shield.tokens")
        while lab.one("SELECT count(*) FROM shield.tokens") == before and running[0].poll() is None:
            pass  # each look is a round trip
        lab.rotate(purpose)
    lab.do("reindex")
    for process in running:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    assert lab.versions() == {1, 2}
    assert 0 < lab.refs(1) < 13_500
    numbers = lab.numbers()
    assert sorted(numbers.values()) == [f"+86138{number:08d}" for number in range(13_500)]
    for at in range(2):
        found = [numbers[row["token"]] for row in lab.vault.output(f"out{at}.csv")]
        assert found == [f"+86138{number:08d}" for number in range(at * 4500, at * 4500 + 9000)]
    lab.do("reindex")
    lab.do()
    assert (lab.refs(2), lab.versions(), retired(lab) > 0) == (13_500, {2}, True)
    assert lab.numbers() == numbers


def test_numbers_are_replaced_across_a_rotation(lab):
    """While an index key is replaced, a token gets its new number as before: found by it, no longer by the old one."""
    tokens = [outcome.token for outcome in lab.seed(0, 4)]
    with contextlib.closing(Store(lab.vault.seeder_login)) as store:
        replacer = Replacer(store, lab.keks, "acme")  # has read the keys that are about to be replaced
        lab.rotate("index")
        lab.rotate("data")
        lab.seed(1, 1)  # number 1 has its row under the newest key too
        named = [row._replace(token=token) for row, token in zip(rows([10, 11, 3, 0]), tokens, strict=True)]
        assert replacer.replace(named) == [
            (tokens[0], "replaced"), (tokens[1], "replaced"),
            (tokens[2], "number_taken"),  # by token 3, which only the key before knows
            (tokens[3], "replaced"),  # number 0 was given up by the first row
        ]  # fmt: skip
        assert replacer.replace(named[:2]) == [(tokens[0], "unchanged"), (tokens[1], "unchanged")]
    assert {token: number[-2:] for token, number in lab.numbers().items()} == dict(
        zip(tokens, ["10", "11", "02", "00"], strict=True)
    )
    assert (lab.refs(1), lab.refs(2)) == (1, 3)
    lab.do("reindex")
    assert lab.refs(2) == 4
    retired(lab)
    assert [outcome.token for number in (10, 11, 2, 0) for outcome in lab.seed(number, 1)] == tokens
    assert all(outcome.created for number in (1, 3) for outcome in lab.seed(number, 1))


def test_replacing_and_reindexing_do_not_wait_for_each_other(lab):
    """A file that names tokens in another order than the reindexing's takes turns with it: both end."""
    first, second = sorted(outcome.token for outcome in lab.seed(0, 2))
    lab.rotate("index")
    named = [row._replace(token=token) for row, token in zip(rows([10, 11]), (second, first), strict=True)]
    with contextlib.closing(Store(lab.vault.seeder_login)) as store:
        replacer = Replacer(store, lab.keks, "acme")
        with lab.database.connect().cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT FROM shield.tokens WHERE token = %s FOR UPDATE", (first,))
            reindexing = Running(lambda: lab.do("reindex"))  # waits for the first token, then wants the second
            lab.until_waiting("test")
            replacing = Running(lambda: replacer.replace(named))
            lab.until_waiting("seeding")
            cursor.execute("ROLLBACK")
        assert replacing.done() == [(second, "replaced"), (first, "replaced")]
        reindexing.done()
    assert sorted(number[-2:] for number in lab.numbers().values()) == ["10", "11"]
    assert lab.refs(2) == 2


def test_erasing_and_reindexing_do_not_wait_for_each_other(lab):
    """A list that names tokens in another order than the reindexing's, by itself or an alias, takes turns with it."""
    seeder = lab.vault.seeder()
    made = seeder.seed(seeder.prepare([row._replace(alias=f"C-{at}") for at, row in enumerate(rows(range(3)))]))
    aliases = {outcome.token: f"C-{at}" for at, outcome in enumerate(made)}
    first, second, third = sorted(aliases)
    lab.rotate("index")
    names = [(third, None), (None, aliases[second]), (first, None)]
    eraser = Database(lab.database.login("eraser", tenants=["acme"]), application_name="erasing")
    with contextlib.closing(eraser), lab.database.connect().cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT FROM shield.tokens WHERE token = %s FOR UPDATE", (first,))
        reindexing = Running(lambda: lab.do("reindex"))  # waits for the first token, then wants the others
        lab.until_waiting("test")
        listed = [list(column) for column in zip(*names, strict=True)]
        erasing = Running(lambda: eraser.call("erase_tokens", "acme", *listed, "A-1", "asked"))
        lab.until_waiting("erasing")
        cursor.execute("ROLLBACK")
        assert [row[1:3] for row in erasing.done()] == [(token, "erased") for token in (third, second, first)]
    reindexing.done()
    assert lab.refs(1) + lab.refs(2) == 0


def test_what_a_rotation_adds_goes_with_its_token(lab):
    """Whoever erases a token finds its index rows: those of its batch, of a reindexing, an import and a replacement."""
    tokens = [outcome.token for outcome in lab.seed(0, 40)]
    assert lab.one("SELECT count(DISTINCT lot) FROM shield.tokens WHERE lot IS NOT NULL") == 2
    lab.rotate("index")
    lab.seed(1, 1)
    lab.do("reindex")
    with contextlib.closing(Store(lab.vault.seeder_login)) as store:
        named = [row._replace(token=tokens[2]) for row in rows([50])]
        assert Replacer(store, lab.keks, "acme").replace(named) == [(tokens[2], "replaced")]
    for token, indexes in ((tokens[0], 2), (tokens[1], 2), (tokens[2], 1), (tokens[39], 2)):
        assert lab.one("SELECT indexes FROM shield.drop_number(%s, %s)", lab.tenant_id, token) == indexes
        assert lab.one("SELECT count(*) FROM shield.number_refs WHERE token = %s", token) == 0
    assert lab.refs(1) == lab.refs(2) == 36
    strays = "SELECT count(*) FROM shield.number_refs n JOIN shield.tokens k USING (token) WHERE n.lot <> k.lot"
    assert lab.one(strays) == 0


def test_concurrent_imports_across_a_rotation_make_one_token(lab):
    """Seeders that began before, at and after a rotation offer the same numbers at once: one token for each."""
    lab.seed(0, 40)
    before = lab.numbers()
    seeders = [lab.vault.seeder() for _ in range(THREADS)]
    batches = [seeder.prepare(rows(range(20, 80))) for seeder in seeders[: THREADS // 2]]

    def seed(at: int) -> list[str]:
        seeder = seeders[at]
        if at < len(batches):
            return [outcome.token for outcome in seeder.seed(batches[at])]
        return [outcome.token for start in range(20, 80, 5) for outcome in lab.seed(start, 5, seeder)]

    with ThreadPoolExecutor(THREADS + 2) as pool:
        found = [pool.submit(seed, at) for at in range(THREADS)]
        rotated = pool.submit(lab.rotate, "index")
        assert rotated.result(60).version == 2
        reindexed = pool.submit(lab.do, "reindex")
        answers = [future.result(60) for future in found]
        reindexed.result(60)
    assert all(answer == answers[0] for answer in answers)
    after = lab.numbers()
    assert before.items() <= after.items()
    assert sorted(after.values()) == [f"+86138{number:08d}" for number in range(80)]
    lab.do("reindex")
    assert lab.refs(2) == 80
    removed = lab.refs(1)
    assert retired(lab) == removed >= 40


def test_a_number_given_away_meanwhile_is_not_indexed_for_its_old_token(lab):
    """When a token gets another number between the job's reading and its writing, the old number leads nowhere."""
    lab.seed(0, 2)
    lab.rotate("index")
    token, number = min(lab.numbers().items())
    index = keyring.blind_index(lab.key("index", 1), SubscriberNumber(number), lab.tenant_id)

    def replace() -> None:
        lab.database.query("UPDATE shield.tokens SET ciphertext = ciphertext || '\\x00' WHERE token = %s", token)
        lab.database.query("DELETE FROM shield.number_refs WHERE number_index = %s", index)

    job = lab.job("reindex", Between(lab.opened(), "reindex_tokens", replace))
    (due,) = job.due("acme")
    with pytest.raises(Exception, match="rows_left"):  # the stand-in for the new number is no ciphertext
        list(job.run(due))
    new = keyring.blind_index(lab.key("index", 2), SubscriberNumber(number), lab.tenant_id)
    assert lab.one("SELECT token FROM shield.number_refs WHERE number_index = %s", new) is None
    assert lab.refs(2) == 1


def test_a_search_for_leaks_is_told_when_its_key_is_retired(lab):
    """A search that began before a key was retired finds nothing by it any more, and says so instead of clean."""
    lab.seed(0, 2)
    leaks = Leaks(lab.database.login("scanner", tenants=["acme"], lookups_per_s=1000), lab.keks, ["acme"], ())
    suspects = leaks.read(b"+8613800000001")
    lab.rotate("index")
    lab.do("reindex")
    leaks.ask(suspects)
    assert suspects[0].token is not None
    for suspect in suspects:
        suspect.answered = False
    retired(lab)
    with pytest.raises(KeysChanged):
        leaks.ask(suspects)
    leaks.close()


def test_a_reveal_across_a_rotation_is_about_the_same_number(lab):
    """Asked before, approved and opened after a rotation, a reveal finds its number; the key waits for it."""
    ((token,),) = [(outcome.token,) for outcome in lab.seed(0, 1)]
    people = [
        lab.database.open(lab.database.login("revealer", tenants=["acme"], rights=[right]))
        for right in ("request", "approve")
    ]
    resolver = lab.database.open(lab.database.login("resolver", tenants=["acme"]))

    def bind(ticket: bytes) -> bool:
        rows_ = resolver.call("reveal_index_key", ticket)
        number = SubscriberNumber("+8613800000000")
        indexes = [keyring.blind_index(lab.key("index", version), number, lab.tenant_id) for _, version, _, _ in rows_]
        return bool(resolver.call("bind_reveal", ticket, indexes, [row[1] for row in rows_])[0][0])

    def asked(ticket: bytes) -> uuid.UUID:
        row = people[0].call("request_reveal", "acme", "calls", None, "C-1", "complaint", ticket)[0]
        assert bind(ticket)
        return row[1]

    reveals = [asked(b"1" * 32)]
    lab.rotate("index")
    reveals.append(asked(b"2" * 32))
    assert [row[0] for row in lab.database.query("SELECT index_version FROM shield.reveals")] == [1, 1]
    for at, reveal in enumerate(reveals):
        people[1].call("approve_reveal", reveal, bytes([at]) * 32)
        assert bind(bytes([at]) * 32)
        lab.do("reindex")
        with pytest.raises(KeyKept, match="reveal"):
            retired(lab)
        assert people[0].call("open_reveal", reveal, bytes([at + 9]) * 32)[0][0] == "ALLOWED"
        assert resolver.call("redeem_reveal", bytes([at + 9]) * 32)[0][3] == token
    assert retired(lab) == 1


def test_a_rotation_waits_for_imports_and_they_for_it(lab):
    """An import that holds the older index key commits before the rotation; nothing is indexed under that key after."""
    seeder = lab.vault.seeder()
    with lab.database.connect() as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute("SELECT shield.hold_keys(%s, false)", (lab.tenant_id,))
        rotating = Running(lambda: lab.rotate("index"))
        lab.until_waiting("esl-shield")
        importing = Running(lambda: lab.seed(0, 1, seeder))
        lab.until_waiting("seeding")
        other.commit()
    rotating.done()
    assert importing.done()[0].created
    assert (lab.refs(1), lab.refs(2)) == (0, 1)
