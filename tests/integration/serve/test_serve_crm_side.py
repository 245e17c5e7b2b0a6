"""``esl-shield serve`` with a real API and dispatcher: a CRM is answered and told, also after each was killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path

import pytest
from doctor_facts import wrong
from polling import until
from ports import free_port
from supervised import serving
from webhook_receiver import Receiver

from esl_shield.api.callers import new_key
from esl_shield.config import load
from esl_shield.db.apikeys import ApiKeys
from esl_shield.service.doctor import processes as processes_area
from esl_shield.service.webhooks import admin

TOKEN = "91000000000018"
PATIENCE_S = 60.0


@pytest.fixture
def receiver():
    """Takes every event."""
    with Receiver() as made:
        yield made


@pytest.fixture
def ask(database, tmp_path, receiver):
    """A tenant with a token, a webhook, and the configurations of both; asks the API for the token with a key."""
    database.tokens(database.tenant("acme", prefix="91"), TOKEN)
    admin.set_webhook(database.admin, "acme", "crm", receiver.url, tuple(admin.KINDS))
    key, hashed = new_key()
    ApiKeys(database.admin, "acme").add(hashed, "crm", ["tokens:read"], None)
    secret, port = tmp_path / "webhooks.secret", free_port()
    secret.write_text("a-master-secret-of-32-characters\n")
    more = {"api": f'[api]\nlisten = "127.0.0.1:{port}"\n', "dispatcher": f'[webhooks]\nsecret = "file:{secret}"\n'}
    for role, section in more.items():
        timeouts = "connect_timeout_s = 5\nstatement_timeout_s = 10\n"
        url = database.login(role).url
        (tmp_path / f"{role}.toml").write_text(f'[database]\nurl = "{url}"\n{timeouts}{section}')
    for path in tmp_path.iterdir():
        path.chmod(0o600)

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("GET", f"/v1/tokens/{TOKEN}", headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return answer.status, body.get("token")

    return ask


@pytest.fixture
def supervisor(ask, tmp_path):
    """The supervisor over both, started."""
    with serving(tmp_path, "api 1 api.toml", "dispatcher 1 dispatcher.toml") as made:
        yield made


def processes(supervisor):
    """The children that run, by role."""
    found = {}
    for pid in supervisor.children():
        role = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2:-1]
        found |= {word.decode(): pid for word in role}
    return found


def test_a_supervised_api_and_dispatcher_come_back_when_killed(database, receiver, ask, supervisor):
    """The API answers a key and doctor, a webhook is told; after kill -9 of each so do two new processes."""

    def told(times):
        admin.change_webhook(database.admin, "acme", "crm", "test")
        until(lambda: len(receiver.requests) >= times, f"event {times}", within_s=PATIENCE_S)
        assert json.loads(receiver.requests[-1][1])["type"] == "webhook.test"

    first = processes(supervisor)
    assert set(first) == {"api", "dispatcher"}
    assert ask() == (200, TOKEN)
    told(1)
    facts = processes_area.ask_processes(load(str(supervisor.folder / "api.toml")), "api")
    assert wrong(processes_area.AREA, facts) == []
    for pid in first.values():
        os.kill(pid, signal.SIGKILL)
    supervisor.wait("api ready", 2)
    supervisor.wait("dispatcher ready", 2)
    assert ask() == (200, TOKEN)
    told(2)
    second = processes(supervisor)
    assert set(second) == set(first)
    assert not set(second.values()) & set(first.values())
    assert supervisor.end() == 0, supervisor.log.read_text()
