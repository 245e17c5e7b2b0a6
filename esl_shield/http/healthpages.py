"""``GET /livez``, ``/readyz`` and ``/healthz``: whether a process lives, and whether it could do its work now.

Invariants: an answer to ``/livez`` asks nobody; the others say of each part ``ok`` or a word of ours; who restarts
processes asks ``/livez``, who sends them work asks ``/readyz``: a database that is away mends by no restart. Without
gevent, as the supervisor is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from esl_shield.http.messages import Reply, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esl_shield.errors import ShieldError

OK = "ok"
_OF_KEYS = ("keys", "device", "pin")
JSON_TYPE = "application/json"

Parts = dict[str, str]


def answer_health(target: str, parts: Callable[[], Parts], *, closing: bool) -> Reply | None:
    """Answer one of the three pages; None when it is none of them."""
    if target == "/livez":
        return _page("200 OK", {"live": True}, closing=closing)
    if target not in ("/readyz", "/healthz"):
        return None
    found = parts()
    ready = all(state == OK for state in found.values())
    body = {"live": True, "ready": ready, "parts": found}
    if ready:
        return _page("200 OK", body, closing=closing)
    return _page("503 Service Unavailable", body, closing=True)


def database_and_keys(problem: ShieldError | None) -> Parts:
    """Return both parts, the one that a problem is of with its error's id."""
    found = {"database": OK, "keys": OK}
    if problem is not None:
        area = problem.error_id.partition(".")[0]
        found["keys" if area in _OF_KEYS else "database"] = problem.error_id
    return found


def _page(status: str, body: Mapping[str, object], *, closing: bool) -> Reply:
    data = json.dumps(body, sort_keys=True).encode("ascii") + b"\n"
    return Reply(reply(status, data, close=closing, content_type=JSON_TYPE), close=closing)
