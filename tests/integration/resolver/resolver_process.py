"""A real resolver process over a real database, and callers that speak to it byte by byte."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from base64 import b64encode
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from sqlalchemy.engine import make_url

from esl_shield.vault import cipher, keyring, tokens
from esl_shield.vault.keys import DataKey, Kek
from esl_shield.vault.numbers import SubscriberNumber

EDGE_SECRET = "edge-secret-0123456789abcdef"
LUA_SECRET = "lua-secret-0123456789abcdef"
MASK_SECRET = "mask-secret-0123456789abcdef"
REVEALS_SECRET = "reveals-secret-0123456789abcdef"
READY_S = 30.0
ANSWER_S = 5.0

# What every log, page and audit event is searched for: plainly invented numbers of four countries.
NUMBERS = {
    "mobile": "+8613800138777",
    "fixed": "+861083001777",
    "abroad": "+442079460777",
    "premium": "+19002345777",
    "own": "+861083001888",
    "emergency": "+86110",
    "unknown": "+9991234567",
}

GATEWAYS = """
[[gateways]]
name = "edge-1"
delivery = "edge"
[[gateways]]
name = "edge-national"
delivery = "edge"
number_format = "national"
country = "CN"
prefix = "9"
[[gateways]]
name = "direct-1"
delivery = "direct"
proxy = "127.0.0.1:5080"
number_format = "e164_noplus"
prefix = "00"
[destinations]
own_numbers = ["+861083001888"]
"""


class Permit(str):
    """A permit that the database holds, and what it is for."""

    __slots__ = ("call", "token")


class Vault:
    """A tenant with keys and tokens; mints permits as a worker does."""

    tenant, domain = "bank", "bank.example"

    def __init__(self, database, folder: Path, kek: Kek | None = None) -> None:
        self.kek = kek or Kek.new()
        self.in_device = kek is not None
        self.secrets: list[str] = []
        if not self.in_device:
            self.kek_file = folder / "kek"
            self.kek_file.write_text(self.kek.raw.hex() + "\n")
            self.kek_file.chmod(0o400)
            self.secrets.append(self.kek.raw.hex())
        self._logins = database.admin, database.login("worker")
        self.admin, self.worker = map(connect, self._logins)
        self.tenant_id = self.one("SELECT shield_api.add_tenant(%s, %s, '7', 14, 'CN')", self.tenant, self.domain)
        self.one("SELECT shield_api.set_caps(%s, NULL, NULL, NULL)", self.tenant)
        self.data_key = self._key("data")
        self.index_key = self._key("index")
        self.tokens = {name: self.seed(number) for name, number in NUMBERS.items()}

    def one(self, statement: str, *values: object):
        """Run a statement as the administrator; returns its first value, if any."""
        with self.admin.cursor() as cursor:
            cursor.execute(statement, values or None)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def _key(self, purpose: str) -> DataKey:
        names = {"tenant_id": self.tenant_id, "purpose": purpose, "version": 1}
        key = keyring.new_key(self.kek, in_device=self.in_device, **names)
        wrapped = keyring.wrap(self.kek, key, **names)
        self.one("SELECT shield_api.add_key(%s, %s, 1, %s, %s)", self.tenant_id, purpose, wrapped, self.kek.id)
        return key

    def seed(self, number: str) -> str:
        """Store a number as it is, valid or not; returns its token."""
        hidden = SubscriberNumber(number)
        token = tokens.draw("7", 14)
        row = {
            "ord": 0,
            "index": keyring.blind_index(self.index_key, hidden, self.tenant_id).hex(),
            "token": token,
            "ciphertext": cipher.encrypt(self.data_key, hidden, self.tenant_id, token, 1).hex(),
            "country": "CN", "region": "", "time_zone": "", "line_type": "mobile", "labels": {},
        }  # fmt: skip
        with self.admin.cursor() as cursor:
            cursor.execute("SELECT * FROM shield_api.seed_tokens(%s, 1, 1, %s)", (self.tenant_id, json.dumps([row])))
            assert cursor.fetchall() == [(0, token, "created")]
        return token

    def store(self, token: str, ciphertext: bytes) -> None:
        """Overwrite a ciphertext, as a broken disk or an intruder would."""
        self.one("UPDATE shield.tokens SET ciphertext = %s WHERE token = %s", ciphertext, token)

    def ciphertext(self, token: str) -> bytes:
        """Read a ciphertext."""
        return bytes(self.one("SELECT ciphertext FROM shield.tokens WHERE token = %s", token))

    def permit(self, name: str = "mobile", gateway: str = "edge-1", delivery: str = "edge", call_id: str | None = None):
        """Mint a permit for one of NUMBERS (or for a token) as a worker."""
        permit = Permit(secrets.token_hex(16))
        permit.token, permit.call = self.tokens.get(name, name), str(uuid.uuid4())
        digest = hashlib.sha256(bytes.fromhex(permit)).digest()
        values = (permit.call, self.domain, "1001", permit.token, None, None, digest, gateway, delivery, call_id, None)
        with self.worker.cursor() as cursor:
            cursor.execute("SELECT verdict FROM shield_api.authorize_call(" + ", ".join(["%s"] * 11) + ")", values)
            assert cursor.fetchone() == ("ALLOWED",)
        return permit

    def audit(self, call: str) -> list[tuple[str, str | None]]:
        """The audit events of a call, oldest first: kind and reason."""
        with self.admin.cursor() as cursor:
            cursor.execute(
                "SELECT kind, detail->>'reason' FROM shield.audit_events WHERE call = %s ORDER BY at, id", (call,)
            )
            return cursor.fetchall()

    def audited(self) -> int:
        """How many audit events there are: none is added by who is not authenticated."""
        return self.one("SELECT count(*) FROM shield.audit_events")

    @property
    def admin_login(self):
        """The administrator's login."""
        return self._logins[0]

    def reconnect(self) -> None:
        """Come back after the database was away."""
        self.close()
        self.admin, self.worker = map(connect, self._logins)

    def close(self) -> None:
        """Leave the database."""
        self.admin.close()
        self.worker.close()


def connect(config):
    """A plain connection, each statement its own transaction."""
    url = make_url(config.url)
    connection = psycopg2.connect(
        host=url.query.get("host", url.host),
        port=url.port,
        user=url.username,
        password=url.password,
        dbname=url.database,
    )
    connection.autocommit = True
    return connection


@dataclass(frozen=True)
class Answer:
    """What came back: the whole bytes, and its status and body."""

    raw: bytes
    status: int
    body: str


REFUSED = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\n\r\nrefused"
)


@dataclass
class ResolverProcess:
    """``esl-shield resolver`` running; everything it wrote is in ``lines``."""

    process: subprocess.Popen
    port: int = 0
    lines: list[str] = field(default_factory=list)

    def connect(self) -> socket.socket:
        """A connection with a time-out that fails the test instead of hanging it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S)

    def send(self, data: bytes) -> Answer:
        """Send bytes on a fresh connection and read its reply."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_answer(connection)

    def edge(self, permit: str, *, headers: dict[str, str] | None = None, **form: str) -> Answer:
        """Redeem as the edge."""
        fields = {"permit": permit, "token": getattr(permit, "token", ""), "gateway": "edge-1", "call": ""} | form
        return self.send(post(fields, headers or {"Authorization": f"Bearer {EDGE_SECRET}"}))

    def lua(self, permit: str, *, seconds: int | None = None, secret: str = LUA_SECRET, **form: str) -> Answer:
        """Redeem as FreeSWITCH's script."""
        fields = {"permit": permit, "token": getattr(permit, "token", ""), "gateway": "direct-1", "call": ""} | form
        at = int(time.time()) if seconds is None else seconds
        message = f"{at}|{fields['permit']}|{fields['token']}|{fields['gateway']}".encode()
        signature = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
        return self.send(post(fields, {"X-Shield-Signature": f"{at}.{signature}"}))

    def mask(self, number: str, did: str, *, headers: dict[str, str] | None = None, **form: str) -> Answer:
        """Ask for a caller's token as the edge."""
        fields = {"number": number, "did": did, "call": str(uuid.uuid4())} | form
        return self.send(post(fields, headers or {"Authorization": f"Bearer {MASK_SECRET}"}, path="/mask"))

    def get(self, path: str) -> Answer:
        """Ask for a page."""
        return self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    def metric(self, name: str) -> float:
        """One sample of /metrics, 0 when there is none yet."""
        for line in self.get("/metrics").body.splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0


def post(fields: dict[str, str], headers: dict[str, str], path: str = "/redeem", length: int | None = None) -> bytes:
    """Spell a request as curl does."""
    body = urllib.parse.urlencode(fields)
    head = {"Host": "127.0.0.1", "User-Agent": "curl/8", "Accept": "*/*"} | headers
    head |= {
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": str(len(body) if length is None else length),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n{body}".encode()


def read_answer(connection: socket.socket) -> Answer:
    """Read one reply by its Content-Length; a connection closed without one is status 0."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            return Answer(raw, 0, "")
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
    while len(body) < length:
        piece = connection.recv(65536)
        assert piece, "the reply ended early"
        body, raw = body + piece, raw + piece
    return Answer(raw, int(head.split(b" ")[1]), body.decode())


def write_config(
    folder: Path,
    database_url: str,
    kek: Path | str,
    *,
    resolver: str = "",
    gateways: str = GATEWAYS,
    reveals: bool = True,
    masking_url: str = "",
    previous: Path | str | None = None,
) -> Path:
    """Write secrets and configuration of one resolver; the port is the system's choice."""
    home = folder / f"resolver-{secrets.token_hex(4)}"
    home.mkdir()
    secrets_of = {"edge": EDGE_SECRET, "lua": LUA_SECRET, "mask": MASK_SECRET, "reveals": REVEALS_SECRET}
    for name, secret in secrets_of.items():
        (home / name).write_text(secret + "\n")
        (home / name).chmod(0o400)
    callers = ["edge", "lua", *["reveals"] * reveals, *["mask"] * bool(masking_url)]
    files = ", ".join(f'{caller} = "file:{home}/{caller}"' for caller in callers)
    path = home / "resolver.toml"
    path.write_text(f"""
[database]
url = "{database_url}"
[keys]
kek = "{_uri(kek)}"
{f'previous = ["{_uri(previous)}"]' if previous else ""}
[resolver]
listen = "127.0.0.1:0"
secrets = {{ {files} }}
{resolver}
{gateways}
{f'[masking.database]{chr(10)}url = "{masking_url}"' if masking_url else ""}
""")
    path.chmod(0o600)
    return path


def _uri(kek: Path | str) -> str:
    return kek if isinstance(kek, str) else f"file:{kek}"


def run(folder: Path, login, kek: Path | str, **sections: str | bool | Path) -> ResolverProcess:
    """Start the process and wait for its readiness line."""
    path = write_config(folder, login.url, kek, **sections)
    process = subprocess.Popen(
        [sys.executable, "-m", "esl_shield", "--config", str(path), "resolver"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    started = ResolverProcess(process)
    ready = threading.Event()

    def collect() -> None:
        for line in process.stdout:
            started.lines.append(line)
            if line.startswith("resolver ready on "):
                started.port = int(line.rpartition(":")[2])
                ready.set()
        ready.set()

    started.reader = threading.Thread(target=collect, daemon=True)
    started.reader.start()
    assert ready.wait(READY_S)
    assert started.port, "".join(started.lines)
    return started


def finish(process: ResolverProcess) -> None:
    """SIGTERM drains and ends with 0."""
    if process.process.poll() is None:
        process.process.send_signal(signal.SIGTERM)
    try:
        assert process.process.wait(20) == 0
    finally:
        process.process.kill()
        process.process.wait()
        process.reader.join(5)
        process.process.stdout.close()


def search(process: ResolverProcess, vault: Vault) -> None:
    """Nothing a process wrote holds a number, a token, a secret, a traceback."""
    written = "".join(process.lines)
    audit = vault.one("SELECT string_agg(to_jsonb(e)::text, '') FROM shield.audit_events e")
    for number in NUMBERS.values():
        digits = number[3:]
        if len(digits) > 4:
            for spelling in (digits, b64encode(number.encode()).decode(), b64encode(digits.encode()).decode()):
                assert spelling not in written
                assert spelling not in audit
    for secret in (*vault.tokens.values(), EDGE_SECRET, LUA_SECRET, MASK_SECRET, REVEALS_SECRET, *vault.secrets):
        assert secret not in written
    assert "Traceback" not in written


@contextmanager
def held(vault: Vault, statement: str):
    """Run a statement (a lock) in a transaction of another administrator, until the block ends."""
    with closing(connect(vault.admin_login)) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute(statement)
        yield
        connection.rollback()
