"""The Lua script and its SHA-256, run by every Lua interpreter there is, with a stand-in for FreeSWITCH's API."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "dialplan" / "scripts"
INTERPRETERS = [name for name in ("lua5.1", "lua5.2", "lua5.3", "lua5.4", "luajit", "lua") if shutil.which(name)]
PERMIT, TOKEN, GATEWAY = "0123456789abcdef0123456789abcdef", "70001234567893", "carrier-a"
ARGV = (PERMIT, TOKEN, GATEWAY)
NUMBER = "+8613800138042"
URI = f"sip:{NUMBER}@192.0.2.10:5060"
SECRET = "0123456789abcdef0123456789abcdef"

# What the script may use of FreeSWITCH. Every string it hands over is printed with the name of the way it went.
STAND_IN = r"""
local answer, secret_file, ready, failure, answered = arg[1], arg[2], arg[3] == "yes", arg[4], arg[5] == "yes"
local globals = { script_dir = arg[6], shield_resolver_url = "http://127.0.0.1:8090/redeem",
                  shield_secret_file = secret_file }
local bridges = arg[10] ~= "no"
local customer_has = { hangup_cause = "NORMAL_CLEARING" }
local function say(way, ...) print(table.concat({ way, ... }, "\t")) end
freeswitch = {
  getGlobalVariable = function(name) return globals[name] end,
  consoleLog = function(level, text) say("log", level, (text:gsub("\n", ""))) end,
  API = function() return { executeString = function(_, text) say("api", text) return answer end } end,
  Session = function(dial)
    say("dial", dial)
    return { ready = function() return failure == "" end, hangupCause = function() return failure end,
             answered = function() return answered end,
             setAutoHangup = function(_, value) say("auto", tostring(value)) end,
             getVariable = function(_, name) return customer_has[name] end }
  end,
  bridge = function() say("bridge") if bridges then customer_has.last_bridge_to = "agent" end end,
}
session = { ready = function() return ready end, getVariable = function() return nil end,
            setVariable = function(_, name, value) say("set", name, value) end }
argv = { [0] = "esl_shield.lua", arg[7], arg[8], arg[9] }
dofile(arg[6] .. "/esl_shield.lua")
"""

if not INTERPRETERS and os.environ.get("CI") == "true":
    pytest.fail("no Lua interpreter (Debian: lua5.4, luajit)", pytrace=False)
pytestmark = pytest.mark.skipif(not INTERPRETERS, reason="no Lua interpreter")
each_lua = pytest.mark.parametrize("lua", INTERPRETERS)


def _lua(lua, code, *arguments):
    head = f"package.path = [[{SCRIPTS}/?.lua;]] .. package.path\n"
    done = subprocess.run(
        [lua, "-", *arguments], input=(head + code).encode(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("latin-1")


def _json(status, body, exit_code=0):
    """What `curl URL json` answers (mod_curl.c: print_json)."""
    reply = {"exit_code": str(exit_code), "status_code": str(status), "body": body, "headers": []}
    return json.dumps(reply, separators=(",", ":"))


@pytest.fixture
def run(tmp_path):
    """Run the script; returns the lines it caused."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")

    def run(lua, answer, *, ready="yes", failure="", answered="yes", bridges="yes", secret_file=secret, argv=ARGV):
        arguments = (answer, str(secret_file), ready, failure, answered, str(SCRIPTS), *argv, bridges)
        return [tuple(line.split("\t")) for line in _lua(lua, STAND_IN, *arguments).splitlines()]

    return run


def _result(lines):
    return tuple(line[2] for line in lines if line[0] == "set" and line[1] in ("shield_result", "shield_cause"))


@each_lua
def test_sha256_gives_the_published_digests(lua):
    """FIPS 180-4's examples, and every length around a block's edge, as Python's hashlib has them."""
    messages = [b"", b"abc", b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"]
    rng = random.Random(1)  # noqa: S311 - test data
    messages += [rng.randbytes(length) for length in (54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 300)]
    code = """local sha256 = require("esl_shield.sha256")
    for _, hex in ipairs(arg) do
      local message = hex:gsub("%x%x", function(c) return string.char(tonumber(c, 16)) end)
      print((sha256.digest(message):gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
    end"""
    digests = _lua(lua, code, *(message.hex() for message in messages)).split()
    assert digests == [hashlib.sha256(message).hexdigest() for message in messages]


@each_lua
@pytest.mark.parametrize(
    ("key", "message", "mac"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ],
    ids=["rfc4231-1", "rfc4231-2", "rfc4231-6"],
)
def test_hmac_gives_the_published_values(lua, key, message, mac):
    """RFC 4231's test cases 1, 2 and 6."""
    code = """local sha256 = require("esl_shield.sha256")
    local function raw(hex) return (hex:gsub("%x%x", function(c) return string.char(tonumber(c, 16)) end)) end
    print(sha256.hmac_hex(raw(arg[1]), raw(arg[2])))"""
    assert _lua(lua, code, key.hex(), message.hex()).strip() == mac


@each_lua
def test_a_redeemed_permit_is_dialled_by_the_token(run, lua):
    """The dial string holds the number in one variable and names the token; the agent's leg learns the outcome only."""
    lines = run(lua, _json(200, URI))
    ((_, dial),) = [line for line in lines if line[0] == "dial"]
    assert dial.startswith(f"[sip_invite_req_uri={URI},")
    assert dial.endswith(f"]sofia/gateway/{GATEWAY}/{TOKEN}")
    assert dial.count(NUMBER) == 1
    assert "process_cdr=false" in dial
    assert "outbound_redirect_fatal=true" in dial
    assert ("bridge",) in lines
    assert _result(lines) == ("bridged", "NORMAL_CLEARING")
    assert not [line for line in lines if line[0] != "dial" and NUMBER[1:] in "".join(line)]


@each_lua
def test_the_request_is_signed_and_holds_no_secret(run, lua):
    """The API's argument, which FreeSWITCH shows in an event, has a signature over what it asks for."""
    ((_, request),) = [line for line in run(lua, _json(200, URI)) if line[0] == "api"]
    assert SECRET not in request.replace(PERMIT, "")
    seconds, signature = re.search(r"append_headers X-Shield-Signature:(\d+)\.([0-9a-f]{64}) ", request).groups()
    signed = f"{seconds}|{PERMIT}|{TOKEN}|{GATEWAY}".encode()
    assert signature == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert request.endswith(f" post permit={PERMIT}&token={TOKEN}&gateway={GATEWAY}&call=")
    assert " connect-timeout 1 timeout 2 " in request
    assert " secure " in request


@each_lua
@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (_json(404, "refused"), ("refused", "CALL_REJECTED")),
        (_json(403, "destination"), ("destination", "CALL_REJECTED")),
        (_json(503, "away"), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(0, "", exit_code=7), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(200, URI, exit_code=18), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(404, "refused", exit_code=28), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(500, URI), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(200, ""), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(200, URI + "\n"), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(200, URI + ",a=b"), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(200, f"sip:{NUMBER}@[::1]:5060"), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(200, f"sip:{NUMBER}@192.0.2.10"), ("away", "NORMAL_TEMPORARY_FAILURE")),
        (_json(200, "sip:++1@192.0.2.10:5060"), ("away", "NORMAL_TEMPORARY_FAILURE")),
        ("-ERR no reply", ("away", "NORMAL_TEMPORARY_FAILURE")),
        ("", ("away", "NORMAL_TEMPORARY_FAILURE")),
    ],
)
def test_anything_but_a_request_uri_dials_nothing(run, lua, answer, result):
    """403 and 404 have their own result; whatever is not exactly right counts as a resolver that is away."""
    lines = run(lua, answer)
    assert _result(lines) == result
    assert not [line for line in lines if line[0] in ("dial", "bridge")]


@each_lua
@pytest.mark.parametrize(
    "argv",
    [
        ("", "", ""),
        (PERMIT[:-1], TOKEN, GATEWAY),
        (PERMIT + "0", TOKEN, GATEWAY),
        (PERMIT[:-1] + "g", TOKEN, GATEWAY),
        (PERMIT, "7000x", GATEWAY),
        (PERMIT, "", GATEWAY),
        (PERMIT, TOKEN, "a/b"),
        (PERMIT, TOKEN, "a&call=x"),
        (PERMIT, TOKEN, "a%20b"),
    ],
)
def test_malformed_arguments_ask_nobody(run, lua, argv):
    """Permit, token and gateway have their own characters only; nothing else gets as far as a request."""
    lines = run(lua, _json(200, URI), argv=argv)
    assert _result(lines) == ("refused", "CALL_REJECTED")
    assert not [line for line in lines if line[0] in ("api", "dial")]


@each_lua
@pytest.mark.parametrize("content", ["", "short\n", "with a blank in it, 0123456789\n"])
def test_without_a_usable_secret_nobody_is_asked(run, lua, content, tmp_path):
    """A missing, short or malformed secret is logged by the name of its setting and counts as a resolver away."""
    file = tmp_path / "other"
    if content:
        file.write_text(content)
    lines = run(lua, _json(200, URI), secret_file=file)
    assert _result(lines) == ("away", "NORMAL_TEMPORARY_FAILURE")
    assert not [line for line in lines if line[0] in ("api", "dial")]
    (text,) = [line[2] for line in lines if line[0] == "log"]
    assert "shield_secret_file" in text
    assert content.strip() not in text or not content.strip()


@each_lua
def test_a_secret_with_windows_line_ends_is_the_same_secret(run, lua, tmp_path):
    """The resolver reads it without them too."""
    file = tmp_path / "other"
    file.write_bytes(SECRET.encode() + b"\r\n")
    assert _result(run(lua, _json(200, URI), secret_file=file)) == ("bridged", "NORMAL_CLEARING")


@each_lua
def test_an_agent_who_left_calls_nobody(run, lua):
    """The agent hung up while the resolver was asked."""
    lines = run(lua, _json(200, URI), ready="no")
    assert _result(lines) == ("failed", "ORIGINATOR_CANCEL")
    assert not [line for line in lines if line[0] == "dial"]


@each_lua
def test_a_failed_attempt_leaves_its_cause(run, lua):
    """The carrier's cause reaches the worker by name."""
    lines = run(lua, _json(200, URI), failure="USER_BUSY")
    assert _result(lines) == ("failed", "USER_BUSY")
    assert ("bridge",) not in lines


@each_lua
def test_a_bridge_on_early_media_only_is_no_conversation(run, lua):
    """183 and then a failure ends as failed."""
    assert _result(run(lua, _json(200, URI), answered="no"))[0] == "failed"


@each_lua
@pytest.mark.parametrize("bridges", ["yes", "no"])
def test_only_a_leg_that_was_never_bridged_is_hung_up_with_the_script(run, lua, bridges):
    """A customer who was transferred on meanwhile must not be cut off when the script's objects are collected."""
    assert (("auto", "false") in run(lua, _json(200, URI), bridges=bridges)) == (bridges == "yes")


@each_lua
def test_an_error_in_the_script_tells_nothing(run, lua):
    """When FreeSWITCH's API fails the outcome is set, and the error's text, which may quote a value, is not logged."""
    broken = STAND_IN.replace('say("bridge")', f'error("{URI}")', 1)
    arguments = (
        _json(200, URI),
        str(SCRIPTS / "esl_shield.lua"),
        "yes",
        "",
        "yes",
        str(SCRIPTS),
        PERMIT,
        TOKEN,
        GATEWAY,
    )
    lines = [tuple(line.split("\t")) for line in _lua(lua, broken, *arguments).splitlines()]
    assert _result(lines)[0] == "away"
    assert not [line for line in lines if line[0] != "dial" and NUMBER[1:] in "".join(line)]


@each_lua
def test_what_a_carrier_wrote_on_the_agents_leg_is_cleared(run, lua):
    """Reason phrases, Reason headers and SDP may quote the number: they are gone before the agent's CDR is written."""
    lines = run(lua, _json(200, URI))
    cleared = {line[1] for line in lines if line[0] == "set" and line[2:] in ((), ("",))}
    assert {"sip_invite_failure_phrase", "sip_hangup_phrase", "sip_reason", "switch_m_sdp"} <= cleared
