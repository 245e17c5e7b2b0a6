"""One private FreeSWITCH for all tests of this folder; without ``FREESWITCH`` they are skipped."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from lab import FreeSwitch, Ports, Tap
from stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BINARY = os.environ.get("FREESWITCH", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, and skip them when there is nothing to run them with."""
    missing = next((tool for tool in (BINARY or "FREESWITCH", "sipp") if not shutil.which(tool)), None)
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.freeswitch)
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"{missing} is not there"))


@pytest.fixture(scope="session")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeSwitch]:
    """FreeSWITCH with our dialplan, log level debug, and every CDR module writing both legs."""
    switch = FreeSwitch(BINARY, tmp_path_factory.mktemp("freeswitch"), Ports(), b_leg_cdrs=True)
    yield switch
    switch.stop()


@pytest.fixture(scope="session")
def tap(switch: FreeSwitch) -> Iterator[Tap]:
    """A listener that sees every event."""
    tap = Tap(switch.ports.esl)
    yield tap
    tap.close()


@pytest.fixture
def stage(switch: FreeSwitch, tmp_path: Path) -> Iterator[Stage]:
    """A test's carriers, agents and stand-ins."""
    with Stage(switch, tmp_path) as stage:
        yield stage
        switch.esl.api("hupall NORMAL_CLEARING")
        switch.quiet()
