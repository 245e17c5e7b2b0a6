"""The API held to its document by requests nobody thought of: sound ones, and ones that are not."""

from __future__ import annotations

import re

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks
from vault_lab import ROOT

from esl_shield.api.document import document, text

SCHEMA = schemathesis.openapi.from_dict(document())
# A path parameter that is empty, or has a slash or a dot, is another path: it has an answer, but not this operation's.
PROMISES = [
    checks.not_a_server_error, schemathesis.specs.openapi.checks.status_code_conformance,
    schemathesis.specs.openapi.checks.content_type_conformance,
    schemathesis.specs.openapi.checks.response_schema_conformance,
]  # fmt: skip
EXAMPLES, MANY = 8, 300
CANARY = "13800138666"
DIGITS = re.compile(r"(?<![0-9])(?:\+?86)?1[0-9]{10}(?![0-9])")


def _hold(crm, case):
    """Ask, and check what came back: no 5xx but 503, a promised status and form, no number."""
    headers = {"Authorization": f"Bearer {crm.key}"}
    response = case.call(base_url=f"http://127.0.0.1:{crm.api.port}", headers=headers)
    # A busy machine's database may be too slow for an answer: 503, as the document says.
    away = response.status_code == requests.codes.service_unavailable
    case.validate_response(response, checks=PROMISES[1:] if away else PROMISES)
    assert CANARY not in response.text
    sent = str(case.body)
    for number in DIGITS.findall(response.text):
        assert number not in sent


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)  # fmt: skip
def test_a_few_requests_of_each_operation_keep_to_the_document(case, crm):
    """No request makes a 5xx, an answer the document does not promise, or a number come back."""
    _hold(crm, case)


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(
    max_examples=MANY, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)  # fmt: skip
def test_many_requests_of_each_operation_keep_to_the_document(case, crm):
    """The same with hundreds of requests of each operation, which takes minutes."""
    _hold(crm, case)


def test_the_document_is_served_and_shipped_as_it_is_made(crm):
    """What the process serves without a key is docs/openapi.json, to the byte."""
    served = requests.get(f"http://127.0.0.1:{crm.api.port}/v1/openapi.json", timeout=10)
    shipped = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert served.text == shipped == text()
