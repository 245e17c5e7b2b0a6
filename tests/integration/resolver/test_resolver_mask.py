"""Callers masked: one token for every spelling of a number, one refusal for everything else, nothing written."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from polling import in_time, until
from resolver_process import EDGE_SECRET, MASK_SECRET, NUMBERS, REFUSED, held, post, search, write_config

CN_DID, GB_DID, DISABLED, FULL = "+862160001111", "+442079460111", "+862160003333", "+862160004444"
CALLER, DIGITS = NUMBERS["mobile"], NUMBERS["mobile"][1:]


@pytest.fixture(scope="module")
def dids(vault):
    """The tenant's DIDs: one of each country, one disabled."""
    for did, enabled in ((CN_DID, True), (GB_DID, True), (DISABLED, False)):
        vault.one("SELECT shield_api.set_did('bank', %s, '{1001}', %s, NULL)", did, enabled)


@pytest.fixture(scope="module")
def masker(start_resolver, database, dids):
    """A resolver that masks."""
    return start_resolver(masking_url=database.login("masker").url)


@pytest.mark.parametrize(
    ("did", "spelling"),
    [
        (CN_DID, CALLER),
        (CN_DID, "13800138777"),
        (CN_DID, "013800138777"),
        (CN_DID, "008613800138777"),
        (GB_DID, CALLER),
    ],
)
def test_every_spelling_of_a_number_is_one_token(masker, vault, did, spelling):
    """National and international spellings of a known number are answered with the token it has."""
    answer = masker.mask(spelling, did)
    assert (answer.status, answer.body) == (200, vault.tokens["mobile"])


@pytest.mark.parametrize(
    ("did", "spelling", "same"),
    [(GB_DID, "02079460201", "+442079460201"), (CN_DID, "02160002222", "+862160002222")],
)
def test_a_new_number_gets_a_token_and_keeps_it(masker, vault, did, spelling, same):
    """A first sight makes a token with what policy needs beside it; the number is read in the DID's country."""
    token = masker.mask(spelling, did).body
    assert re.fullmatch(r"7[0-9]{13}", token)
    assert masker.mask(same, CN_DID).body == token
    row = vault.one("SELECT country || '/' || time_zone || '/' || line_type FROM shield.tokens WHERE token = %s", token)
    assert row == {"+442079460201": "GB/Europe/London/fixed_line", "+862160002222": "CN/Asia/Shanghai/fixed_line"}[same]


def test_concurrent_first_sights_are_one_token(masker, vault):
    """Six calls of one new customer at once are shown one token, and one was made."""
    before = vault.one("SELECT tokens FROM shield.token_space")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: masker.mask("+8613800138600", CN_DID), range(6)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert vault.one("SELECT tokens FROM shield.token_space") == before + 1


def test_a_masked_caller_can_be_called_back(masker, vault):
    """The token is redeemed for the number that was masked, by the permit of an ordinary call."""
    token = masker.mask("+8613800138601", CN_DID).body
    assert masker.edge(vault.permit(token)).body == "+8613800138601"


def test_every_refusal_is_the_same_bytes(masker, vault):
    """Whatever is wrong, the answer is that of a refused permit; nobody unproven reaches the database."""
    bearer = {"Authorization": f"Bearer {MASK_SECRET}"}
    form = {"number": CALLER, "did": CN_DID, "call": str(uuid.uuid4())}
    before = vault.audited()
    refused = {
        "no proof": masker.mask(CALLER, CN_DID, headers={"X-Nothing": "1"}),
        "the other secret": masker.mask(CALLER, CN_DID, headers={"Authorization": f"Bearer {EDGE_SECRET}"}),
        "both proofs": masker.mask(CALLER, CN_DID, headers=bearer | {"X-Shield-Signature": "1." + "0" * 64}),
        "no form": masker.send(post({}, bearer, path="/mask")),
        "no number": masker.mask("", CN_DID),
        "letters": masker.mask("anonymous", CN_DID),
        "too long": masker.mask("+" + "1" * 21, CN_DID),
        "a blank": masker.mask("+86 13800138777", CN_DID),
        "no such number": masker.mask("+8699999", CN_DID),
        "not of that country": masker.mask("99999999999999", CN_DID),
        "two numbers": masker.send(post(form, bearer, path="/mask").replace(b"did=", b"number=1&x=")),
        "a field more": masker.mask(CALLER, CN_DID, x="1"),
        "no call": masker.mask(CALLER, CN_DID, call=""),
        "a call of the caller's words": masker.mask(CALLER, CN_DID, call=CALLER),
        "did without plus": masker.mask(CALLER, "862160001111"),
        "did of no country": masker.mask(CALLER, "+99999999"),
        "the did itself calls": masker.mask(CN_DID, CN_DID),
        "the did itself, national": masker.mask("02160001111", CN_DID),
        "did of nobody": masker.mask(CALLER, "+862160009999"),
        "did disabled": masker.mask(CALLER, DISABLED),
        "get": masker.get("/mask"),
        "path": masker.send(post(form, bearer, path="/mask/")),
        "type": masker.send(post(form, bearer, path="/mask").replace(b"x-www-form-urlencoded", b"json")),
        "permit with the mask's secret": masker.edge(vault.permit(), headers=bearer),
    }
    assert {name: answer.raw for name, answer in refused.items() if answer.raw != REFUSED} == {}
    assert vault.audited() == before + 1  # the permit above, as the worker drew it


def test_rates_are_refusals_too(masker, vault):
    """Beyond the DID's rate a caller is refused; the reason stands in the audit trail."""
    vault.one("SELECT shield_api.set_did('bank', %s, '{1001}', true, 0)", FULL)
    assert masker.mask(CALLER, FULL).raw == REFUSED
    vault.one("SELECT shield_api.set_did('bank', %s, '{1001}', true, 5)", FULL)
    assert masker.mask(CALLER, FULL).status == 200
    reasons = "SELECT string_agg(detail->>'reason', ',') FROM shield.audit_events WHERE kind = 'number.mask_refused'"
    assert vault.one(reasons) == "did_rate"


def test_a_mask_is_audited_by_the_edges_name_of_the_call(masker, vault):
    """The event holds token, DID and call, nothing of the number."""
    call = str(uuid.uuid4())
    token = masker.mask(CALLER, CN_DID, call=call).body
    assert vault.audit(call) == [("number.masked", None)]
    event = vault.one("SELECT to_jsonb(e)::text FROM shield.audit_events e WHERE call = %s", call)
    assert token in event
    assert CN_DID in event
    assert DIGITS[-8:] not in event.replace(call, "")


def test_changed_dids_and_keys_are_seen_at_once(masker, vault):
    """A DID disabled or given to a new index key after it was first used is read again, not remembered."""
    vault.one("SELECT shield_api.set_did('bank', '+862160005555', '{1001}', true, NULL)")
    assert masker.mask(CALLER, "+862160005555").status == 200
    vault.one("SELECT shield_api.set_did('bank', '+862160005555', '{1001}', false, NULL)")
    assert masker.mask(CALLER, "+862160005555").raw == REFUSED
    vault.one("SELECT shield_api.set_did('bank', '+862160005555', '{1001}', true, NULL)")
    assert masker.mask(CALLER, "+862160005555").status == 200


def test_a_database_that_hangs_is_away_within_a_second(masker, vault):
    """The edge waits for a second: it is told 503 before that, and the next caller is masked again."""
    assert masker.mask("+8613800138602", CN_DID).status == 200
    with held(vault, "LOCK TABLE shield.number_refs IN ACCESS EXCLUSIVE MODE"):
        assert in_time(1, lambda: masker.mask("+8613800138602", CN_DID)).status == 503
    assert masker.mask("+8613800138602", CN_DID).status == 200


def test_without_a_login_there_is_no_mask(start_resolver, vault):
    """A resolver without [masking.database] refuses as any unknown path."""
    assert start_resolver().mask(CALLER, CN_DID).raw == REFUSED


def test_a_login_that_redeems_does_not_mask(database, vault, tmp_path):
    """A resolver's login in the masker's place is refused at the start, in one sentence."""
    url = database.login("resolver").url
    path = write_config(tmp_path, url, vault.kek_file, masking_url=url)
    done = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(path), "resolver"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "[database.login_misplaced]" in done.stderr


def test_nothing_written_holds_a_number(masker, vault):
    """A caller masked and a caller refused leave no number, and the searched log does say what was answered."""
    assert masker.mask(NUMBERS["own"], CN_DID).status == 200
    assert masker.mask(CALLER, DISABLED).raw == REFUSED
    until(lambda: any("resolver.answer" in line for line in masker.lines), "the answer is in the log")
    search(masker, vault)
