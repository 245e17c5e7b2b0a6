"""A server on a free port, taken down after the test."""

from __future__ import annotations

import pytest
from esl_worker import KEEP, full

from esl_shield.config.calls import EslConfig
from esl_shield.config.values import Address
from esl_shield.esl.server import Server


@pytest.fixture
def serve():
    """Start servers; all are drained at the end."""
    servers = []

    def start(handle, *, overflow=full, listener=None, **config):
        options = {"listen": Address("127.0.0.1", 0), "command_timeout_s": 2.0} | config
        server = Server(EslConfig(**options), handle, overflow, keep=KEEP, listener=listener)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.drain(0)
