"""A tenant's system before a real API and a real tokeniser, each a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from event_socket_double import PASSWORD, EventSocketDouble
from fix_postgres import TEMPLATE, ShieldDatabase, _maintain
from polling import until
from ports import free_port
from vault_lab import VaultLab

from esl_shield.api.callers import new_key
from esl_shield.api.checking import _validator
from esl_shield.api.document import document
from esl_shield.api.operations import SCOPES
from esl_shield.db.apikeys import ApiKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_numbers = itertools.count(1)
READY = re.compile(r"(?m)^[a-z]+ ready(?: on \S+:(\d+))?\n")


DOCUMENT = document()
PATHS = {
    re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))): operations
    for path, operations in DOCUMENT["paths"].items()
}


class Answered(NamedTuple):
    """What came back; ``body`` is parsed JSON, or lines of it."""

    status: int
    headers: dict[str, str]
    body: Any


def hold_to_contract(method: str, path: str, answer: Answered) -> None:
    """Fail unless the document says that this may be answered."""
    operations = next((found for pattern, found in PATHS.items() if pattern.fullmatch(path.partition("?")[0])), {})
    operation = operations.get(method.lower())
    if operation is None:
        assert answer.status in (400, 401, 404, 405), answer
        return
    promised = operation["responses"][str(answer.status)]["content"]
    media_type = answer.headers["Content-Type"].partition(";")[0]
    lines = answer.body if media_type == "application/x-ndjson" else [answer.body]
    for line in lines:
        errors = list(_validator(promised[media_type]["schema"]).iter_errors(line))
        assert not errors, (method, path, errors)


class Process:
    """A role as a user starts it; what it writes is kept for the search for numbers."""

    def __init__(self, lab: VaultLab, role: str, config: Path) -> None:
        self.log = config.with_suffix(".log")
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                lab.command(role, config=config), stdout=log, stderr=log, env=lab.environment(), cwd=lab.folder
            )
        self.port = 0

    def wait(self) -> None:
        """Return when it is ready."""

        def ready() -> re.Match[str] | None:
            text = self.log.read_text()
            assert self.popen.poll() is None, text
            return READY.search(text)

        self.port = int(until(ready, "ready", within_s=60)[1] or 0)

    def stop(self) -> int:
        """End it as a unit does."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)


class Crm:
    """The tenants acme and brick, the site's API and tokeniser, and a key of acme's with every scope."""

    def __init__(self, lab: VaultLab, folder: Path) -> None:
        self.lab, self.database, self.pages = lab, lab.database, free_port()
        self.rings: Callable[[str], str | None] = lambda _: "+OK\n"
        self.switch = EventSocketDouble({}, job=lambda command: self.rings(command))  # noqa: PLW0108 - it is changed
        lab.add_tenant("brick", "88")
        self.heard: list[str] = []
        self.key = self.make_key()
        seeder = self._config("tokeniser", self.database.login("seeder"), f'[keys]\nkek = "{lab.kek_uri}"\n')
        self.tokeniser = Process(lab, "tokeniser", seeder)
        self.tokeniser.wait()
        self.api = Process(lab, "api", self.api_config(folder))
        self.api.wait()

    def api_config(self, folder: Path, *, switch: object = None) -> Path:
        """The configuration of an API beside the tokeniser; of one more, when its ``switch`` is another."""
        secret = folder / "event-socket"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o600)
        section = (
            f'requests_per_s = 1000\nburst = 2000\ntokeniser = "127.0.0.1:{self.tokeniser.port}"\n'
            f'[clicks]\naddress = "{switch or self.switch.address}"\npassword = "file:{secret}"\n'
        )
        metrics = "" if switch else f'[metrics]\nlisten = "127.0.0.1:{self.pages}"\n'
        return self._config("api", self.database.login("api"), metrics, section, name="more" if switch else "api")

    @contextlib.contextmanager
    def another_api(self, **changes: Any) -> Iterator[int]:
        """One more API process, configured otherwise; its port."""
        with self.running("api", self.api_config(self.lab.folder, **changes)) as more:
            yield more.port

    @contextlib.contextmanager
    def running(self, role: str, config: Path) -> Iterator[Process]:
        """One more process of the site."""
        more = Process(self.lab, role, config)
        try:
            more.wait()
            yield more
        finally:
            assert more.stop() == 0

    def _config(
        self, role: str, login: Any, more: str, section: str = "requests_per_s = 1000\nburst = 2000\n", name: str = ""
    ) -> Path:
        path = self.lab.folder / f"{name or role}.toml"
        text = f'[database]\nurl = "{login.url}"\nconnect_timeout_s = 5\nstatement_timeout_s = 10\n{more}'
        path.write_text(f'{text}[{role}]\nlisten = "127.0.0.1:0"\n{section}')
        path.chmod(0o600)
        return path

    def make_key(self, tenant: str = "acme", scopes: Sequence[str] = tuple(SCOPES), **more: Any) -> str:
        """A key as an administrator makes one."""
        key, hashed = new_key()
        ApiKeys(self.database.admin, tenant).add(hashed, "crm", scopes, more.get("expires_at"))
        return key

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        port: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answered:
        """One request; without a key it is acme's, None sends none."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            sent["Authorization"] = f"Bearer {key or self.key}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", port or self.api.port, timeout=30)
        try:
            connection.request(method, path, data, sent | (headers or {}))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        self.heard.append(content.decode() + str(response.headers))
        lines = response.headers.get_content_type() == "application/x-ndjson"
        read = [json.loads(line) for line in content.splitlines()] if lines else json.loads(content)
        answer = Answered(response.status, {name.title(): value for name, value in response.headers.items()}, read)
        hold_to_contract(method, path, answer)
        return answer

    def token(self, number: str, **fields: Any) -> str:
        """A token for a number."""
        answer = self.ask("POST", "/v1/tokens", {"number": number, **fields})
        assert answer.status in (200, 201), answer
        return answer.body["token"]

    def events(self, *kinds: str) -> list[tuple[Any, ...]]:
        """Audit events of these kinds, oldest first: kind, token, detail."""
        return self.database.query(
            "SELECT kind, token, detail FROM dba.audit_events WHERE kind = ANY (%s) ORDER BY id", list(kinds)
        )

    def everything_written(self) -> str:
        """What processes wrote, and every row of the database as text."""
        texts = [*self.heard, self.api.log.read_text(), self.tokeniser.log.read_text()]
        tables = self.database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'shield'")
        for (table,) in tables:
            texts.append(str(self.database.query(f"SELECT to_jsonb(t) FROM shield.{table} t")))
        return "\n".join(texts)


@pytest.fixture(scope="session")
def crm(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crm]:
    folder = tmp_path_factory.mktemp("crm")
    name = "test_crm"
    _maintain(cluster, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    database = ShieldDatabase(cluster, name)
    lab = VaultLab(database, folder)
    made = Crm(lab, folder)
    try:
        with made.switch:
            yield made
    finally:
        codes = [made.api.stop(), made.tokeniser.stop()]
        lab.close()
        database.close()
        _maintain(cluster, f"DROP DATABASE {name} WITH (FORCE)")
    assert codes == [0, 0]
