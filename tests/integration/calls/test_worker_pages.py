"""What a worker says of itself."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import pytest
from fix_site import BANK, NUMBERS

from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway


@pytest.fixture
def watched(call_centre, unused_tcp_port):
    """Start a worker whose pages listen on a free port."""
    config = call_centre.site.folder / "watched.toml"
    text = call_centre.site.config("worker").read_text()
    config.write_text(text + f'\n[metrics]\nlisten = "127.0.0.1:{unused_tcp_port}"\n')
    config.chmod(0o600)
    process = call_centre.site.start("worker", config=config, name="watched")
    yield process, f"http://127.0.0.1:{unused_tcp_port}"
    assert call_centre.site.stop("watched") == 0


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def test_metrics_count_calls_without_naming_them(call_centre, watched):
    """After a call the page counts it by outcome; no token, agent, tenant or number is on it."""
    process, url = watched
    token = call_centre.token(BANK, 50)
    call = Call(
        dialled=token, agent=Agent(domain=BANK.domain),
        gateways={"carrier-a": Gateway(Carrier(after_s=0.01))}, hangs_up_after_s=0.01,
    )  # fmt: skip
    result = double.play(call, (process.address.host, process.address.port), redeem=call_centre.redeem)
    assert call_centre.record(BANK, result)["state"] == "COMPLETED"
    page = get(f"{url}/metrics")
    assert 'esl_shield_worker_events_total{kind="finished",reason="COMPLETED"} 1.0' in page
    assert re.search(r"esl_shield_worker_handoff_seconds_count 1\.0", page)
    assert "esl_shield_worker_calls_in_progress" in page
    for secret in (token, NUMBERS[50][1:], "1001", BANK.domain):
        assert secret not in page


def test_the_worker_has_two_pages(watched):
    """Health is one word, given after asking the database; anything else is 404."""
    _, url = watched
    assert get(f"{url}/healthz") == "ok"
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(f"{url}/redeem")
    assert caught.value.code == 404
    caught.value.close()


def test_a_worker_that_can_read_the_kek_does_not_start(call_centre):
    """The KEK named in a worker's configuration must be out of its reach."""
    site = call_centre.site
    config = site.folder / "greedy.toml"
    config.write_text(site.config("worker").read_text() + f'\n[keys]\nkek = "file:{site.folder / "kek"}"\n')
    config.chmod(0o600)
    with pytest.raises(Exception, match="it can read the KEK"):
        site.start("worker", config=config, name="greedy")
