"""Who is connected to a port, read from this machine's kernel."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest

from esl_shield.service.doctor import connections


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_others_are_named_and_our_own_left_out(family, host):
    """A connection is told with its program; ours, and one that is only listening or closed, are not."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, 0))
        listener.listen()
        port = listener.getsockname()[1]
        ends = [stack.enter_context(socket.create_connection((host, port))) for _ in range(3)]
        accepted = [stack.enter_context(listener.accept()[0]) for _ in ends]
        gone, ours, theirs = ends
        for connection in (gone, accepted[0]):
            connection.close()
        found = connections.peers(port, frozenset({ours.getsockname()[1]}))
        assert found is not None
        assert [(peer.address, peer.port) for peer in found] == [(host, theirs.getsockname()[1])]
        assert f"process {os.getpid()} ({host})" in str(found[0])


def test_without_the_kernels_table_nothing_is_claimed(tmp_path):
    """Not the same as nobody being there."""
    assert connections.peers(8021, frozenset(), tmp_path) is None
