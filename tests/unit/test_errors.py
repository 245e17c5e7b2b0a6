"""The catalogue of errors."""

from __future__ import annotations

import inspect
import re

import pytest

from esl_shield import errors

CONCRETE = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, errors.ShieldError) and "error_id" in vars(value)
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
