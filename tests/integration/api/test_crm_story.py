"""A CRM's whole story: number to token, permission, click, call, webhook, record; every part but FreeSWITCH is real.

FreeSWITCH's side is its event socket's double and a recording of a clicked leg; the edge's is one request to the
resolver.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import subprocess
import uuid
from typing import NamedTuple

import pytest
from esl_replay import Replay
from polling import until
from sqlalchemy.engine import make_url
from standardwebhooks import Webhook
from webhook_receiver import Receiver

from esl_shield.config.webhooks import WebhooksConfig
from esl_shield.db.binaries import find_binaries
from esl_shield.esl import double
from esl_shield.service.webhooks import admin, signing
from esl_shield.service.webhooks.dispatcher import read_master

NUMBER = "+8613800139042"
TASK, CUSTOMER, AGENT = "TASK-812", "CRM-42-x", "1001"
PERMIT = re.compile(
    r"X-Shield-Permit=(\w+),.*X-Shield-Gateway=(\w+),sip_invite_call_id=([\w-]+),.*sofia/gateway/edge/(\d+)"
)
SPELLINGS = [
    text
    for digits in (NUMBER.removeprefix("+"), NUMBER.removeprefix("+86"))
    for text in (digits, digits[::-1], *(base64.b64encode(b"x" * n + digits.encode()).decode()[4:-4] for n in range(3)),
                 digits.encode().hex())
]  # fmt: skip
GATEWAY = '[[gateways]]\nname = "edge"\ndelivery = "edge"\n'


class Site(NamedTuple):
    """The processes beside API and tokeniser, and the CRM's receiver."""

    worker: tuple[str, int]
    redeem: double.HttpRedeem
    receiver: Receiver
    secret: str
    logs: list


@pytest.fixture
def site(crm):
    """A worker, a resolver and a dispatcher over the CRM's database; acme requires permissions and shows the task."""
    folder, database = crm.lab.folder, crm.database
    edge, master = secrets.token_hex(32), secrets.token_hex(32)
    for name, text in (("edge.secret", edge), ("webhooks.secret", master)):
        (folder / name).write_text(text + "\n")
        (folder / name).chmod(0o600)

    def config(role, more):
        path = folder / f"{role}.toml"
        path.write_text(f'[database]\nurl = "{database.login(role).url}"\n{more}')
        path.chmod(0o600)
        return role, path

    worker = config("worker", f'[esl]\nlisten = "127.0.0.1:0"\n{GATEWAY}')
    keys = f'[keys]\nkek = "{crm.lab.kek_uri}"\n[destinations]\ncountries = ["CN"]\n'
    listen = f'[resolver]\nlisten = "127.0.0.1:0"\nsecrets = {{ edge = "file:{folder}/edge.secret" }}\n'
    resolver = config("resolver", keys + listen + GATEWAY)
    dispatcher = config("dispatcher", f'[webhooks]\nsecret = "file:{folder}/webhooks.secret"\n')
    database.query("SELECT shield_api.set_dialling('acme', true, 'ref', 1000)")
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        admin.set_webhook(database.admin, "acme", "story", receiver.url, list(admin.KINDS))
        stack.callback(admin.change_webhook, database.admin, "acme", "story", "remove")
        stack.callback(database.query, "SELECT shield_api.set_dialling('acme', false, 'token', 1000)")
        running = [stack.enter_context(crm.running(*each)) for each in (worker, resolver, dispatcher)]
        redeem = double.HttpRedeem(f"http://127.0.0.1:{running[1].port}/redeem", edge.encode(), timeout_s=10.0)
        version = admin.secret_version(database.admin, "acme", "story")
        webhooks = WebhooksConfig(f"file:{folder}/webhooks.secret")
        secret = signing.spell(signing.derive(read_master(webhooks), "acme", "story", version))
        yield Site(("127.0.0.1", running[0].port), redeem, receiver, secret, [each.log for each in running])


def told(site, kind):
    """The verified events of a kind the CRM was told."""
    events = [Webhook(site.secret).verify(body, headers) for headers, body in list(site.receiver.requests)]
    return [event["data"] for event in events if event["type"] == kind]


def dumped(crm):
    """The whole database, as a backup holds it."""
    url = make_url(crm.database.admin.url)
    command = [
        find_binaries() / "pg_dump",
        "--inserts",
        "-h",
        url.query["host"],
        "-U",
        url.username,
        "-d",
        url.database,
    ]
    environment = os.environ | {"PGPASSWORD": url.password}
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode()


def test_a_crm_gives_a_number_once_and_works_with_its_own_ids(crm, site):
    """Tokenised, permitted, clicked, talked, told, found by the business ID; the edge alone gets the number."""
    token = crm.token(NUMBER, alias=CUSTOMER)
    permission = crm.ask("POST", "/v1/permissions", {"alias": CUSTOMER, "agent": AGENT, "ref": TASK})
    assert permission.status == 201
    key = {"Idempotency-Key": uuid.uuid4().hex}
    before = len(crm.switch.asked)
    click = crm.ask("POST", "/v1/clicks", {"agent": AGENT, "alias": CUSTOMER}, headers=key)
    assert click.status == 201
    (rung,) = crm.switch.asked[before:]
    assert f"origination_uuid={click.body['id']}," in rung
    assert f"origination_caller_id_number={TASK}," in rung

    carrier, dressed = [], []
    leg = Replay("click", dialled="shield_clicks", domain="acme.example", channel=click.body["id"])

    def invited(command):
        permit, gateway, call_id, dialled = PERMIT.search(command).groups()
        dressed.append(command)
        carrier.append(site.redeem(double.Redemption("edge", permit, dialled, gateway, call_id)))

    leg.on_bridge = invited
    leg.play(site.worker)
    assert carrier == [(200, NUMBER)]
    assert TASK in dressed[0]

    (ended,) = until(lambda: told(site, "call.ended"), "the CRM is told", within_s=60)
    assert (ended["ref"], ended["alias"], ended["token"], ended["state"]) == (TASK, CUSTOMER, token, "COMPLETED")
    (found,) = crm.ask("GET", f"/v1/calls?ref={TASK}").body["calls"]
    assert found == ended | dict.fromkeys(found.keys() - ended.keys())
    assert (found["agent"], found["channel"], found["talk_s"] > 0) == (AGENT, click.body["id"], True)
    state = crm.ask("GET", f"/v1/clicks/{click.body['id']}").body
    assert (state["state"], state["call"]) == ("TAKEN", found["id"])
    assert crm.ask("GET", f"/v1/permissions/{permission.body['id']}").body["state"] == "used_up"
    assert crm.ask("GET", "/v1/calls?ref=TASK-0").body["calls"] == []
    again = crm.ask("POST", "/v1/clicks", {"agent": AGENT, "alias": CUSTOMER})
    assert (again.status, len(crm.switch.asked)) == (404, before + 1)  # the permission was for one call

    heard = [json.dumps([headers, body.decode()]) for headers, body in site.receiver.requests]
    logs = [log.read_text() for log in site.logs]
    everything = "\n".join([crm.everything_written(), dumped(crm), *heard, *logs, *crm.switch.asked, *dressed])
    assert token in everything
    assert TASK in everything
    assert [spelling for spelling in SPELLINGS if spelling in everything] == []
