"""A running edge; without Kamailio this folder's tests are skipped, in CI they fail."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from edge_lab import KAMAILIO
from edge_stage import Stage
from name_server import NameServer
from polling import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this folder's tests where there is no Kamailio, unless that would hide a hole in CI."""
    if shutil.which(KAMAILIO) or os.environ.get("CI") == "true":
        return
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.skip(reason=f"{KAMAILIO} is not there"))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One edge for all tests that do not stop it."""
    stage = Stage(tmp_path_factory.mktemp("edge"))
    yield stage
    stage.close()


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """The running edge; when the test ends, nothing FreeSWITCH's side received and no line logged holds a number."""
    running.forget()
    yield running
    assert running.findings() == []
    assert running.logged() == []


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Make a stage with these lines of carriers.list; all are searched and ended afterwards."""
    stages: list[Stage] = []

    def make(*lines: str, tls: str = "", nameserver: str = "") -> Stage:
        stages.append(Stage(tmp_path / "edge", lines, tls=tls, nameserver=nameserver))
        return stages[-1]

    yield make
    for stage in stages:
        found = stage.findings() + stage.logged()
        stage.close()
        assert found == []


@pytest.fixture
def names() -> Iterator[NameServer]:
    """A name server, where this process may give an edge a resolv.conf of its own."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to a mount namespace, so no name server of our own")
    try:
        server = until(_name_server, "another test process gives port 53 back", within_s=60)
    except PermissionError as error:
        pytest.skip(f"no name server on port 53: {error}")
    server.start()
    yield server
    server.stop()


def _name_server() -> NameServer | None:
    try:
        return NameServer()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return None
