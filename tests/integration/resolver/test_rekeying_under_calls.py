"""Keys rotated and rewrapped, rows re-encrypted, while a real resolver redeems permits without a pause."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from resolver_process import NUMBERS

from esl_shield.vault import keylife
from esl_shield.vault.keks import Keks
from esl_shield.vault.keys import Kek

ROWS = 400


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


def rekeyer_command(folder: Path, login, kek: Path, *more: str) -> list[str]:
    path = folder / "rekeyer.toml"
    path.write_text(f'[database]\nurl = "{login.url}"\n[keys]\nkek = "file:{kek}"\n')
    path.chmod(0o600)
    return [sys.executable, "-m", "esl_shield", "--config", str(path), "keys", "reencrypt", *more]


def test_no_call_fails_while_keys_change(start_resolver, database, vault, tmp_path, until):
    """Rotation, a job killed and run again, a rewrap and the older key's end: every call got its number."""
    for at in range(ROWS):
        vault.seed(f"+86139{at:08d}")
    new_kek = Kek.new()
    new_file = tmp_path / "kek-2"
    new_file.write_text(new_kek.raw.hex() + "\n")
    new_file.chmod(0o400)
    # The order of docs/keys.md: first every process has both KEKs.
    resolver = start_resolver(kek=new_file, previous=vault.kek_file)
    keks = Keks(new_kek, [vault.kek])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = rekeyer_command(tmp_path, database.login("rekeyer"), new_file, "--rate", "400")
    calls = Calls(resolver, vault)
    try:
        assert len(list(keylife.rewrap(vault.admin_login, keks))) == 2
        (key,) = keylife.newest_keys(vault.admin_login, "data", vault.tenant)
        keylife.rotate(vault.admin_login, keks, key)
        calls.more(until)
        job = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: vault.one("SELECT changed FROM shield.rekeyings") or job.poll() is not None, 60)
        job.send_signal(signal.SIGKILL)
        job.communicate()
        assert 0 < vault.one("SELECT count(*) FROM shield.tokens WHERE key_version = 2") < ROWS
        calls.more(until)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
        assert vault.one("SELECT count(*) FROM shield.tokens WHERE key_version = 1") == 0
        calls.more(until)
        for table, column in (("data_keys", "created_at"), ("rekeyings", "finished_at")):
            vault.one(f"UPDATE shield.{table} SET {column} = {column} - interval '1 minute'")
        keylife.destroy(vault.admin_login, keylife.find_key(vault.admin_login, vault.tenant, "data", 1), "gone")
        calls.more(until)
    finally:
        calls.stop()
    assert calls.wrong == []
    assert calls.made > 15
    again = start_resolver(kek=new_file)
    assert again.edge(vault.permit()).body == NUMBERS["mobile"]
