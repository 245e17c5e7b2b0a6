"""Through PgBouncer: what a worker, a resolver and a sealer may and may not do there, by how it pools."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from urllib.parse import quote

import pytest
from polling import until
from ports import free_port
from shield_calls import Attempt
from sqlalchemy.engine import make_url

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.engine import Database
from esl_shield.errors.database import DatabaseRefused

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = pytest.mark.skipif(
    not PGBOUNCER and os.environ.get("CI") != "true", reason="pgbouncer (Debian: pgbouncer) is not installed"
)
TOKEN = "91000000000018"
STRANGE = "92000000000015"

CONFIG = """
[databases]
{name} = host={host} port={port} dbname={name}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
default_pool_size = {servers}
max_client_conn = 200
query_wait_timeout = 20
ignore_startup_parameters = extra_float_digits
"""


@pytest.fixture
def bouncer(database, tmp_path, request):
    """A PgBouncer in front of the test's database; answers how a login goes through it."""
    mode, servers = request.param
    port, users = free_port(), tmp_path / "users.txt"
    server = make_url(database.admin.url)
    database.tokens(database.tenant("acme"), TOKEN)
    database.tokens(database.tenant("other", prefix="92"), STRANGE)
    wanted = {"worker": ["acme"], "other": ["other"], "resolver": ["acme"], "sealer": None}
    logins = [database.login("worker" if name == "other" else name, scope) for name, scope in wanted.items()]
    urls = [make_url(login.url) for login in logins]
    users.write_text("".join(f'"{url.username}" "{url.password}"\n' for url in urls))
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(
            name=server.database, host=server.query["host"], port=server.port or 5432, listen=port, users=users,
            mode=mode, servers=servers,
        )
    )  # fmt: skip
    for path in (tmp_path, *tmp_path.parents):  # as root it runs as another user
        if path == path.parent or str(path) == "/tmp":  # noqa: S108 - where a parent folder ends being ours
            break
        path.chmod(0o755)
    command = [PGBOUNCER, *(["-u", "postgres"] if os.getuid() == 0 else []), str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: connects(port) or process.poll(), "pgbouncer", within_s=20)
    assert process.poll() is None, process.stdout.read()
    opened = []

    def through(which):
        url = urls[list(wanted).index(which)]
        made = Database(
            DatabaseConfig(
                f"postgresql+psycopg2://{quote(url.username)}:{quote(url.password)}@127.0.0.1:{port}/{url.database}",
                connect_timeout_s=20, statement_timeout_s=20,
            ),
            application_name="tests",
        )  # fmt: skip
        opened.append(made)
        return made

    yield through
    for made in opened:
        made.close()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "bouncer", [("transaction", 1), ("session", 8)], indirect=True, ids=["transaction", "session"]
)  # fmt: skip
def test_each_login_stays_itself_through_a_pool(bouncer, database):
    """Workers of two tenants and a resolver share a PgBouncer: each sees its own tenant, events name each login."""
    worker, other, resolver = bouncer("worker"), bouncer("other"), bouncer("resolver")
    for _ in range(3):  # in turn, so that server connections would be mixed up if they could be
        assert Attempt(token=TOKEN).authorize(worker) == ("ALLOWED",)
        assert Attempt(domain="other.example", token=STRANGE).authorize(other) == ("ALLOWED",)
        assert Attempt(domain="other.example", token=STRANGE).authorize(worker) == ("FORBIDDEN",)
    assert resolver.call("kek_ids") == []
    with pytest.raises(DatabaseRefused):
        resolver.call("finish_call", "00000000-0000-0000-0000-000000000000", "LOST", *[None] * 3, 0, *[None] * 3)
    allowed = "FROM shield.audit_events WHERE kind = 'call.authorized' GROUP BY login"
    assert database.query(f"SELECT count(*), count(DISTINCT tenant_id) {allowed}") == [(3, 1), (3, 1)]


@pytest.mark.parametrize("bouncer", [("transaction", 2)], indirect=True, ids=["transaction"])
def test_many_connections_share_few_of_the_server(bouncer, database):
    """Twelve connections of workers' pools, all at work, are two of PostgreSQL's in transaction mode."""
    pools, answers, ready = [bouncer("worker") for _ in range(12)], [], threading.Barrier(12)
    for pool in pools:
        pool.read("SELECT 1")

    def call(pool):
        ready.wait(60)
        answers.extend(Attempt(token=TOKEN).authorize(pool)[0] for _ in range(3))

    threads = [threading.Thread(target=call, args=(pool,)) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["ALLOWED"] * 36
    name = database.query("SELECT login FROM shield.audit_events WHERE kind = 'call.authorized' LIMIT 1")[0][0]
    assert database.query("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", name)[0][0] <= 2


@pytest.mark.parametrize("bouncer", [("transaction", 1)], indirect=True, ids=["transaction"])
def test_the_login_statement_timeout_holds_through_a_pool(bouncer, database):
    """What PostgreSQL sets for a login at its start is in force on the server's connection."""
    worker = bouncer("worker")
    direct = database.open(database.login("worker"))
    assert worker.read("SHOW statement_timeout") == direct.read("SHOW statement_timeout") != [("0",)]
    assert worker.read("SELECT session_user = current_user, session_user::text LIKE 'test_worker_%%'") == [(True, True)]


@pytest.mark.parametrize("bouncer", [("transaction", 1)], indirect=True, ids=["transaction"])
def test_a_sealers_lock_is_nobodys_through_a_pool(bouncer):
    """In transaction mode a second sealer gets the first one's server connection, and with it its lock: never do it."""
    first, second = bouncer("sealer"), bouncer("sealer")
    assert first.call("sealing_state")[0][0] is True
    assert second.call("sealing_state")[0][0] is True
