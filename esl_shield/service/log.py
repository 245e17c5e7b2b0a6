"""Logs as logfmt lines on stderr, for every process.

Invariants: an exception is logged as its type and the places it passed, never its text or its variables: both may hold
a number; every run of seven and more digits is masked, whoever logged it (a net below the rule that no log call is
given a number, not a replacement for it); one event at most MAX_PER_SECOND times a second, so that nobody fills a disk
by asking wrongly. What Python and gevent would print of an unhandled exception goes the same way.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

MAX_PER_SECOND = 20
MAX_EVENTS = 1000
MAX_FRAMES = 6
_UUID_OR_DIGITS = re.compile(r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})|\+[0-9][0-9 ().-]{5,}|[0-9]{7,}")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@<+\-\[\]]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

LOG = logging.getLogger(__name__)


def set_up(process: str, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send every log record of this process to ``stream`` (stderr), and unhandled exceptions with them."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Logfmt(process))
    handler.addFilter(Throttle())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # else a failing handler prints the record's arguments
    sys.excepthook = _log_unhandled
    sys.unraisablehook = lambda event: _log_unhandled(event.exc_type, event.exc_value, event.exc_traceback)
    threading.excepthook = lambda event: _log_unhandled(event.exc_type, event.exc_value, event.exc_traceback)


def quiet_hub(hub: Any) -> None:
    """Make a gevent hub log what a greenlet did not catch as we log exceptions, instead of printing the traceback."""

    def log_unhandled(_context: object, *error: Any) -> None:
        _log_unhandled(*error)

    hub.print_exception = log_unhandled


def mask(text: str) -> str:
    """Replace what could be a telephone number; UUIDs stay."""
    return _UUID_OR_DIGITS.sub(lambda match: match[1] or "***", text)


class Logfmt(logging.Formatter):
    """``at=... level=info process=resolver event=resolver.answer reason=permit``: one line, no control characters."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Spell a record; its ``fields`` (a mapping given as ``extra``) follow the event's name."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        pairs = {"level": record.levelname.lower(), "process": self._process, "logger": record.name}
        pairs["event"] = record.getMessage()
        fields: Mapping[str, object] = getattr(record, "fields", {})
        pairs |= {name: str(value) for name, value in fields.items() if value not in ("", None)}
        if record.exc_info and record.exc_info[0]:
            pairs |= _describe(record.exc_info[0], record.exc_info[2])
        return f"at={at} " + " ".join(f"{name}={_quote(mask(value))}" for name, value in pairs.items())


class Throttle(logging.Filter):
    """Lets each event through MAX_PER_SECOND times a second and then says how many it held back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._second = 0
        self._counts: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record may pass; errors always may."""
        second, held_back = int(self._clock()), 0
        key = (record.name, str(record.msg))
        if second != self._second:
            held_back = max(0, self._counts.get(key, 0) - MAX_PER_SECOND)
            self._second, self._counts = second, {}
        if held_back:
            record.fields = {**getattr(record, "fields", {}), "held_back": held_back}
        if len(self._counts) < MAX_EVENTS or key in self._counts:
            self._counts[key] = self._counts.get(key, 0) + 1
        return record.levelno >= logging.ERROR or self._counts.get(key, MAX_PER_SECOND + 1) <= MAX_PER_SECOND


def _log_unhandled(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
    if kind is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    LOG.critical("process.unhandled", exc_info=(kind, error or kind(), trace))


def _describe(kind: type[BaseException], trace: TracebackType | None) -> dict[str, str]:
    frames = traceback.extract_tb(trace)[-MAX_FRAMES:]
    places = "<".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    described = {"error": kind.__name__, "error_id": getattr(kind, "error_id", "process.unexpected")}
    return described | ({"places": places} if places else {})


def _quote(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", escaped) + '"'
