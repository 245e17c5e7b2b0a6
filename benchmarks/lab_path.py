"""Makes the tests' laboratory importable by a benchmark: the real FreeSWITCH, the edge, SIPp's scenarios. Import it first."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"

sys.path.extend(str(TESTS / folder) for folder in ("", "edge", "freeswitch"))
