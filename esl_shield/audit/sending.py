"""Heads of blocks to an address off the machine, by HTTP POST.

Invariants: heads go out in the order of their blocks and count as sent once the other side said 2xx, so each arrives
at least once; nothing is kept in memory but the one request, what waits stays in the database.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from esl_shield.audit.sealing import read_heads_after
from esl_shield.errors.sealing import HeadsRefused

if TYPE_CHECKING:
    from esl_shield.db.engine import Database

TIMEOUT_S = 10.0
MOST_HEADS = 500
TYPE = "application/x-ndjson"


class HeadSender:
    """Sends heads to one address; ``secret`` goes along as a bearer token."""

    def __init__(self, url: str, secret: bytes | None, database: Database, public_key: str) -> None:
        self._url = url
        self._secret = secret
        self._database = database
        self._public_key = public_key

    def send(self, after: int, up_to: int) -> int:
        """Send the next heads after one block, none beyond another; returns the last one's number.

        Raises HeadsRefused, DatabaseAway, DatabaseRefused.
        """
        heads = read_heads_after(self._database, after, self._public_key, min(MOST_HEADS, up_to - after))
        if heads:
            self._post("".join(f"{head.line}\n" for head in heads).encode())
        return heads[-1].block.number if heads else up_to

    def close(self) -> None:
        """Close its connection to the database."""
        self._database.close()

    def _post(self, body: bytes) -> None:
        import gevent  # noqa: PLC0415 - commands that read heads need no gevent

        problem = gevent.get_hub().threadpool.apply(_post, (self._url, self._secret, body))
        if problem:
            raise HeadsRefused(problem=problem)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nothing: the secret is for the address the configuration names."""


def _post(url: str, secret: bytes | None, body: bytes) -> str:
    """Post from a thread; returns what went wrong, empty if nothing did."""
    headers = {"Content-Type": TYPE} | ({"Authorization": f"Bearer {secret.decode()}"} if secret else {})
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - the configuration allows http(s)
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            response.read(1024)
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", "") or type(error).__name__)
    return ""
