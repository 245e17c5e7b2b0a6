"""The real thing around the real FreeSWITCH: PostgreSQL, a worker and a resolver as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_lab import MASK_SECRET
from lab import DOMAIN, ESL_PASSWORD, INTAKE_SECRET, LUA_SECRET
from polling import until
from ports import HOST
from recorder import CALLER_ID
from stage import CARRIER_A, CARRIER_B

from esl_shield.vault import keyring
from esl_shield.vault.keys import Kek, Key
from esl_shield.vault.seeder import Seeder
from esl_shield.vault.store import Store

if TYPE_CHECKING:
    from fix_postgres import ShieldDatabase
    from stage import Stage

TENANT = "acme"
DUMMY = "55555"
_ROOT = Path(__file__).resolve().parents[2]


class Role:
    """One of our processes; what it says goes to a file."""

    def __init__(self, name: str, config: Path) -> None:
        self.output = config.with_suffix(".out")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "esl_shield", "--config", str(config), name],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=config.parent,
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
            )  # fmt: skip
        try:
            until(lambda: self._is_ready(name), f"{name} is ready", within_s=30)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self, name: str) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(self.output.read_text())
        return f"{name} ready" in self.output.read_text()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without a chance to say anything."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it: kindly if it listens."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


class Shield:
    """A tenant with keys, its tokens, and the processes that serve them."""

    def __init__(self, database: ShieldDatabase, stage: Stage, *, edge: str = "") -> None:
        """With ``edge``, the edge's secret, calls go to the gateway of that name; else straight to the carriers."""
        self.database, self._stage, self._edge = database, stage, edge
        # A folder of its own: the carrier's traces, which must hold numbers, are elsewhere.
        self.folder = Path(stage.enter_context(tempfile.TemporaryDirectory(prefix="esl-shield-roles-")))
        kek = Kek.new()
        self._write("kek", kek.raw.hex())
        self._write("lua", LUA_SECRET)
        self._write("edge", edge or LUA_SECRET[::-1])
        self._write("mask", MASK_SECRET)
        self._write("intake", INTAKE_SECRET)
        self._write("esl", ESL_PASSWORD)
        ((tenant,),) = database.query("SELECT shield_api.add_tenant(%s, %s, '7', 14, 'CN')", TENANT, DOMAIN)
        database.query("SELECT shield_api.set_caps(%s, NULL, NULL, NULL)", TENANT)
        for purpose in ("data", "index"):
            wrapped = keyring.wrap(kek, Key.new(), tenant_id=tenant, purpose=purpose, version=1)
            database.query("SELECT shield_api.add_key(%s, %s, 1, %s, %s)", tenant, purpose, wrapped, kek.id)
        self._store = Store(database.login("seeder", [TENANT]))
        stage.callback(self._store.close)
        self._seeder = Seeder(self._store, kek, TENANT)
        self._logins = {
            role: database.login(role, [TENANT]).url for role in ("worker", "resolver", "masker", "intake", "reaper")
        }

    def _write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content + "\n")
        (self.folder / name).chmod(0o400)

    def token(self, number: str) -> str:
        """Seed a number; returns its token."""
        return self._seeder.add(number, None, None)[0]

    def did(self, did: str, *destinations: str) -> None:
        """Give the tenant a DID."""
        self.database.query("SELECT shield_api.set_did(%s, %s, %s, true, NULL)", TENANT, did, list(destinations))

    def worker(self, *, database_url: str | None = None, stand_by: bool = False, **esl: object) -> Role:
        """Start a worker where FreeSWITCH's dialplan looks for the first one, or for the second."""
        port = self._stage.ports.worker_b if stand_by else self._stage.ports.worker_a
        settings = "".join(f"{name} = {value}\n" for name, value in esl.items())
        return self._start(
            "worker",
            f'[database]\nurl = "{database_url or self._logins["worker"]}"\n'
            f'[esl]\nlisten = "{HOST}:{port}"\n{settings}'
            f'[handoff]\ndummy_number = "{DUMMY}"\n[calls]\nanswer_timeout_s = 3\n[inbound]\nring_s = 3\n',
        )

    def resolver(self) -> Role:
        """Start the resolver where the Lua script looks for it."""
        return self._start(
            "resolver",
            f'[database]\nurl = "{self._logins["resolver"]}"\n[keys]\nkek = "file:{self.folder}/kek"\n'
            f'[resolver]\nlisten = "{HOST}:{self._stage.ports.resolver}"\n'
            f'secrets = {{ lua = "file:{self.folder}/lua", edge = "file:{self.folder}/edge", '
            f'mask = "file:{self.folder}/mask" }}\n[masking.database]\nurl = "{self._logins["masker"]}"\n',
        )

    def intake(self, *, spool: Path | None = None) -> Role:
        """Start the intake where FreeSWITCH posts its records; ``spool`` is what it watches as well."""
        watched = f'spool = ["{spool}"]\nspool_every_s = 0.2\n' if spool else ""
        return self._start(
            "intake",
            f'[database]\nurl = "{self._logins["intake"]}"\n[intake]\nlisten = "{HOST}:{self._stage.ports.intake}"\n'
            f'secret = "file:{self.folder}/intake"\n{watched}',
        )

    def reaper(self, *, wait_s: float = 30.0) -> Role:
        """Start the reaper of this one FreeSWITCH."""
        return self._start(
            "reaper",
            f'[database]\nurl = "{self._logins["reaper"]}"\n[reaper]\nevery_s = 0.3\nrecord_wait_s = {wait_s}\n'
            f'[[reaper.switches]]\naddress = "{HOST}:{self._stage.ports.esl}"\npassword = "file:{self.folder}/esl"\n',
        )

    def _start(self, name: str, config: str) -> Role:
        if self._edge:
            config += f'[[gateways]]\nname = "edge"\ndelivery = "edge"\ncaller_id = ["{CALLER_ID}"]\n'
        for gateway in () if self._edge else (CARRIER_A, CARRIER_B):
            config += (
                f'[[gateways]]\nname = "{gateway}"\ndelivery = "direct"\ncaller_id = ["{CALLER_ID}"]\n'
                f'proxy = "{HOST}:{self._stage.port_of(gateway)}"\n'
            )
        path = self.folder / f"{name}-{len(list(self.folder.glob('*.toml')))}.toml"
        path.write_text(config)
        path.chmod(0o600)
        path.chmod(0o600)
        role = Role(name, path)
        self._stage.callback(role.stop)
        return role

    def calls(self) -> list[dict[str, Any]]:
        """All call records, oldest first."""
        rows = self.database.query("SELECT to_jsonb(c) FROM dba.calls c ORDER BY started_at")
        return [row for (row,) in rows]

    def call(self, state: str) -> dict[str, Any]:
        """The one call record, once it is in ``state``."""
        try:
            until(lambda: [call["state"] for call in self.calls()] == [state], f"a call is {state}", within_s=10)
        except TimeoutError as error:
            error.add_note(str(self.calls()))
            raise
        return self.calls()[0]

    def reasons(self) -> list[str]:
        """Reasons in the audit trail, oldest first."""
        rows = self.database.query("SELECT detail->>'reason' FROM dba.audit_events ORDER BY at, id")
        return [reason for (reason,) in rows if reason]

    def dump(self) -> bytes:
        """Everything the database would show an administrator, and all our processes wrote."""
        rows = self.database.query(
            "SELECT to_jsonb(t)::text FROM dba.tokens t UNION ALL SELECT to_jsonb(c)::text FROM dba.calls c "
            "UNION ALL SELECT to_jsonb(a)::text FROM dba.audit_events a"
        )
        text = "\n".join(row for (row,) in rows)
        return text.encode() + b"".join(path.read_bytes() for path in sorted(self.folder.glob("*.out")))
