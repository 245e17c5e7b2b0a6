"""Cursors: where the next page of a list begins, opaque to whoever gets one.

Invariants: a cursor holds nothing the list did not show; one this API did not give is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from esl_shield.api.checking import moment
from esl_shield.errors.api import ApiInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PAGE = 100
_MOMENT_AND_ID = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?\+00:00) "
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)  # as PostgreSQL writes them, since PostgreSQL reads them again
_TOKEN = re.compile(r"[0-9]{8,20}")


def page_of(found: list[Any], limit: int, name: str, *cursor: str) -> dict[str, Any]:
    """Return a page's body; of the rows found, one more than ``limit`` says that there is a next page.

    ``cursor`` names the fields of the last row that the next page begins after.
    """
    shown = found[:limit]
    following = _write(" ".join(shown[-1][field] for field in cursor)) if len(found) > limit else None
    return {name: shown, "next": following}


def after_moment(parameters: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the moment and id the page asked for begins after, Nones for the first; raises ApiInvalid."""
    if "cursor" not in parameters:
        return None, None
    match = _read(parameters["cursor"], _MOMENT_AND_ID)
    moment(match[1], "parameter cursor")
    return match[1], match[2]


def after_token(parameters: Mapping[str, Any]) -> str | None:
    """Return the token the page asked for begins after, None for the first; raises ApiInvalid."""
    return _read(parameters["cursor"], _TOKEN)[0] if "cursor" in parameters else None


def _write(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode("ascii")


def _read(text: str, form: re.Pattern[str]) -> re.Match[str]:
    try:
        match = form.fullmatch(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii"))
    except (binascii.Error, ValueError):
        match = None
    if match is None:
        raise ApiInvalid(where="parameter cursor", problem="is not one this API gave")
    return match
