"""What the tests of keys that change share: permits redeemed without a pause, and the job that moves rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from resolver_process import NUMBERS


class Calls(threading.Thread):
    """Authorises and redeems calls one after the other until it is stopped; keeps every answer that was wrong."""

    def __init__(self, resolver, vault) -> None:
        super().__init__()
        self._resolver, self._vault = resolver, vault
        self._over = threading.Event()
        self.made, self.wrong = 0, []
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            answer = self._resolver.edge(self._vault.permit())
            self.made += 1
            if (answer.status, answer.body) != (200, NUMBERS["mobile"]):
                self.wrong.append(answer.status)

    def more(self, until) -> None:
        """Return when some more calls were made."""
        before = self.made
        until(lambda: self.made > before + 3 or not self.is_alive())

    def stop(self) -> None:
        self._over.set()
        self.join()


class Job:
    """``keys reencrypt`` as a process of its own, ``kek`` by its URI."""

    def __init__(self, folder: Path, login, kek: str, rate: int, section: str = "") -> None:
        path = folder / "rekeyer.toml"
        path.write_text(f'[database]\nurl = "{login.url}"\n[keys]\nkek = "{kek}"\n{section}')
        path.chmod(0o600)
        self._command = [
            sys.executable, "-m", "esl_shield", "--config", str(path), "keys", "reencrypt", "--rate", str(rate),
        ]  # fmt: skip
        self._environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}

    def kill_midway(self, vault, until) -> None:
        """Run it until it has changed rows, and kill it."""
        job = subprocess.Popen(self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: vault.one("SELECT changed FROM shield.rekeyings") or job.poll() is not None, 60)
        ended = job.poll()
        job.send_signal(signal.SIGKILL)
        _, said = job.communicate()
        assert ended is None, said.decode()

    def run(self) -> None:
        """Run it to its end."""
        done = subprocess.run(
            self._command, env=self._environment, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, done.stderr


def move_rows(job: Job, calls: Calls, vault, rows: int, until) -> None:
    """Have all rows moved by a job that is killed midway and run again, calls going on; the older key is free then."""
    calls.more(until)
    job.kill_midway(vault, until)
    assert 0 < vault.one("SELECT count(*) FROM shield.tokens WHERE key_version = 2") < rows
    calls.more(until)
    job.run()
    assert vault.one("SELECT count(*) FROM shield.tokens WHERE key_version = 1") == 0
    calls.more(until)
    # It may be destroyed a while after its last row: let that while pass.
    for table, column in (("data_keys", "created_at"), ("rekeyings", "finished_at")):
        vault.one(f"UPDATE shield.{table} SET {column} = {column} - interval '1 minute'")
