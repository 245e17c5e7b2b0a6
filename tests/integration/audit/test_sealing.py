"""Sealing: events of finished transactions into signed, chained blocks, none missed, none twice."""

from __future__ import annotations

from esl_shield.audit import blocks, events, merkle


def test_events_are_sealed_in_order(site):
    """Every event is in one block, and the block vouches for what PostgreSQL's COPY shows of them."""
    site.write_events(5)
    there = site.sql("SELECT count(*) FROM shield.audit_events")[0][0]
    assert site.seal() == there
    (header, signature, entries, leaves), = site.sql("SELECT header, signature, entries, leaves FROM dba.audit_blocks")
    block = blocks.Block.parse(header, signature)
    assert site.signer.public.signed(blocks.signed_message(header), bytes(signature))
    print(header)
    assert block.count == there
    assert merkle.root(bytes(leaves)).hex() == block.fields["root"]
