"""Keys of the HTTP API: scoped, ended, revoked, rotated, limited; and what SQL lets a taken-over process do."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
import time
from contextlib import nullcontext

import falcon.testing
import pytest
from click.testing import CliRunner
from joserfc import jwt
from joserfc.jwk import ECKey

from esl_shield.api import handlers
from esl_shield.api.app import application
from esl_shield.api.callers import client_hash, key_hash, new_key
from esl_shield.api.limits import Limits
from esl_shield.cli.main import root
from esl_shield.config.api import OAuthConfig
from esl_shield.db.apikeys import ApiKeys
from esl_shield.errors import ShieldError
from esl_shield.service.oauth import open_tokens


def _handlers(database):
    return handlers.handlers(database, export_timeout_s=60.0)


@pytest.fixture
def apikey(crm):
    """Run ``esl-shield apikey``; returns what it printed."""
    config = crm.lab.folder / "admin.toml"
    config.write_text(f'[database]\nurl = "{crm.database.admin.url}"\nconnect_timeout_s = 5\n')
    config.chmod(0o600)

    def run(*arguments):
        done = CliRunner().invoke(root, ["--config", str(config), "apikey", *arguments, "--tenant", "acme"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.stdout

    return run


def test_a_key_made_on_the_command_line_is_shown_once_and_kept_as_a_hash(crm, apikey):
    """The key works, its list shows no part of it, and the database does not have it."""
    key = apikey("add", "web", "--scope", "tokens:read").strip()
    assert re.fullmatch(r"esk_[A-Za-z0-9_-]{43}", key)
    assert crm.ask("GET", "/v1/tokens/by-alias/none", key=key).status == 404
    listed = [json.loads(line) for line in apikey("list", "--format", "json").splitlines()]
    (mine,) = [row for row in listed if row["name"] == "web"]
    assert (mine["scopes"], mine["state"]) == (["tokens:read"], "active")
    assert mine["last_used_at"]
    assert key not in str(listed)
    assert key not in crm.everything_written()


def test_a_key_does_what_its_scopes_name(crm):
    """Beyond them it is told 403 with the scope it lacks, and that is audited."""
    key = crm.make_key(scopes=["tokens:read"])
    assert crm.ask("GET", "/v1/tokens/by-alias/none", key=key).status == 404
    for method, path, body, scope in (
        ("GET", "/v1/calls", None, "calls:read"),
        ("GET", "/v1/calls:export", None, "calls:read"),
        ("POST", "/v1/tokens/12345678/revoke", None, "tokens:write"),
        ("POST", "/v1/tokens", {"number": "+8613800138700"}, "tokens:write"),
    ):
        answer = crm.ask(method, path, body, key=key)
        assert (answer.status, answer.body["error_id"]) == (403, "api.forbidden")
        assert scope in answer.body["detail"]
    assert crm.events("api.refused")[-1][2]["reason"] == "scope"


def test_a_rotated_key_goes_on_for_the_overlap_and_a_revoked_one_not_at_all(crm, apikey):
    """Both keys work during the overlap; a key that was revoked or has ended is told 401 like one nobody made."""
    first = json.loads(apikey("add", "etl", "--scope", "calls:read", "--format", "json"))
    second = json.loads(apikey("rotate", str(first["id"]), "--format", "json"))
    assert [crm.ask("GET", "/v1/calls", key=key["key"]).status for key in (first, second)] == [200, 200]
    third = json.loads(apikey("rotate", str(second["id"]), "--overlap", "0m", "--format", "json"))
    assert [crm.ask("GET", "/v1/calls", key=key["key"]).status for key in (second, third)] == [401, 200]
    assert apikey("revoke", str(third["id"])).startswith("revoked")
    assert apikey("revoke", str(third["id"])).startswith("unchanged")
    refused = crm.ask("GET", "/v1/calls", key=third["key"])
    for _ in range(4):
        assert crm.ask("GET", "/v1/calls", key=third["key"]).status == 401
    events = [e for e in crm.events("api.refused") if e[2]["key"] == third["id"]]
    assert [e[2]["reason"] for e in events] == ["revoked"]  # one a minute, however often it is tried
    crm.database.query(
        "UPDATE shield.api_keys SET revoked_at = revoked_at - interval '1 hour',"
        " last_used_at = last_used_at - interval '61 seconds' WHERE id = %s",
        third["id"],
    )
    assert [crm.ask("GET", "/v1/calls", key=third["key"]).status for _ in range(2)] == [401, 401]
    assert len([e for e in crm.events("api.refused") if e[2]["key"] == third["id"]]) == 2
    assert refused.body == crm.ask("GET", "/v1/calls", key=new_key()[0]).body
    assert refused.headers["Www-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("arguments", "error_id"),
    [
        (("rotate", "2147483647"), "apikey.unknown"),
        (("revoke", "2147483647"), "apikey.unknown"),
        (("add", "12345", "--scope", "dial"), "apikey.rejected"),
        (("add", "crm", "--scope", "dial", "--client", "c"), "apikey.rejected"),
        (("add", "crm", "--scope", "dial", "--expires-in", "soon"), "time.rejected"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value[:2]),
)
def test_a_key_that_cannot_be_made_is_one_error(apikey, arguments, error_id):
    """Each bad request of an administrator has its own answer."""
    with pytest.raises(ShieldError) as caught:
        apikey(*arguments)
    assert caught.value.error_id == error_id


@pytest.mark.parametrize(
    "authorization", ["", "Basic YTpi", "Bearer", "Bearer x", "Bearer esk_short", "Bearer a.b.c", "bearer  ", "esk_x"],
    ids=lambda text: text.replace(" ", "-") or "none",
)  # fmt: skip
def test_what_is_no_key_is_told_so(crm, authorization):
    """Nothing but a key opens anything."""
    answer = crm.ask("GET", "/v1/calls", key=None, headers={"Authorization": authorization})
    assert answer.body["error_id"] == "api.unauthorized"


def test_a_registered_client_may_do_what_both_sides_allow(crm):
    """A client of the authorization server has its tenant's key; its token's scopes narrow it."""
    hashed = client_hash("https://login.example", "crm", "acme")
    ApiKeys(crm.database.admin, "acme").add(hashed, "oauth", ["calls:read"], None, kind="oauth")
    database = crm.database.open(crm.database.login("api", ["acme"]))
    assert database.call("api_token", hashed, None, "none")[0][0] == "NO_SCOPE"
    assert (
        database.call("api_token", client_hash("https://login.example", "crm", "brick"), None, "none")[0][0]
        == "UNKNOWN_KEY"
    )


@pytest.mark.parametrize("source", ["file", "http"])
def test_an_access_token_opens_what_token_and_registration_both_name(crm, tmp_path, source):
    """A token of the server whose keys are in a file, or at an address, acts for its client's one tenant."""
    key = ECKey.generate_key("P-256", {"kid": "k1"})
    (tmp_path / "jwks").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"file:{tmp_path}/jwks" if source == "file" else f"http://127.0.0.1:{server.server_port}/jwks"
        config = OAuthConfig(f"https://{source}.example", "shield", where)
        hashed = client_hash(config.issuer, "crm", "acme")
        ApiKeys(crm.database.admin, "acme").add(hashed, "oauth", ["calls:read", "tokens:read"], None, kind="oauth")
        app = application(
            _handlers(crm.database.open(crm.database.login("api"))), limits=Limits(100, 100),
            tokens=open_tokens(config), max_body_bytes=1000, reading=nullcontext, observe=lambda *_: None,
        )  # fmt: skip

        def ask(path, **changes):
            claims = {
                "iss": config.issuer, "aud": "shield", "exp": int(time.time()) + 60, "client_id": "crm",
                "tenant": "acme", "scope": "calls:read tokens:write",
            } | changes  # fmt: skip
            token = jwt.encode({"alg": "ES256", "kid": "k1"}, claims, key)
            headers = {"Authorization": f"Bearer {token}"}
            return (
                falcon.testing.TestClient(app)
                .simulate_request("POST" if path.endswith("revoke") else "GET", path, headers=headers)
                .status_code
            )

        assert ask("/v1/calls") == 200
        assert ask("/v1/tokens/by-alias/C-1") == 403  # the token does not name it
        assert ask("/v1/tokens/12345678/revoke") == 403  # the registration does not
        assert ask("/v1/calls", tenant="brick") == 401
        assert ask("/v1/calls", aud="other") == 401
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *arguments):
        """Say nothing."""


def test_without_a_key_the_login_reaches_no_tenant(crm):
    """A taken-over process gets nothing for a tenant whose key it was never shown, nor from a login of another."""
    login = crm.database.login("api")
    database = crm.database.open(login)
    functions = crm.database.query(
        "SELECT p.proname, p.pronargs FROM pg_proc p WHERE p.pronamespace = 'shield_api'::regnamespace"
        " AND has_function_privilege('shield_api', p.oid, 'EXECUTE')"
    )
    assert len(functions) > 10
    for function, arguments in functions:
        for key in (bytes(32), b"", None):
            verdict, *rest = database.call(function, key, *[None] * (arguments - 1))[0]
            assert verdict == (False if function == "api_end_click" else "UNKNOWN_KEY"), function
            assert rest == [None] * len(rest), function
    with crm.database.connect(login).cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname IN ('shield', 'dba') AND"
                       " has_schema_privilege(oid, 'USAGE')")  # fmt: skip
        assert cursor.fetchone() == (0,)
    brick = crm.database.open(crm.database.login("api", ["brick"]))
    assert brick.call("api_token", key_hash(crm.key), None, "C-1") == [("UNKNOWN_KEY", None)]


def test_a_key_that_asks_too_fast_is_told_when_to_come_again(crm):
    """A burst is taken, then 429 with Retry-After; another key is not held up; time gives requests back."""
    now = [0.0]
    app = application(
        _handlers(crm.database.open(crm.database.login("api"))), limits=Limits(0.5, 2, clock=lambda: now[0]),
        tokens=None, max_body_bytes=1000, reading=nullcontext, observe=lambda *_: None,
    )  # fmt: skip
    client = falcon.testing.TestClient(app)

    def ask(key):
        answer = client.simulate_get("/v1/tokens/by-alias/none", headers={"Authorization": f"Bearer {key}"})
        return answer.status_code, answer.headers.get("retry-after")

    assert [ask(crm.key) for _ in range(3)] == [(404, None), (404, None), (429, "2")]
    assert ask(crm.make_key())[0] == 404
    now[0] = 2.0
    assert [ask(crm.key) for _ in range(2)] == [(404, None), (429, "2")]


def test_an_unexpected_failure_is_a_500_that_says_nothing(crm, caplog):
    """What nobody thought of is one problem; the request's values are not in it."""

    class Broken:
        def call(self, *arguments):
            raise RuntimeError(arguments)

    app = application(
        _handlers(Broken()), limits=Limits(10, 10), tokens=None, max_body_bytes=1000, reading=nullcontext,
        observe=lambda *_: None,
    )  # fmt: skip
    answer = falcon.testing.TestClient(app).simulate_get(
        "/v1/tokens/by-alias/hush-hush", headers={"Authorization": f"Bearer {crm.key}"}
    )
    assert (answer.status_code, answer.json["error_id"]) == (500, "api.unexpected")
    assert "hush" not in answer.text
