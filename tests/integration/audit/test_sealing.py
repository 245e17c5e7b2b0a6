"""Sealing: events of finished transactions into signed, chained blocks, none missed, none twice."""

from __future__ import annotations

import contextlib
import secrets
import threading

import psycopg2
import pytest
from polling import until

from esl_shield.audit.blocks import Block
from esl_shield.audit.heads import HeadFile, read_heads
from esl_shield.audit.source import open_source
from esl_shield.audit.verify import Extent, Trust, Verification
from esl_shield.errors.sealing import ChainUnknown, HeadLost, NothingLost

INSERT = "INSERT INTO shield.audit_events (tenant_id, kind) VALUES (1, 'call.authorized')"


def sealed_by(sealer):
    """How many events a sealer seals first, once the server has noticed that the one before it is gone."""
    steps = []

    def sealed():
        step = sealer.step()
        steps.append(step.sealed)
        return step.mine

    until(sealed, "the lock is free")
    return steps[-1]


def test_an_open_transaction_holds_back_what_began_after_it(site):
    """Events behind a transaction that is still open wait for it, and are then sealed in order with its own."""
    site.seal()
    slow = site.database.connect()
    slow.autocommit = False
    slow.cursor().execute(INSERT)
    site.write_events(3)
    assert site.seal() == 0
    lag = site.sealer.lag()
    assert (lag.waiting, lag.held) == (3, 3)
    assert lag.seconds > 0
    slow.commit()
    assert site.seal() == 4
    assert site.verify().findings == []


def test_batches_are_bounded_and_catch_up(site):
    """A sealer that was away seals what waited in blocks of at most most_events."""
    site.write_events(25)
    sealer = site.new_sealer(most_events=10)
    sizes = []
    while step := sealer.step().sealed:
        sizes.append(step)
    assert max(sizes) == 10
    assert sum(sizes) == site.sql("SELECT count(*) FROM shield.audit_events")[0][0]
    sealer.export()
    assert site.verify().findings == []


def test_one_sealer_at_a_time(site):
    """A second sealer stands by while the first one's session lives, and goes on when it ends."""
    site.write_events(1)
    second = site.new_sealer()
    assert site.sealer.step().mine
    assert not second.step().mine
    site.write_events(2)
    assert second.step().sealed == 0
    site.sealer._database.close()
    sealed_by(second)
    second.export()
    assert site.verify().findings == []


def test_a_sealer_with_another_key_does_not_go_on(site):
    """The chain's end must be of this sealer's making."""
    site.seal()
    site.sealer._database.close()
    other = site.new_sealer(seed=secrets.token_bytes(32))
    with pytest.raises(ChainUnknown, match="signed by the key"):
        sealed_by(other)


def test_a_new_key_goes_on_behind_an_old_one(site):
    """A sealer that is told of the older key continues its chain, and both keys together prove it."""
    site.seal()
    site.sealer._database.close()
    site.write_events(2)
    old = site.signer.public
    site.seed = secrets.token_bytes(32)
    site.sealer = site.new_sealer(older_keys=[old])
    assert sealed_by(site.sealer) == 2
    site.sealer.export()
    assert [finding.kind for finding in site.verify().findings] == ["signature_wrong"]
    with open_source(site.auditor_login) as source:
        assert Verification(source, Trust(str(site.heads_path), (old, site.signer.public))).run().findings == []


def test_a_fork_signed_with_another_key_is_found(site):
    """Who replaces the newest block by one of their own key is found by the head and by the signature."""
    site.write_events(2)
    site.seal()
    site.write_events(2)
    site.seal()
    site.sql("DELETE FROM shield.audit_blocks WHERE number = 2")
    site.sql("UPDATE shield.audit_events SET agent = 'forged' WHERE id = (SELECT max(id) FROM shield.audit_events)")
    other = secrets.token_bytes(32)
    site.sealer._database.close()
    forger = site.new_sealer(seed=other, heads=str(site.folder / "forged"))
    forger._verified = lambda header, signature: Block.parse(header, bytes(signature))
    assert sealed_by(forger)
    kinds = [finding.kind for finding in site.verify().findings]
    assert kinds[:2] == ["forked", "signature_wrong"]
    assert [finding.kind for finding in site.verify(heads=False).findings] == ["signature_wrong"]


def test_a_rolled_back_database_is_found_by_its_head(site):
    """An old backup stops the sealer and is named by the verifier; a restore that is accepted stands in the chain."""
    site.write_events(3)
    site.seal()
    backup = site.sql("SELECT max(id) FROM shield.audit_events")[0][0]
    site.write_events(3)
    site.seal()
    site.sql("DELETE FROM shield.audit_events WHERE id > %s", backup)
    site.sql("DELETE FROM shield.audit_blocks WHERE number > 1")
    site.write_events(1)
    report = site.verify()
    assert [(f.kind, f.block) for f in report.findings] == [("truncated", 2)]
    site.sealer._database.close()
    fresh = site.new_sealer()
    with pytest.raises(HeadLost):
        sealed_by(fresh)
    fresh._database.close()
    accepting = site.new_sealer(restore_reason="last night's backup")
    assert sealed_by(accepting)
    accepting.export()
    site.sealer = accepting
    site.write_events(1)
    site.seal()
    report = site.verify()
    assert [(f.kind, f.block) for f in report.findings] == [("restored", 2)]
    assert "last night's backup" in report.notices[0]
    assert site.verify(heads=False).findings == []
    accepting._restore_reason = "again"
    with pytest.raises(NothingLost):
        accepting.step()


def test_heads_are_never_lost(site):
    """Heads that could not be written come later in order; a line a crash cut off is written again."""
    gone = site.folder / "not mounted" / "heads.ndjson"
    site.sealer._heads = HeadFile(str(gone))
    for _ in range(3):
        site.write_events(1)
        site.sealer.step()
        with pytest.raises(OSError):
            site.sealer.export()
    gone.parent.mkdir()
    site.heads_path = gone
    site.sealer.export()
    assert [head.block.number for head in read_heads(str(site.heads_path))] == [1, 2, 3]
    whole = site.heads_path.read_bytes()
    site.heads_path.write_bytes(whole[:-40])
    site.heads_path.with_name("heads.ndjson.state").unlink()
    site.sealer._heads = HeadFile(str(site.heads_path))
    site.sealer.export()
    assert [head.block.number for head in read_heads(str(site.heads_path))] == [1, 2, 3]
    site.heads_path.rename(gone.with_name("rotated"))
    site.write_events(1)
    site.seal()
    assert [head.block.number for head in read_heads(str(site.heads_path))] == [4]
    assert site.verify().findings == []


def test_a_range_and_detached_months_are_proved_alone(site):
    """Some blocks can be proved by themselves, and blocks whose events were detached by their chain."""
    for _ in range(4):
        site.write_events(2)
        site.seal()
    assert site.verify(extent=Extent(2, 3)).events == 4
    at = site.sql("SELECT (extract(epoch FROM min(at)) * 1000000)::bigint FROM dba.audit_events WHERE id IN"
                  " (SELECT max(id) - 1 FROM shield.audit_events)")[0][0]  # fmt: skip
    site.sql("DELETE FROM shield.audit_events WHERE extract(epoch FROM at) * 1000000 < %s", at)
    assert site.verify().count > 5
    report = site.verify(extent=Extent(since_us=at))
    assert (report.findings, report.events) == ([], 2)


def test_what_came_with_a_dump_into_another_cluster_is_sealed_once(site):
    """Transactions numbered anew, above or below those of the dump, are told apart; what no block held is sealed."""
    site.write_events(3)
    site.seal()
    last = site.sql("SELECT max(last_xid)::text::bigint FROM shield.audit_blocks")[0][0]
    # As after pg_restore: the numbers in blocks and some unsealed events are none this cluster has reached.
    site.sql(f"UPDATE shield.audit_events SET xid = (xid::text::bigint + 1000000)::text::xid8 WHERE id < {last * 1000}")
    site.sql("TRUNCATE shield.audit_blocks")
    elsewhere = site.new_sealer(heads=str(site.folder / "elsewhere"))
    site.sealer._database.close()
    _as_of_another_cluster(site, elsewhere)
    site.write_events(2)  # of the new numbering
    site.sql("INSERT INTO shield.audit_events (kind, xid) VALUES ('call.refused', '2000000')")  # unsealed, of the old
    here = site.new_sealer(heads=str(site.folder / "elsewhere"))
    elsewhere._database.close()
    assert sealed_by(here) == 3
    site.write_events(2)
    assert here.step().sealed == 2
    here.export()
    site.heads_path = site.folder / "elsewhere"
    report = site.verify()
    assert (report.findings, report.blocks) == ([], 3)
    found = site.verify_after("UPDATE shield.audit_events SET agent = 'x' WHERE xid = '2000000'").findings
    assert [finding.kind for finding in found] == ["edited"]


def _as_of_another_cluster(site, sealer):
    """Seal what is there as a sealer of the cluster did in which those transactions were finished."""
    call = sealer._database.call

    def elsewhere(function, *arguments):
        if function == "sealing_state":
            return [(row[0], "1", *row[2:]) for row in call(function, *arguments)]
        if function == "unsealed_events":
            return call(function, True, *arguments[1:])
        return call(function, *arguments)

    sealer._database.call = elsewhere
    sealed_by(sealer)
    sealer.export()


@pytest.mark.parametrize(
    ("connections", "commits"), [(6, 50), pytest.param(50, 200, marks=pytest.mark.slow)], ids=["300", "10000"]
)
def test_none_of_many_concurrent_commits_is_missed(site, connections, commits):
    """Events of many connections, some in long transactions and some rolled back, are each in exactly one block."""
    done = threading.Event()
    problems = []

    def write(number):
        with contextlib.closing(site.database.connect()) as connection:
            connection.autocommit = False
            try:
                for turn in range(commits):
                    with connection.cursor() as cursor:
                        cursor.execute(INSERT)
                        if (number + turn) % 10 == 0:  # a long transaction, over many others' commits
                            cursor.execute("SELECT pg_sleep(0.05)")
                    if (number + turn) % 17 == 0:
                        connection.rollback()
                        connection.cursor().execute(INSERT)
                    connection.commit()
            except psycopg2.Error as error:
                problems.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(connections)]
    for writer in writers:
        writer.start()
    threading.Thread(target=lambda: ([writer.join() for writer in writers], done.set()), daemon=True).start()
    sealed = 0
    while not done.is_set():
        sealed += site.sealer.step().sealed
    sealed += site.seal()
    assert problems == []
    assert sealed == site.sql("SELECT count(*) FROM shield.audit_events")[0][0] >= connections * commits
    report = site.verify()
    assert (report.findings, report.events) == ([], sealed)
