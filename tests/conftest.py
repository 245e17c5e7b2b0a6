"""Fixtures every test may ask for, one plug-in a subject (``fix_*.py``; tests/ is on the path)."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["fix_hsm", "fix_postgres", "fix_site", "fix_serve"]

# A suite started in the background ignores SIGINT, and so would the processes it starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# An example that takes long on a busy machine is not a wrong one.
settings.register_profile("shield", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shield")
