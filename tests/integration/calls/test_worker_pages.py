"""What a worker says of itself."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request

import gevent
import pytest
from fix_site import BANK, NUMBERS, eventually
from freezing import frozen
from polling import in_time

from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway


@pytest.fixture
def watched(call_centre, unused_tcp_port, request):
    """Start a worker whose pages listen on a free port; a parameter is further lines of its [esl]."""
    config = call_centre.site.folder / "watched.toml"
    text = call_centre.site.config("worker").read_text().replace("[esl]\n", f"[esl]\n{getattr(request, 'param', '')}")
    config.write_text(text + f'\n[metrics]\nlisten = "127.0.0.1:{unused_tcp_port}"\n')
    config.chmod(0o600)
    process = call_centre.site.start("worker", config=config, name="watched")
    yield process, f"http://127.0.0.1:{unused_tcp_port}"
    assert call_centre.site.stop("watched") == 0


def value(page, series):
    return float(next(line for line in page.splitlines() if line.startswith(f"{series} ")).rpartition(" ")[2])


def parts(url):
    """The status of /readyz and what it says of the parts, within two seconds."""

    def ask():
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
                return answer.status, json.load(answer)["parts"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["parts"]

    return in_time(2, ask)


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def test_metrics_count_calls_without_naming_them(call_centre, watched):
    """After a call the page counts it by outcome; no token, agent or number is on it."""
    process, url = watched
    token = call_centre.token(BANK, 50)
    call = Call(
        dialled=token, agent=Agent(domain=BANK.domain),
        gateways={"carrier-a": Gateway(Carrier(after_s=0.01))}, hangs_up_after_s=0.01,
    )  # fmt: skip
    result = double.play(call, (process.address.host, process.address.port), redeem=call_centre.redeem)
    assert call_centre.record(BANK, result)["state"] == "COMPLETED"
    page = get(f"{url}/metrics")
    counted = {
        f'worker_calls_total{{outcome="completed",tenant="{BANK.domain}"}}': 1, "worker_handoff_seconds_count": 1,
        'gateway_attempts_total{cause="answered",gateway="carrier-a"}': 1, 'gateway_up{gateway="carrier-a"}': 1,
        "worker_open_calls": 0, "worker_call_slots": 4000, "worker_draining": 0, "worker_overflow_calls": 0,
        'database_connections_in_use{pool="calls"}': 0, 'database_away_total{pool="calls"}': 0,
    }  # fmt: skip
    assert {name: value(page, f"esl_shield_{name}") for name in counted} == counted
    assert value(page, 'esl_shield_database_calls_total{pool="calls"}') >= 3
    named = re.sub(r"[0-9.e+-]+$", "", page, flags=re.MULTILINE)  # a measured time may have any digits
    for secret in (token, NUMBERS[50][1:], "1001"):
        assert secret not in named


def test_the_worker_has_these_pages_only(watched):
    """Health is said part by part, after asking the database; anything else is 404."""
    _, url = watched
    assert json.loads(get(f"{url}/livez")) == {"live": True}
    ready = {"live": True, "ready": True, "parts": {"database": "ok", "listener": "ok", "slots": "ok"}}
    assert json.loads(get(f"{url}/healthz")) == json.loads(get(f"{url}/readyz")) == ready
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(f"{url}/redeem")
    assert caught.value.code == 404
    caught.value.close()


def test_a_frozen_database_is_named_and_the_worker_lives(call_centre, watched):
    """Stopped backends keep nobody waiting: /readyz names the database within two seconds, /livez is 200."""
    _, url = watched
    assert parts(url)[0] == 200
    with frozen(call_centre.site.postgres):
        state = eventually(lambda: (found := parts(url))[0] == 503 and found)
        assert state[1] == {"database": "database.away", "listener": "ok", "slots": "ok"}
        assert json.loads(get(f"{url}/livez")) == {"live": True}
        eventually(lambda: value(get(f"{url}/metrics"), 'esl_shield_database_away_total{pool="calls"}') >= 1)
    eventually(lambda: parts(url)[0] == 200)


@pytest.mark.parametrize("watched", ["max_calls = 1\n"], indirect=True, ids=["one slot"])
def test_a_full_and_then_a_draining_worker_is_not_ready(call_centre, watched):
    """A worker without a free slot says full; one that was told to end says draining, and both live."""
    process, url = watched
    call = Call(
        dialled=call_centre.token(BANK, 51), agent=Agent(domain=BANK.domain),
        gateways={"carrier-a": Gateway(Carrier(after_s=0.01))}, hangs_up_after_s=3.0,
    )  # fmt: skip
    playing = gevent.spawn(double.play, call, (process.address.host, process.address.port), redeem=call_centre.redeem)
    eventually(lambda: parts(url) == (503, {"database": "ok", "listener": "ok", "slots": "full"}))
    process.popen.send_signal(signal.SIGTERM)
    eventually(lambda: parts(url)[1]["listener"] == "draining")
    assert json.loads(get(f"{url}/livez")) == {"live": True}
    assert value(get(f"{url}/metrics"), "esl_shield_worker_draining") == 1
    assert playing.get(timeout=20).bridged
    assert process.popen.wait(20) == 0


def test_a_worker_that_can_read_the_kek_does_not_start(call_centre):
    """The KEK named in a worker's configuration must be out of its reach."""
    site = call_centre.site
    config = site.folder / "greedy.toml"
    config.write_text(site.config("worker").read_text() + f'\n[keys]\nkek = "file:{site.folder / "kek"}"\n')
    config.chmod(0o600)
    with pytest.raises(Exception, match="it can read the KEK"):
        site.start("worker", config=config, name="greedy")
