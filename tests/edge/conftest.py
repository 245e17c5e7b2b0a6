"""A running edge; without Kamailio this folder's tests are skipped, in CI they fail."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from edge_lab import KAMAILIO
from edge_stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator


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
