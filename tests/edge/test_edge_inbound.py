"""Calls from customers as calls: masked on the way in, every message of both sides on its way, under the right names."""

from __future__ import annotations

import re
import uuid

import pytest
from inbound_stage import DID, InboundStage
from sip_peer import SDP, uri_of


@pytest.fixture(scope="module")
def inbound(tmp_path_factory):
    """One edge for this module."""
    stage = InboundStage(tmp_path_factory.mktemp("edge"))
    yield stage
    stage.close()


@pytest.fixture
def stage(inbound):
    """The running edge; afterwards neither side has seen of the other what it must not, nor has the log."""
    inbound.forget()
    yield inbound
    assert inbound.findings() == []
    assert inbound.logged() == []


def test_the_agents_side_is_told_the_token(stage):
    """From is the token, Request-URI and To are the DID, the Call-ID is a UUID of the edge's own."""
    calling = stage.ring()
    invite = calling.inner
    assert invite.uri == f"sip:{DID}@{calling.switch.host}:{calling.switch.port}"
    assert uri_of(invite["from"]) == f"sip:{calling.token}@127.0.0.1:{stage.edge.inside[1]}"
    assert uri_of(invite["to"]) == f"sip:{DID}@{calling.switch.host}"
    assert str(uuid.UUID(invite["call-id"])) == invite["call-id"]
    assert invite.names == {
        "via", "from", "to", "call-id", "cseq", "max-forwards", "contact", "content-type", "content-length", "allow",
    }  # fmt: skip
    assert len(invite.all("via")) == 1
    form = {"number": calling.number, "did": DID, "call": invite["call-id"]}
    assert stage.resolver.forms == [form]
    calling.answer()
    calling.hang_up()
