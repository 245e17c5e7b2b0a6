"""One private FreeSWITCH for all tests of this folder; without ``FREESWITCH`` they are skipped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import FreeSwitch, Ports, Tap
from stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARY = os.environ.get("FREESWITCH", "")
FOLDER = Path(__file__).parent
_measured: list[str] = []


def pytest_configure() -> None:
    """With FREESWITCH given, a missing tool is an error, not a reason to skip."""
    missing = [tool for tool in (BINARY, "sipp") if not shutil.which(tool)]
    if BINARY and missing:
        pytest.exit(f"test-freeswitch: {', '.join(missing)} cannot be run (sipp: Debian's sip-tester)", returncode=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, and skip them when there is no FreeSWITCH to run them with."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.freeswitch)
            if not BINARY:
                item.add_marker(pytest.mark.skip(reason="FREESWITCH names no binary"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, the table of occurrences last."""
    for line in _measured:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def measured() -> list[str]:
    """Lines for the end of the run's output."""
    return _measured


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
