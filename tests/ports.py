"""Ports for the tests' servers, which several test processes draw at the same time.

Invariants: no process draws what another may have drawn: each holds a block of its own, by an abstract Unix socket that
goes with it; the blocks lie below the kernel's ephemeral ports, so that no client's connection takes a drawn one.
"""

from __future__ import annotations

import functools
import itertools
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
_FIRST, _BLOCK, _BLOCKS = 10000, 315, 20
_held: list[socket.socket] = []
_kept: set[int] = set()


def free_port() -> int:
    """A port on loopback that neither UDP nor TCP holds now."""
    ports = _ports()
    for _ in range(_BLOCK):
        port = next(ports)
        if port in _kept:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind((HOST, port))
                tcp.bind((HOST, port))
            except OSError:
                continue
        return port
    message = "every port of this process's block is taken"
    raise AssertionError(message)


def kept_port() -> int:
    """A free port that nobody else is given afterwards: for a server that others look for while it is not there."""
    port = free_port()
    _kept.add(port)
    return port


@functools.cache
def _ports() -> Iterator[int]:
    """The ports of the first block nobody else holds, round and round."""
    for turn in range(_BLOCKS):
        block = (os.getpid() + turn) % _BLOCKS
        hold = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            hold.bind(f"\0esl-shield-test-ports-{block}")
        except OSError:
            hold.close()
            continue
        _held.append(hold)
        return itertools.cycle(range(_FIRST + block * _BLOCK, _FIRST + (block + 1) * _BLOCK))
    message = "too many test processes at the same time: no block of ports is left"
    raise AssertionError(message)
