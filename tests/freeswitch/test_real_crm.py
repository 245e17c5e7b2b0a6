"""A CRM on a real FreeSWITCH with the edge: number to token, permission, click, talk, recording, webhook, record.

The customers' carrier is hostile; at the end of the test nothing inside holds the number, as in call control.
"""

from __future__ import annotations

import re
import secrets
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import requests
from cast import Cast, inside
from polling import until
from ports import HOST, free_port
from shield import TENANT, Role
from standardwebhooks import Webhook
from webhook_receiver import Receiver

from esl_shield.api.callers import new_key
from esl_shield.api.operations import SCOPES
from esl_shield.audit import known
from esl_shield.config.webhooks import WebhooksConfig
from esl_shield.db.apikeys import ApiKeys
from esl_shield.service.webhooks import admin, signing
from esl_shield.service.webhooks.dispatcher import read_master

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER, TASK, CUSTOMER = "+8613800139142", "TASK-912", "CRM-91-x"
DIALLING = (Path(__file__).resolve().parents[2] / "docs" / "dialling.md").read_text(encoding="utf-8")
SOCKET = '<action application="socket" data="$${shield_workers} async full"/>'

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


class Crm(NamedTuple):
    """The tenant's system: the API it asks, the webhook it is told by, all it was ever sent."""

    url: str
    key: str
    receiver: Receiver
    secret: str
    heard: list[str]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        """One request."""
        headers["Authorization"] = f"Bearer {self.key}"
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=30)
        self.heard.append(answer.text + str(answer.headers))
        return answer

    def told(self, kind: str) -> list[dict[str, object]]:
        """The verified events of a kind."""
        events = [Webhook(self.secret).verify(body, headers) for headers, body in list(self.receiver.requests)]
        return [event["data"] for event in events if event["type"] == kind]


@pytest.fixture
def cast(database, stage, tap, tmp_path):
    """A site that requires permissions and shows the business ID; at the end nothing inside holds a number."""
    cast = Cast(database, stage, tap, tmp_path)
    database.query("SELECT shield_api.set_dialling(%s, true, 'ref', 10)", TENANT)
    yield cast
    cast.switch.esl.api("hupall NORMAL_CLEARING")  # what a failed test left
    assert inside(cast.leaves()) == {}


@pytest.fixture
def recordings(cast) -> Iterator[Path]:
    """The folder of recordings; FreeSWITCH runs with the lines docs/dialling.md prints for them."""
    folder = cast.switch.folder / "recordings"
    before, context = (block for block in re.findall(r"```xml\n(.*?)```", DIALLING, re.DOTALL))
    assert "-ERR" not in cast.switch.esl.api("load mod_sndfile")
    (path,) = (path for path in (cast.switch.conf / "dialplan").glob("*.xml") if "shield_clicks" in path.read_text())
    text = path.read_text()
    assert SOCKET in text
    context = context.replace("/var/spool/recordings", str(folder))
    path.write_text(text.replace(SOCKET, before + SOCKET).replace("</include>", context + "</include>"))
    cast.switch.esl.api("reloadxml")
    yield folder
    path.write_text(text)
    cast.switch.esl.api("reloadxml")


@pytest.fixture
def crm(cast, database, stage) -> Iterator[Crm]:
    """API, tokeniser and dispatcher as processes; a key with every scope."""
    folder, (key, hashed) = cast.shield.folder, new_key()
    ApiKeys(database.admin, TENANT).add(hashed, "crm", tuple(SCOPES), None)
    (folder / "webhooks.secret").write_text(secrets.token_hex(32) + "\n")
    (folder / "webhooks.secret").chmod(0o400)
    api, tokeniser = free_port(), free_port()
    start(
        cast, "tokeniser", f'[keys]\nkek = "file:{folder}/kek"\n[tokeniser]\nlisten = "{HOST}:{tokeniser}"\n', "seeder"
    )
    switch = f'[clicks]\naddress = "{HOST}:{stage.ports.esl}"\npassword = "file:{folder}/esl"\nring_s = 5\n'
    start(cast, "api", f'[api]\nlisten = "{HOST}:{api}"\ntokeniser = "{HOST}:{tokeniser}"\n{switch}')
    start(cast, "dispatcher", f'[webhooks]\nsecret = "file:{folder}/webhooks.secret"\n')
    with Receiver() as receiver:
        admin.set_webhook(database.admin, TENANT, "crm", receiver.url, list(admin.KINDS))
        master = read_master(WebhooksConfig(f"file:{folder}/webhooks.secret"))
        version = admin.secret_version(database.admin, TENANT, "crm")
        secret = signing.spell(signing.derive(master, TENANT, "crm", version))
        yield Crm(f"http://{HOST}:{api}", key, receiver, secret, [])


def start(cast, name, config, login=""):
    """Start one of our processes with a login of its role."""
    url = cast.shield.database.login(login or name, [TENANT]).url
    path = cast.shield.folder / f"{name}-crm.toml"
    path.write_text(f'[database]\nurl = "{url}"\n{config}')
    path.chmod(0o600)
    cast.stage.callback(Role(name, path).stop)


def test_a_crm_clicks_and_finds_call_and_recording_by_its_business_id(cast, crm, recordings):
    """The agent's phone rings, both talk, it is recorded under the task's name, told, and found; no number anywhere."""
    agent = cast.agent("1001")
    made = crm.ask("POST", "/v1/tokens", {"number": NUMBER, "alias": CUSTOMER})
    assert made.status_code == 201
    token = cast.called[NUMBER] = made.json()["token"]
    permission = crm.ask("POST", "/v1/permissions", {"alias": CUSTOMER, "agent": "1001", "ref": TASK})
    assert permission.status_code == 201
    wanted, key = {"agent": "1001", "alias": CUSTOMER}, {"Idempotency-Key": uuid.uuid4().hex}
    click = crm.ask("POST", "/v1/clicks", wanted, **key)
    assert click.status_code == 201
    again = crm.ask("POST", "/v1/clicks", wanted, **key)
    assert (again.status_code, again.json()["id"]) == (200, click.json()["id"])
    customer = cast.customers.ringing()
    cast.until_talks(NUMBER, "1001")
    assert agent.called()[0].invite["x-shield-ref"] == TASK
    until(lambda: list(recordings.glob("*.wav")), "the call is recorded")
    cast.look()
    customer.hang_up()

    (ended,) = until(lambda: crm.told("call.ended"), "the CRM is told", within_s=30)
    assert (ended["state"], ended["ref"], ended["alias"], ended["token"]) == ("COMPLETED", TASK, CUSTOMER, token)
    (found,) = crm.ask("GET", f"/v1/calls?ref={TASK}").json()["calls"]
    assert (found["id"], found["channel"], found["agent"]) == (ended["id"], click.json()["id"], "1001")
    (recording,) = recordings.glob("*.wav")
    assert recording.name == f"{TASK}_{found['id']}.wav"
    assert recording.stat().st_size > 44  # longer than its header
    assert len(agent.called()) == len(cast.customers.called()) == 1
    assert crm.ask("GET", f"/v1/permissions/{permission.json()['id']}").json()["state"] == "used_up"

    heard = [*crm.heard, *(str(headers) + body.decode() for headers, body in crm.receiver.requests)]
    assert known.scan_bytes("\n".join(heard).encode(), known.encodings(NUMBER, token)) == []
    recording.unlink()
