"""``webhook`` and ``dispatcher`` as an administrator, an auditor and the dispatcher's user run them."""

import json

import pytest
from standardwebhooks import Webhook
from webhook_receiver import Receiver

MASTER = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def site(vault, tmp_path):
    """Configurations of the roles by name."""
    secret = tmp_path / "webhooks.secret"
    secret.write_text(MASTER + "\n")
    secret.chmod(0o600)
    section = f'[webhooks]\nsecret = "file:{secret}"\n'
    logins = {
        "admin": vault.database.admin, "auditor": vault.database.login("auditor", ["acme"]),
        "dispatcher": vault.database.login("dispatcher", ["acme"]), "both": vault.database.admin,
    }  # fmt: skip
    made = {}
    for name, login in logins.items():
        path = vault.config(login)
        made[name] = tmp_path / f"{name}.toml"
        text = path.read_text() + (section if name in ("dispatcher", "both") else "")
        made[name].write_text(text)
        made[name].chmod(0o600)
    return made


def test_a_webhook_from_its_adding_to_an_event_that_verifies(vault, site):
    """Added, its secret printed, a test event posted by `dispatcher --once`; the receiver's library takes it."""
    run = lambda role, *arguments: vault.run(*arguments, config=site[role])  # noqa: E731
    with Receiver() as receiver:
        add = ("webhook", "add", "crm", "--tenant", "acme", "--url", receiver.url)
        assert run("admin", *add).stdout == "created: webhook crm\n"
        assert run("admin", *add).stdout == "unchanged: webhook crm\n"
        secret = run("both", "webhook", "secret", "crm", "--tenant", "acme").stdout.strip()
        assert run("admin", "webhook", "test", "crm", "--tenant", "acme").stdout == "test: done\n"
        done = run("auditor", "webhook", "list", "--format", "json")
        (row,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert (row["name"], row["waiting"], row["url"]) == ("crm", 1, receiver.url)
        done = run("dispatcher", "dispatcher", "--once", "--format", "json")
        assert json.loads(done.stdout) == {"taken": 1, "failed": 0, "given_up": 0}, done.stderr
    ((headers, body),) = receiver.requests
    assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"
    assert secret not in run("auditor", "webhook", "list", "--format", "json").stdout


@pytest.mark.parametrize(
    ("role", "arguments", "code", "error"),
    [
        ("admin", ("test", "nothing", "--tenant", "acme"), 1, "webhook.unknown"),
        ("admin", ("add", "crm", "--tenant", "nobody", "--url", "https://crm.example/"), 2, "tenant.unknown"),
        ("admin", ("add", "crm", "--tenant", "acme", "--url", "http://crm.example/"), 2, "webhook.rejected"),
        ("auditor", ("add", "crm", "--tenant", "acme", "--url", "https://crm.example/"), 2, "database.right_missing"),
        ("admin", ("secret", "crm", "--tenant", "acme"), 2, "config.invalid"),
    ],
    ids=["unknown", "tenant", "plain http", "auditor", "no secret"],
)
def test_what_cannot_be_done_says_so(vault, site, role, arguments, code, error):
    """Each has its exit code and error id."""
    done = vault.run("webhook", *arguments, config=site[role])
    assert f"[{error}]" in done.stderr
    assert done.returncode == code
