"""The root command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from esl_shield.cli.main import COMMANDS


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "esl_shield", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_help_lists_every_command_without_a_configuration():
    """`--help` needs no file and names all commands."""
    done = run("--help")
    assert done.returncode == 0
    assert all(f"  {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    """Each command's help can be read without a configuration."""
    done = run(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: esl-shield {name}")


def test_an_unknown_command_is_not_repeated():
    """A number typed in the wrong place is not echoed into a terminal's log; exit code 2."""
    done = run("+442079460123")
    assert done.returncode == 2
    assert "no such command" in done.stderr
    assert "7946" not in done.stdout + done.stderr


def test_without_a_configuration_one_sentence_says_how_to_name_it():
    """A command that needs a file says so on stderr and ends with 2."""
    done = run("worker")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--config FILE or set ESL_SHIELD_CONFIG" in done.stderr
    assert "Traceback" not in done.stderr
