"""What a process writes about itself."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest

from esl_shield.errors.keys import CipherDamaged
from esl_shield.service.log import MAX_EVENTS, MAX_PER_SECOND, Logfmt, Throttle, mask

CANARY = "+8613800138777"
DIGITS = CANARY[1:]
CALL = "01234567-1234-1234-1234-123456789012"


@pytest.fixture
def logger():
    """A logger of its own with our formatter; ``.written`` is what it wrote."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Logfmt("resolver"))
    logger = logging.getLogger("test.service.log")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG)
    logger.written = stream.getvalue
    return logger


def test_a_line_is_pairs_with_the_event_and_its_fields(logger):
    """Time, level, process, event and fields come as name=value, quoted where needed, empty ones left out."""
    logger.info("resolver.answer", extra={"fields": {"reason": "permit", "call": CALL, "gateway": "a b", "none": ""}})
    line = logger.written()
    assert line.startswith("at=20")
    assert line.endswith(
        "level=info process=resolver logger=test.service.log event=resolver.answer "
        f'reason=permit call={CALL} gateway="a b"\n'
    )


@pytest.mark.parametrize("value", ["a\nlevel=error", "a\r", "\x1b[2J", "a\u2028b", 'say "x"', "back\\slash"])
def test_a_value_cannot_forge_a_line(logger, value):
    """Control characters and quotes are escaped: one record is one line."""
    logger.info("event", extra={"fields": {"value": value}})
    assert len(logger.written().splitlines()) == 1
    assert "\x1b" not in logger.written()


@pytest.mark.parametrize("text", [CANARY, DIGITS, "+86 138 0013 8777", "+86-138-0013-8777", f"sip:{CANARY}@h:5080"])
def test_what_looks_like_a_number_is_masked(logger, text):
    """Whoever logs it, as message, argument or field."""
    logger.info(f"x {text}")  # noqa: G004
    logger.info("x %s", text)
    logger.info("x", extra={"fields": {"y": text}})
    assert "8777" not in logger.written()
    assert mask(f"call={CALL} port=8090 127.0.0.1:8090") == f"call={CALL} port=8090 127.0.0.1:8090"


def test_an_exception_is_its_type_and_places(logger):
    """Neither its text nor the text of what caused it is written."""
    try:
        try:
            int(CANARY + "x")
        except ValueError as error:
            raise RuntimeError(CANARY) from error
    except RuntimeError:
        logger.exception("resolver.unexpected")
    line = logger.written()
    assert "error=RuntimeError error_id=process.unexpected places=test_service_log.py:" in line
    assert DIGITS not in line
    assert "invalid literal" not in line


def test_our_errors_are_named_by_their_id(logger):
    """An error of ours is found in the documentation by its id."""
    try:
        raise CipherDamaged  # noqa: TRY301
    except CipherDamaged:
        logger.exception("x")
    assert "error_id=cipher.damaged" in logger.written()


def record(message: str = "x", level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("l", level, "", 0, message, (), None)


def test_one_event_does_not_fill_the_disk():
    """After so many a second an event is held back, others are not, and the next second says how many were."""
    now = [0.0]
    throttle = Throttle(clock=lambda: now[0])
    passed = [throttle.filter(record()) for _ in range(MAX_PER_SECOND + 5)]
    assert sum(passed) == MAX_PER_SECOND
    assert throttle.filter(record("y"))
    assert throttle.filter(record(level=logging.ERROR))
    now[0] = 1.0
    first = record()
    assert throttle.filter(first)
    assert first.fields["held_back"] == 6
    for number in range(2 * MAX_EVENTS):
        throttle.filter(record(str(number)))
    assert len(throttle._counts) <= MAX_EVENTS


PROGRAM = f"""
import logging, sys, threading, warnings, gevent
from esl_shield.service import log
log.set_up("worker")
log.quiet_hub(gevent.get_hub())
number = "{CANARY}"
def fail(): raise ValueError(number)
class Unraisable:
    def __del__(self): fail()
gevent.spawn(fail).join()
gevent.get_hub().threadpool.spawn(fail).wait()
thread = threading.Thread(target=fail); thread.start(); thread.join()
warnings.warn(number)
logging.getLogger("third.party").error("%d %s", number)
Unraisable()
fail()
"""


def test_nothing_unhandled_is_printed_with_its_values():
    """Greenlets, threads, destructors, warnings, broken log calls and the main program end in a type, not a text."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert DIGITS not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("error=ValueError") >= 4
    assert all(line.startswith("at=") for line in result.stderr.splitlines())
