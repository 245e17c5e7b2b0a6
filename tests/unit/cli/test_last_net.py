"""What a command says when the operating system or a defect ends it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from esl_shield.cli import main as cli

NUMBER = "442079460123"


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "esl_shield", *arguments], stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        **{"stdout": subprocess.PIPE} | options,
    )  # fmt: skip


def ended_with(monkeypatch, capsys, error):
    """What main says on stderr when a command raises, and the exit code."""

    def fail(**_):
        raise error

    monkeypatch.setattr(cli.root, "main", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return capsys.readouterr().err, caught.value.code


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
def test_a_full_disk_is_one_sentence():
    """What stdout does not take is said on stderr; exit code 2, no traceback."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = run("--help", stdout=full)
    assert done.returncode == 2
    assert done.stderr == (
        "esl-shield: The operating system refused to go on: No space left on device. [process.os_error]\n"
    )


def test_a_file_the_system_refuses_is_named(monkeypatch, capsys):
    """The sentence names the file and the reason."""
    said, code = ended_with(monkeypatch, capsys, PermissionError(13, "Permission denied", "/srv/out.csv"))
    assert code == 2
    assert said == (
        "esl-shield: The operating system refused to go on at '/srv/out.csv': Permission denied. [process.os_error]\n"
    )


@pytest.mark.parametrize("name", [f"/srv/{NUMBER}.csv", f"/srv/{NUMBER}.csv".encode(), 7, None])
def test_a_file_named_like_a_number_is_not(monkeypatch, capsys, name):
    """A name that may hold a telephone number is left out."""
    said, code = ended_with(monkeypatch, capsys, FileNotFoundError(2, "No such file or directory", name))
    assert code == 2
    assert "refused to go on: No such file" in said
    assert NUMBER not in said


def test_the_unexpected_is_a_type_and_places(monkeypatch, capsys):
    """A defect says of which type it is and where it happened, never with what."""
    said, code = ended_with(monkeypatch, capsys, RuntimeError(NUMBER))
    assert code == 2
    assert len(said.splitlines()) == 1
    assert "An unexpected RuntimeError ended the command at test_last_net.py:" in said
    assert said.endswith("[process.unexpected]\n")
    assert NUMBER not in said


def test_the_demo_keeps_its_files_only_in_an_empty_folder(tmp_path):
    """A folder with anything in it is refused before anything starts."""
    (tmp_path / "precious").touch()
    done = run("demo", "--keep", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_the_demo_says_when_its_folder_cannot_be_made():
    """A folder nobody can make is one sentence."""
    done = run("demo", "--keep", "/proc/esl-shield-demo")
    assert done.returncode == 2
    assert done.stderr.startswith("esl-shield: The operating system refused to go on at '/proc/esl-shield-demo':")
    assert "Traceback" not in done.stderr
