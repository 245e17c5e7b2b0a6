"""SoftHSM2 in a folder of the run's own, a token for each test, and a module in front that misbehaves as told."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from esl_shield.config.resolver import DeviceConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
SHIM = Path(__file__).parent / "data/pkcs11/shim.c"
PIN = "a PIN 4711-0815"
WRONG_PIN = "no PIN 1234-5678"
PATIENT = DeviceConfig(timeout_s=20.0, open_timeout_s=20.0)  # a busy machine is no slow device
_numbers = itertools.count(1)


@dataclass
class Hsm:
    """A SoftHSM2 with one empty token, seen through the shim."""

    label: str
    folder: Path
    module: Path
    environment: dict[str, str]
    pin_file: Path = field(init=False)
    _told: itertools.count[int] = field(default_factory=lambda: itertools.count(2))

    def __post_init__(self) -> None:
        self.pin_file = self.folder / "pin"
        self.set_pin(PIN)
        self.behave()

    def uri(self, name: str = "kek", *, direct: bool = False, **more: str) -> str:
        """The URI of a KEK; ``direct`` leaves the shim out (in other processes only)."""
        path = ";".join(f"{key}={value}" for key, value in {"token": self.label, "object": name, **more}.items())
        module = SOFTHSM if direct else self.module
        return f"pkcs11:{path};type=secret-key?module-path={module}&pin-source=file:{self.pin_file}"

    def set_pin(self, pin: str) -> None:
        """Put a PIN into the file, as an operator does."""
        fresh = self.pin_file.with_suffix(".new")
        fresh.write_text(pin + "\n")
        fresh.chmod(0o400)
        fresh.rename(self.pin_file)

    def behave(self, *lines: str) -> None:
        """Tell the shim what to do from now on; nothing is to behave."""
        control = Path(self.environment["SHIM_CONTROL"])
        fresh = control.with_suffix(".new")
        fresh.write_text("\n".join([str(next(self._told)), *lines]) + "\n")
        fresh.rename(control)
        Path(self.environment["SHIM_LOG"]).write_text("")

    def calls(self, name: str) -> list[str]:
        """What was logged of a function's calls since ``behave``."""
        lines = Path(self.environment["SHIM_LOG"]).read_text().splitlines()
        return [line.split()[1] for line in lines if line.split()[0] == name]

    def tool(self, *arguments: str) -> str:
        """Run OpenSC's pkcs11-tool as this token's user; tests alone put a PIN on a command line."""
        command = ["pkcs11-tool", "--module", SOFTHSM, "--token-label", self.label, "--login", "--pin", PIN]
        done = subprocess.run([*command, *arguments], env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which the shim finds SoftHSM2, and SoftHSM2 its tokens; set in this process too."""
    missing = [tool for tool in ("softhsm2-util", "pkcs11-tool", "gcc") if not shutil.which(tool)]
    if missing or not Path(SOFTHSM).exists():
        reason = f"SoftHSM2 is needed (apt-get install softhsm2 opensc gcc); missing: {missing or SOFTHSM}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    module = folder / "shim.so"
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", module, SHIM, "-ldl"], check=True
    )
    wanted = {
        "SOFTHSM2_CONF": str(folder / "softhsm2.conf"), "SHIM_TARGET": SOFTHSM, "SHIM_CONTROL": str(folder / "control"),
        "SHIM_LOG": str(folder / "log"),
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    yield {**os.environ, **wanted}
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def make_token(softhsm: dict[str, str], label: str) -> None:
    """Make an empty token."""
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "so " + PIN],
        env=softhsm, check=True, capture_output=True,
    )  # fmt: skip


def make_hsm(softhsm: dict[str, str], folder: Path) -> Hsm:
    """Make a token; ``folder`` is for its PIN's file."""
    label = f"test-{next(_numbers)}"
    make_token(softhsm, label)
    return Hsm(label, folder, Path(softhsm["SOFTHSM2_CONF"]).parent / "shim.so", softhsm)


@pytest.fixture
def hsm(softhsm: dict[str, str], tmp_path: Path) -> Iterator[Hsm]:
    """A token of this test's own."""
    made = make_hsm(softhsm, tmp_path)
    yield made
    made.behave()
