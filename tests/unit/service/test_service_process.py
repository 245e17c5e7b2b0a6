"""Hardening and metrics."""

from __future__ import annotations

import subprocess
import sys

import pytest

from esl_shield.service.metrics import ResolverMetrics, WorkerMetrics

PROGRAM = """
import ctypes, os, resource
from esl_shield.service.hardening import harden
harden()
libc = ctypes.CDLL(None)
umask = os.umask(0)
print(libc.prctl(3, 0, 0, 0, 0), libc.prctl(39, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE), oct(umask))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_hardened_process_dumps_nothing():
    """No core file, no tracing by its own user, no new privileges, files for nobody else."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "0 1 (0, 0) 0o77\n"


def test_the_resolvers_metrics_count_by_fixed_words():
    """An answer adds to its count and its histogram; labels are the answer and the reason."""
    metrics = ResolverMetrics()
    metrics.answered("refused", "permit", 0.004)
    metrics.answered("number", "redeemed", 0.004)
    page = metrics.page().decode()
    assert 'esl_shield_resolver_answers_total{answer="refused",reason="permit"} 1.0' in page
    assert 'esl_shield_resolver_answer_seconds_bucket{answer="number",le="0.005"} 1.0' in page
    assert "process_resident_memory_bytes" in page


def test_the_workers_metrics_follow_a_call():
    """Events are counted by kind and reason, handoffs timed, and what is watched is read when the page is asked for."""
    metrics = WorkerMetrics()
    live = [3]
    metrics.watch("esl_shield_worker_open_calls", lambda: live[0])
    metrics.count("finished", "BUSY")
    metrics.handed_off(0.003)
    live[0] = 2
    page = metrics.page().decode()
    assert 'esl_shield_worker_calls_total{outcome="busy",tenant="other"} 1.0' in page
    assert 'esl_shield_worker_handoff_seconds_bucket{le="0.004"} 1.0' in page
    assert "esl_shield_worker_open_calls 2.0" in page
