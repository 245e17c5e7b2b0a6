"""docs/compliance.md claims nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from esl_shield.cli.main import root

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compliance.md").read_text()
CODE = re.findall(r"`([^`]+)`", PAGE)


@pytest.mark.parametrize("place", sorted({code for code in CODE if code.startswith("tests/")}))
def test_every_proof_is_there(place):
    """A test that is named exists."""
    assert (ROOT / place).exists()


@pytest.mark.parametrize("command", sorted({code for code in CODE if code.startswith("esl-shield ")}))
def test_every_command_is_there(command):
    """A command that is named is known, with its options."""
    words = [word for word in command.split()[1:] if re.fullmatch(r"[a-z]+", word)]
    options = re.findall(r"--[a-z-]+", command)
    shown = CliRunner().invoke(root, [*words[:2], "--help"] if options or len(words) > 1 else [*words, "--help"])
    assert shown.exit_code == 0, shown.output
    assert all(option in shown.output for option in options)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_every_link_leads_somewhere(link):
    """A page that is named exists, and has the heading."""
    page, _, heading = link.partition("#")
    text = (ROOT / "docs" / page).read_text()
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    assert not heading or heading in headings
