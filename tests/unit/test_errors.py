"""The catalogue of errors."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

from esl_shield import errors

NAMES = [module.name for module in pkgutil.iter_modules(errors.__path__)]
MODULES = [importlib.import_module(f"esl_shield.errors.{name}") for name in NAMES]
CONCRETE = [
    value
    for module in MODULES
    for _, value in inspect.getmembers(module, inspect.isclass)
    if value.__module__ == module.__name__ and "error_id" in vars(value)
]


@pytest.mark.parametrize("error", CONCRETE, ids=lambda e: e.__name__)
def test_each_error_has_an_id_and_one_sentence(error):
    """The id is ``area.reason`` and the sentence is one line ending in a full stop."""
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", error.error_id)
    assert "\n" not in error.sentence
    assert error.sentence.rstrip().endswith(".")
    assert error.exit_code in (1, 2, 3)
    assert error.__doc__


def test_ids_are_unique():
    """Two errors never share an id."""
    ids = [error.error_id for error in CONCRETE]
    assert len(ids) == len(set(ids))


def test_the_catalogue_is_in_the_docs():
    """docs/errors.md lists every id with its sentence and exit code, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    rows = {line for line in page.splitlines() if line.startswith("| `")}
    expected = {
        f"| `{error.error_id}` | {error.exit_code} | {error.sentence.replace('|', chr(92) + '|')} |"
        for error in CONCRETE
    }
    assert rows == expected
