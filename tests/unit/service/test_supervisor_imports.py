"""What the supervisor is made of."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = ("gevent", "psycopg2", "sqlalchemy", "Crypto", "cryptography")


def test_the_supervisor_has_no_gevent_no_database_and_no_keys():
    """Importing all of it brings in nothing that a fork could break or that could hold a secret."""
    code = (
        "import sys, esl_shield.cli.serve, esl_shield.service.supervisor.supervisor;"
        f"print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
