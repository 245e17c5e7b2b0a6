"""What is redeemed, what is refused, and that a refusal says nothing."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from resolver_process import EDGE_SECRET, GATEWAYS, NUMBERS, REFUSED, post

from esl_shield.vault import cipher
from esl_shield.vault.keys import Kek, Key
from esl_shield.vault.numbers import SubscriberNumber


def test_each_delivery_gets_its_spelling(resolver, vault):
    """The edge gets the bare number in its gateway's format, the script a Request-URI."""
    assert resolver.edge(vault.permit()).body == "+8613800138777"
    assert resolver.edge(vault.permit("abroad")).body == "+442079460777"
    national = vault.permit("fixed", "edge-national")
    assert resolver.edge(national, gateway="edge-national").body == "901083001777"
    direct = vault.permit("mobile", "direct-1", "direct")
    answer = resolver.lua(direct, gateway="direct-1")
    assert (answer.status, answer.body) == (200, "sip:008613800138777@127.0.0.1:5080")
    assert answer.raw.startswith(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 34\r\nCache-Control: no-store\r\n\r\nsip:"
    )
    assert vault.audit(direct.call) == [("call.authorized", None), ("permit.redeemed", None)]


def test_a_permit_bound_to_a_leg_is_for_that_leg(resolver, vault):
    """With a SIP Call-ID in the permit, only the request naming it gets the number."""
    assert resolver.edge(vault.permit(call_id="abc@shield"), call="abc@shield").status == 200
    other = vault.permit(call_id="abc@shield")
    assert resolver.edge(other, call="xyz@shield").raw == REFUSED
    assert resolver.edge(other, call="abc@shield").raw == REFUSED
    assert vault.audit(other.call)[1] == ("permit.refused", "call_id_differs")


def test_a_connection_may_carry_many_redemptions(resolver, vault):
    """Success keeps the connection open, also for requests sent together."""
    permits = [vault.permit() for _ in range(3)]
    requests = [
        post(
            {"permit": permit, "token": permit.token, "gateway": "edge-1", "call": ""},
            {"Authorization": f"Bearer {EDGE_SECRET}"},
        )
        for permit in permits
    ]
    with resolver.connect() as connection:
        connection.sendall(requests[0])
        assert b"200 OK" in connection.recv(4096)
        connection.sendall(requests[1] + requests[2])
        replies = b""
        while replies.count(b"+8613800138777") < 2:
            replies += connection.recv(4096)


def test_every_refusal_is_the_same_bytes(resolver, vault):
    """Whatever was wrong, the answer is one and the same, and only an authenticated caller's attempt is audited."""
    used = vault.permit()
    assert resolver.edge(used).status == 200
    expired = vault.permit()
    vault.one("UPDATE shield.permits SET expires_at = now() - interval '1 second'")
    revoked = vault.permit(vault.seed("+8613800138778"))
    vault.one("UPDATE shield.tokens SET status = 'revoked' WHERE token = %s", revoked.token)
    form = {"permit": "0" * 32, "token": "1" * 14, "gateway": "edge-1", "call": ""}
    bearer = {"Authorization": f"Bearer {EDGE_SECRET}"}
    refused = {
        "replay": resolver.edge(used),
        "guessed": resolver.edge(secrets.token_hex(16), token=used.token),
        "expired": resolver.edge(expired),
        "revoked": resolver.edge(revoked),
        "other token": resolver.edge(vault.permit(), token=vault.tokens["fixed"]),
        "other gateway": resolver.edge(vault.permit(), gateway="edge-national"),
        "other gateway, signed": resolver.lua(vault.permit("mobile", "direct-2", "direct")),
        "edge permit, script": resolver.lua(vault.permit(), gateway="edge-1"),
        "direct permit, edge": resolver.edge(vault.permit("mobile", "direct-1", "direct"), gateway="direct-1"),
        "mislabelled delivery": resolver.edge(vault.permit("mobile", "direct-1", "edge"), gateway="direct-1"),
    }
    audited = vault.audited()
    refused |= {
        "unknown gateway": resolver.edge(vault.permit(gateway="edge-9"), gateway="edge-9"),
        "no proof": resolver.edge(vault.permit(), headers={"X-Nothing": "1"}),
        "wrong secret": resolver.edge(vault.permit(), headers={"Authorization": f"Bearer {EDGE_SECRET}x"}),
        "both proofs": resolver.edge(vault.permit(), headers=bearer | {"X-Shield-Signature": "1." + "0" * 64}),
        "bad signature": resolver.lua(vault.permit("mobile", "direct-1", "direct"), secret=EDGE_SECRET),
        "stale signature": resolver.lua(vault.permit("mobile", "direct-1", "direct"), seconds=int(time.time()) - 40),
        "early signature": resolver.lua(vault.permit("mobile", "direct-1", "direct"), seconds=int(time.time()) + 40),
        "no form": resolver.send(post({}, bearer)),
        "malformed form": resolver.send(post(form | {"permit": "G" * 32}, bearer)),
        "extra field": resolver.send(post(form | {"x": "y"}, bearer)),
        "oversized body": resolver.send(post(form | {"call": "x" * 2000}, bearer)),
        "oversized head": resolver.send(post(form, bearer | {"X-Long": "x" * 5000})),
        "a great deal too much": resolver.send(post(form | {"call": "x" * 400_000}, bearer)),
        "wrong method": resolver.send(post(form, bearer).replace(b"POST", b"PUT", 1)),
        "get": resolver.get("/redeem"),
        "wrong path": resolver.send(post(form, bearer, path="/redeem/")),
        "query": resolver.send(post(form, bearer, path="/redeem?x=1")),
        "other page": resolver.get("/"),
        "wrong type": resolver.send(post(form, bearer).replace(b"x-www-form-urlencoded", b"json")),
        "chunked": resolver.send(post(form, bearer | {"Transfer-Encoding": "chunked"})),
        "not http": resolver.send(b"\x16\x03\x01\x00\xf0\x01\x00\r\n\r\n"),
        "http/0.9": resolver.send(b"GET /\r\n\r\n"),
    }
    assert {name: answer.raw for name, answer in refused.items() if answer.raw != REFUSED} == {}
    minted = 7  # the second half's permits, audited when the worker's login drew them
    assert vault.audited() == audited + minted
    for reason in ("bad_secret", "bad_signature", "unauthenticated", "ambiguous", "body_too_large", "form", "path"):
        assert resolver.metric(f'esl_shield_resolver_answers_total{{answer="refused",reason="{reason}"}}') >= 1
    assert resolver.metric('esl_shield_resolver_answers_total{answer="refused",reason="stale_signature"}') == 2


def test_a_wrong_attempt_consumes_the_permit(resolver, vault):
    """An authenticated caller has one try: after a wrong token, gateway or delivery the right request is refused."""
    for wrong in (
        lambda permit: resolver.edge(permit, token=vault.tokens["fixed"]),
        lambda permit: resolver.edge(permit, gateway="edge-national"),
        lambda permit: resolver.lua(permit, gateway="edge-1"),
    ):
        permit = vault.permit()
        assert wrong(permit).raw == REFUSED
        assert resolver.edge(permit).raw == REFUSED
        assert vault.audit(permit.call)[1][0] == "permit.refused"


def test_a_failed_proof_leaves_the_permit_alone(resolver, vault):
    """A stranger who saw a permit can neither redeem nor burn it."""
    permit = vault.permit()
    assert resolver.edge(permit, headers={"Authorization": "Bearer " + "x" * 20}).raw == REFUSED
    assert resolver.lua(permit, gateway="edge-1", secret="x" * 20).raw == REFUSED
    assert resolver.edge(permit).status == 200


def test_a_permit_of_another_delivery_is_refused_even_if_the_database_would_not(resolver, vault):
    """A worker that names the wrong delivery for a gateway gets no number, and the attempt is audited."""
    permit = vault.permit("mobile", "direct-1", "edge")
    assert resolver.edge(permit, gateway="direct-1").raw == REFUSED
    assert vault.audit(permit.call)[-1] == ("permit.refused_number", "delivery")


def test_a_login_redeems_only_its_deliveries(start_resolver, vault):
    """A resolver whose database login is for the edge cannot redeem a direct permit."""
    resolver = start_resolver(deliveries=["edge"])
    assert resolver.edge(vault.permit()).status == 200
    assert resolver.lua(vault.permit("mobile", "direct-1", "direct")).raw == REFUSED


def test_of_many_at_once_one_gets_the_number(resolver, vault):
    """Twenty callers with the same permit at the same moment: one number, nineteen refusals."""
    for _ in range(5):
        permit = vault.permit()
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(resolver.edge, [permit] * 20))
        assert sorted(answer.status for answer in answers) == [200] + [404] * 19


@pytest.mark.parametrize(
    ("name", "gateway", "rule"),
    [
        ("premium", "edge-1", "line_type"),
        ("own", "edge-1", "own_number"),
        ("emergency", "edge-1", "emergency"),
        ("unknown", "edge-1", "invalid"),
        ("abroad", "edge-national", "format"),
    ],
)
def test_a_forbidden_destination_is_refused_and_audited(resolver, vault, name, gateway, rule):
    """The answer says only that the destination is forbidden; the audit event names the rule."""
    permit = vault.permit(name, gateway)
    answer = resolver.edge(permit, gateway=gateway)
    assert (answer.status, answer.body) == (403, "destination")
    assert vault.audit(permit.call)[1:] == [("permit.redeemed", None), ("permit.refused_number", rule)]


def test_only_listed_countries_are_called(start_resolver, vault):
    """With a country list, numbers of others are refused by the resolver whatever the worker thought."""
    resolver = start_resolver(gateways=GATEWAYS + 'countries = ["CN"]\n')
    assert resolver.edge(vault.permit("mobile")).status == 200
    assert resolver.edge(vault.permit("abroad")).status == 403


def damaged(vault, token: str) -> dict[str, bytes]:
    """The ways a stored ciphertext can be wrong, by the reason the audit event must give."""
    right, other = vault.ciphertext(token), vault.ciphertext(vault.tokens["fixed"])
    hidden = SubscriberNumber(NUMBERS["mobile"])
    return {
        "cipher.damaged": right[:-1] + bytes([right[-1] ^ 1]),
        "cipher.damaged ": other,
        "cipher.damaged  ": cipher.encrypt(Key.new(), hidden, vault.tenant_id, token, 1),
        "cipher.damaged   ": cipher.encrypt(vault.data_key, hidden, vault.tenant_id + 1, token, 1),
        "cipher.unknown_format": b"\x02" + right[1:],
        "cipher.other_key_version": cipher.encrypt(vault.data_key, hidden, vault.tenant_id, token, 2),
        "cipher.damaged    ": nonsense(vault, token),
    }


def nonsense(vault, token: str) -> bytes:
    """A well-made ciphertext of what is no number."""
    header = cipher._HEADER.pack(cipher.FORMAT, cipher.AES_256_GCM, 1, secrets.token_bytes(12))
    associated = cipher._associated(header, vault.tenant_id, token)
    sealed, tag = cipher.seal(vault.data_key, header[-12:], b"13800138777x".ljust(16, b"\0"), associated)
    return header + sealed + tag


def test_what_cannot_be_decrypted_is_away_and_audited(resolver, vault):
    """Damaged, swapped, foreign, replayed and meaningless ciphertexts give 503, an audited reason, and then recover."""
    token = vault.tokens["mobile"]
    right = vault.ciphertext(token)
    for reason, ciphertext in damaged(vault, token).items():
        vault.store(token, ciphertext)
        permit = vault.permit()
        answer = resolver.edge(permit)
        assert (answer.status, answer.body) == (503, "away")
        assert vault.audit(permit.call)[-1] == ("permit.refused_number", reason.strip())
    vault.store(token, right)
    assert resolver.edge(vault.permit()).status == 200


def test_the_wrong_kek_gives_no_number(start_resolver, vault):
    """When the vault is wrapped under another KEK the answer is 503, audited, and the resolver says it is not well."""
    resolver = start_resolver()
    vault.one("UPDATE shield.data_keys SET kek_id = %s", Kek.new().id)
    try:
        permit = vault.permit()
        assert resolver.edge(permit).status == 503
        assert vault.audit(permit.call)[-1] == ("permit.refused_number", "keys.wrong_kek")
        time.sleep(1.1)  # the age of an answer to /healthz is what is tested
        assert [resolver.get("/healthz").status for _ in range(3)] == [503] * 3
    finally:
        vault.one("UPDATE shield.data_keys SET kek_id = %s", vault.kek.id)
    assert sum("event=health.unwell error_id=keys.other_kek" in line for line in resolver.lines) == 1
    assert resolver.edge(vault.permit()).status == 200


def test_the_unexpected_is_503_and_a_type_in_the_log(start_resolver, vault):
    """When the database answers what it never should, the caller hears 503 and the log names type and place."""
    mend = vault.one("SELECT pg_get_functiondef('shield_api.redeem_permits'::regproc)")
    vault.one(f"""CREATE OR REPLACE FUNCTION shield_api.redeem_permits(
        p_permit_hashes bytea[], p_tokens text[], p_gateways text[], p_deliveries text[], p_sip_call_ids text[],
        p_wait boolean)
        RETURNS TABLE (place int, call uuid, tenant_id int, token text, ciphertext bytea, key_version int)
        LANGUAGE sql AS $$ SELECT 1, gen_random_uuid(), {vault.tenant_id}, p_tokens[1], NULL::bytea, 1 $$""")
    resolver = start_resolver()
    try:
        assert resolver.edge(vault.permit()).status == 503
    finally:
        vault.one(mend)
    assert resolver.metric('esl_shield_resolver_answers_total{answer="away",reason="unexpected"}') == 1
    assert any("event=resolver.unexpected error=TypeError" in line for line in resolver.lines)
    assert resolver.edge(vault.permit()).status == 200
