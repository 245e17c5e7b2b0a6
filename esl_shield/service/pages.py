"""``GET /metrics`` and ``GET /healthz`` of a process that has no other HTTP listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent.pywsgi import WSGIServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esl_shield.config import Address


class Pages:
    """A loopback listener with two pages."""

    def __init__(self, listen: Address, metrics_page: Callable[[], bytes]) -> None:
        self._metrics_page = metrics_page
        self._server = WSGIServer((listen.host, listen.port), self._answer, log=None, error_log=None)

    def start(self) -> None:
        """Answer."""
        self._server.start()

    def stop(self) -> None:
        """Close the listener."""
        self._server.stop(1)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        pages: dict[str, Callable[[], bytes]] = {"/metrics": self._metrics_page, "/healthz": lambda: b"ok\n"}
        page = pages.get(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "GET" else None
        start_response("200 OK" if page else "404 Not Found", [("Content-Type", "text/plain; version=0.0.4")])
        return [page() if page else b"not found\n"]
