"""Signatures hold for the library receivers use, and for nothing else."""

from __future__ import annotations

import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from esl_shield.service.webhooks import signing

MASTER = b"a-master-secret-of-32-characters"
BODY = json.dumps({"type": "call.ended", "data": {"token": "70001234567894"}}).encode()


def test_the_receivers_library_verifies():
    """The reference implementation of Standard Webhooks takes our headers with the secret we print."""
    secret = signing.derive(MASTER, "bank", "crm", 1)
    headers = signing.headers([secret], "evt_7", int(time.time()), BODY)
    assert Webhook(signing.spell(secret)).verify(BODY, headers) == json.loads(BODY)


def test_both_secrets_verify_while_one_replaces_the_other():
    """Requests signed with two secrets are taken with either."""
    secrets = [signing.derive(MASTER, "bank", "crm", version) for version in (2, 1)]
    headers = signing.headers(secrets, "evt_7", int(time.time()), BODY)
    for secret in secrets:
        Webhook(signing.spell(secret)).verify(BODY, headers)


@pytest.mark.parametrize(
    "changed",
    [{"webhook-id": "evt_8"}, {"webhook-timestamp": "1"}, {"webhook-signature": "v1,AAAA"}],
    ids=["id", "time", "signature"],
)
def test_what_was_changed_is_refused(changed):
    """Another id, time or signature does not verify."""
    secret = signing.derive(MASTER, "bank", "crm", 1)
    headers = signing.headers([secret], "evt_7", int(time.time()), BODY) | changed
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.spell(secret)).verify(BODY, headers)


def test_every_webhook_has_a_secret_of_its_own():
    """Tenant, name, version and master each change it, also where their texts run together."""
    secrets = {
        signing.derive(master, tenant, name, version)
        for master in (MASTER, MASTER + b"x")
        for tenant, name in (("bank", "crm"), ("ban", "kcrm"), ("bank", "crm1"))
        for version in (1, 2)
    }
    assert len(secrets) == 12
