"""The process around the redemption: slow, many and unwelcome callers, a database that goes away, signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from polling import at_most, in_time
from resolver_process import EDGE_SECRET, NUMBERS, REFUSED, held, post, read_answer, write_config
from sqlalchemy.engine import make_url

from esl_shield.vault.keys import Kek

REASONS = {
    "redeemed", "permit", "delivery", "unknown_gateway", "unauthenticated", "ambiguous", "bad_secret",
    "bad_signature", "stale_signature", "malformed", "head_too_large", "body_too_large", "slow", "form", "path",
    "busy", "connections", "database", "database_refused", "address", "unexpected", "emergency", "short_number",
    "invalid", "own_number", "country", "line_type", "format", "ticket", "bind", "bound", "calls", "number",
}  # fmt: skip
HALF = b"POST /redeem HTTP/1.1\r\nHost: x\r\nContent-Le"


def test_a_slow_caller_is_refused_in_two_seconds(resolver):
    """Half a request, or one byte at a time, ends after the time a request may take, with the usual refusal."""
    with resolver.connect() as connection:
        started = time.monotonic()
        with at_most(2):
            connection.sendall(HALF)
            assert read_answer(connection).raw == REFUSED
        assert time.monotonic() - started > 1.5
    with resolver.connect() as connection, at_most(2):
        connection.settimeout(0.1)
        raw = b""
        for byte in HALF * 10:
            connection.sendall(bytes([byte]))
            try:
                raw = connection.recv(4096)
                break
            except TimeoutError:
                continue
        assert raw == REFUSED


def test_a_silent_caller_is_let_go_without_a_word(resolver):
    """A connection that never says anything is closed."""
    with resolver.connect() as connection:
        assert connection.recv(100) == b""


def test_a_caller_may_leave_anywhere(resolver, vault):
    """A connection that ends at any byte of a request gets nothing, leaves nothing and stops nobody."""
    permit = vault.permit()
    form = {"permit": permit, "token": permit.token, "gateway": "edge-1", "call": ""}
    request = post(form, {"Authorization": f"Bearer {EDGE_SECRET}"})
    lines = len(resolver.lines)
    for offset in range(len(request)):
        with resolver.connect() as connection:
            connection.sendall(request[:offset])
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
    assert resolver.send(request).status == 200
    assert len(resolver.lines) == lines


def test_a_caller_that_leaves_before_its_answer_harms_nobody(resolver, vault):
    """The permit is used up, the number goes nowhere, the next caller is served."""
    for _ in range(20):
        permit = vault.permit()
        form = {"permit": permit, "token": permit.token, "gateway": "edge-1", "call": ""}
        with resolver.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(post(form, {"Authorization": f"Bearer {EDGE_SECRET}"}))
    assert resolver.edge(vault.permit()).status == 200


def test_slow_callers_do_not_slow_others(resolver, vault):
    """A hundred half requests held open change nothing for a right one."""
    with contextlib.ExitStack() as slow:
        permit = vault.permit()
        halves = [slow.enter_context(resolver.connect()) for _ in range(100)]
        for half in halves:
            half.sendall(HALF)
        assert resolver.edge(permit).status == 200
        assert len(select.select(halves, [], [], 0)[0]) < len(halves)  # it did not wait until all were refused


def test_a_full_resolver_says_so_at_once(start_resolver, vault, until):
    """More requests than allowed at a time, or more connections, are told 503 without waiting."""
    resolver = start_resolver(resolver="max_requests = 2\nmax_connections = 8")
    permits = [vault.permit() for _ in range(3)]
    with ThreadPoolExecutor(2) as pool, held(vault, "LOCK TABLE shield.permits"):
        waiting = []
        for permit in permits[:2]:  # one after the other: two that come together share a statement
            waiting.append(pool.submit(resolver.edge, permit))
            until(lambda: waits_for_lock(vault) == len(waiting))
        assert resolver.edge(permits[2]).status == 503
        assert {future.result().status for future in waiting} == {503}
    assert resolver.metric('esl_shield_resolver_answers_total{answer="away",reason="busy"}') == 1
    with contextlib.ExitStack() as connections:
        for _ in range(8):
            connections.enter_context(resolver.connect()).sendall(HALF)
        with at_most(1):
            assert resolver.get("/healthz").status == 503
        for _ in range(40):
            connections.enter_context(resolver.connect())
        assert resolver.get("/healthz").status in (0, 503)
    until(lambda: resolver.get("/healthz").status == 200)


def test_only_allowed_addresses_are_answered(start_resolver, vault):
    """A caller outside the allow-list gets nothing, not even a refusal; one inside is served."""
    resolver = start_resolver(resolver='allow = ["127.0.0.2", "10.0.0.0/8"]')
    with resolver.connect() as connection:
        connection.sendall(post({}, {}))
        assert read_answer(connection).raw == b""
    with socket.create_connection(
        ("127.0.0.1", resolver.port), source_address=("127.0.0.2", 0), timeout=5
    ) as connection:
        permit = vault.permit()
        form = {"permit": permit, "token": permit.token, "gateway": "edge-1", "call": ""}
        connection.sendall(post(form, {"Authorization": f"Bearer {EDGE_SECRET}"}))
        assert read_answer(connection).status == 200


def test_a_database_that_stops_is_503_and_comes_back(cluster, resolver, vault, until):
    """Stopped, the answer is 503 within two seconds and /healthz says so; started again, everything works by itself."""
    assert resolver.edge(vault.permit()).status == 200
    assert (resolver.get("/healthz").status, json.loads(resolver.get("/healthz").body)["ready"]) == (200, True)
    permit = vault.permit()
    cluster.halt()
    try:
        with at_most(6):
            answers = [resolver.edge(permit) for _ in range(3)]
        assert [(answer.status, answer.body) for answer in answers] == [(503, "away")] * 3
        until(lambda: resolver.get("/healthz").status == 503)
    finally:
        cluster.start()
    until(lambda: resolver.get("/healthz").status == 200)
    vault.reconnect()
    assert resolver.edge(vault.permit()).status == 200


def test_a_database_that_hangs_is_503_in_two_seconds(cluster, resolver, vault, until):
    """A frozen server, which answers nothing and refuses nothing, holds no caller longer than the budget."""
    permits = [vault.permit() for _ in range(8)]
    stopped = [cluster.pid, *children(cluster.pid)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = in_time(2, lambda: list(pool.map(resolver.edge, permits)))
        assert {answer.status for answer in answers} == {503}
        assert resolver.get("/metrics").status == 200
        until(lambda: resolver.get("/readyz").status == 503)
        parts = json.loads(in_time(2, lambda: resolver.get("/readyz")).body)["parts"]
        assert parts == {"database": "database.away", "keys": "ok"}
        assert json.loads(resolver.get("/livez").body) == {"live": True}
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    until(lambda: resolver.get("/healthz").status == 200)
    assert resolver.edge(vault.permit()).status == 200


def children(pid: int) -> list[int]:
    """A process's children."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123
        return [int(child) for child in file.read().split()]


def test_a_lock_in_the_database_is_503_in_time(resolver, vault):
    """A statement that cannot end is cut off; the permit is neither disclosed nor lost to its owner for ever."""
    permit = vault.permit()
    with held(vault, "LOCK TABLE shield.permits"):
        assert in_time(2, lambda: resolver.edge(permit)).status == 503
    assert resolver.edge(vault.permit()).status == 200


def test_sigterm_lets_a_redemption_finish(start_resolver, vault, until):
    """A request under way is answered, idle connections are closed, new ones find nobody, the exit code is 0."""
    resolver = start_resolver()
    permit = vault.permit()
    with resolver.connect() as idle, ThreadPoolExecutor(1) as pool:
        idle.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert read_answer(idle).status == 200
        with held(vault, "LOCK TABLE shield.permits"):
            under_way = pool.submit(resolver.edge, permit)
            until(lambda: waits_for_lock(vault))
            resolver.process.send_signal(signal.SIGTERM)
            assert idle.recv(10) == b""
        assert under_way.result().status == 200
    assert resolver.process.wait(10) == 0
    with pytest.raises(ConnectionRefusedError):
        resolver.connect()


def test_no_page_names_anyone(resolver, vault):
    """Metrics hold fixed words only: no token, tenant, agent or number."""
    for name in ("mobile", "premium"):
        resolver.edge(vault.permit(name))
    page = resolver.get("/metrics").body
    assert 'esl_shield_resolver_answers_total{answer="number",reason="redeemed"}' in page
    assert set(re.findall(r'reason="([^"]*)"', page)) <= REASONS
    for secret in (*vault.tokens.values(), *(number[3:] for number in NUMBERS.values()), "1001", vault.tenant):
        assert secret not in re.sub(r"[0-9.e+-]+$", "", page, flags=re.MULTILINE)


def waits_for_lock(vault) -> int:
    return vault.one(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename LIKE 'test_res%'"
    )


def test_the_process_is_hardened(resolver):
    """No core dump can hold a key, and nothing of the secrets is in its arguments or environment."""
    pid = resolver.process.pid
    with open(f"/proc/{pid}/limits", encoding="ascii") as limits:  # noqa: PTH123
        assert any(line.split()[:6] == ["Max", "core", "file", "size", "0", "0"] for line in limits)
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123
        assert "NoNewPrivs:\t1\n" in status.read()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("[keys]\nkek", "#").replace('= "file:', "#", 1), "[keys] kek is missing"),
        (lambda text: text.replace("secrets =", "#"), "secrets"),
        (lambda text: text.partition("[[gateways]]")[0], "no [[gateways]]"),
        (lambda text: text.replace("lua =", "edge2 ="), "edge, lua, mask and reveals"),
        (lambda text: text.replace('/kek"', '/absent"'), "keys.kek_missing"),
        (lambda text: text.replace('country = "CN"', ""), "national needs country"),
    ],
)
def test_a_resolver_without_its_prerequisites_does_not_start(database, vault, tmp_path, change, says):
    """A missing key, secret, gateway or country is one sentence and exit code 2, and no port is opened."""
    path = write_config(tmp_path, database.login("resolver").url, vault.kek_file)
    path.write_text(change(path.read_text()))
    result = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(path), "resolver"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert says in result.stderr
    assert "ready" not in result.stderr
    assert "Traceback" not in result.stderr


def start_in_vain(path):
    """Run a resolver that must not start; returns what it said."""
    result = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(path), "resolver"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize("role", ["worker", "seeder", "auditor"])
def test_another_roles_login_starts_no_resolver(database, vault, tmp_path, role):
    """A login that lacks a resolver's right is one sentence and exit code 2."""
    said = start_in_vain(write_config(tmp_path, database.login(role).url, vault.kek_file))
    assert "[database.refused]" in said


def test_a_login_with_a_workers_rights_too_starts_no_resolver(database, vault, tmp_path):
    """Whoever may mint permits and redeem them needs nobody: such a login, or an administrator's, is refused."""
    said = start_in_vain(write_config(tmp_path, database.admin.url, vault.kek_file))
    assert "[database.login_misplaced]" in said


def test_a_wrong_password_starts_no_resolver(database, vault, tmp_path):
    """The server's sentence is repeated, the password is not."""
    url = make_url(database.login("resolver").url).set(password="not-the-password")
    url = url.render_as_string(hide_password=False)
    said = start_in_vain(write_config(tmp_path, url, vault.kek_file))
    assert "password authentication failed" in said
    assert "[database.login_refused]" in said
    assert "not-the-password" not in said


def test_another_installations_kek_starts_no_resolver(database, vault, tmp_path):
    """A KEK that opens none of the vault's keys is found out before a call does."""
    other = tmp_path / "other-kek"
    other.write_text(Kek.new().raw.hex())
    other.chmod(0o400)
    assert "[keys.other_kek]" in start_in_vain(write_config(tmp_path, database.login("resolver").url, other))


def test_a_right_taken_away_is_503_and_logged_once(start_resolver, vault, until):
    """A refusal by the database is unhealthy and 503, told once when it begins and once when it ends."""
    resolver = start_resolver()
    vault.one("REVOKE EXECUTE ON FUNCTION shield_api.kek_ids, shield_api.redeem_permits FROM shield_resolver")
    try:
        until(lambda: resolver.get("/healthz").status == 503)
        assert [resolver.get("/healthz").status for _ in range(5)] == [503] * 5
        assert resolver.edge(vault.permit()).status == 503
    finally:
        vault.one("GRANT EXECUTE ON FUNCTION shield_api.kek_ids, shield_api.redeem_permits TO shield_resolver")
    until(lambda: resolver.get("/healthz").status == 200)
    until(lambda: any("event=health.well" in line for line in resolver.lines))
    told = [line for line in resolver.lines if "event=health." in line]
    assert [("unwell" in line, "error_id=database.refused" in line) for line in told] == [(True, True), (False, False)]
    assert not any("resolver.unexpected" in line for line in resolver.lines)
    assert resolver.metric('esl_shield_resolver_answers_total{answer="away",reason="database_refused"}') == 1


def test_a_database_away_at_the_start_is_waited_for(cluster, start_resolver, vault, until):
    """A resolver that is up before its database says so, is not well, and works once the database is there."""
    login = start_resolver.login()
    cluster.halt()
    try:
        resolver = start_resolver(login=login)
        assert resolver.get("/healthz").status == 503
        assert any("event=health.unwell error_id=database.away" in line for line in resolver.lines)
    finally:
        cluster.start()
    until(lambda: resolver.get("/healthz").status == 200)
    vault.reconnect()
    assert resolver.edge(vault.permit()).status == 200


def test_a_taken_port_is_a_config_error(resolver, database, vault, tmp_path):
    """A second resolver on the same port says so and ends."""
    path = write_config(tmp_path, database.login("resolver").url, vault.kek_file)
    path.write_text(path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{resolver.port}"))
    said = start_in_vain(path)
    assert "cannot be had (Address already in use)" in said
    assert f"{path}: [resolver] listen" in said
