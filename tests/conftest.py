"""Fixtures every test may ask for, one plug-in a subject (``fix_*.py``; tests/ is on the path)."""

from __future__ import annotations

pytest_plugins = ["fix_postgres", "fix_site"]
