"""What FreeSWITCH is told of a tenant's wishes, and which wishes a configuration takes."""

from __future__ import annotations

from uuid import UUID

import pytest

from esl_shield import config
from esl_shield.calls import policy
from esl_shield.config.policy import PolicyConfig, TalkConfig
from esl_shield.errors.config import ConfigError

LEG = UUID("7b0a1c1e-0000-4000-8000-00000000abcd")
DATABASE = '[database]\nurl = "postgresql+psycopg2:///shield"\n'


def _told(talk, delivery):
    text = policy.parked_leg(talk, LEG, delivery)
    return dict(pair.split("=", 1) for pair in text.split(";") if pair)


def test_a_tenant_without_wishes_is_told_nothing():
    """Not one byte more goes over the socket."""
    assert policy.parked_leg(TalkConfig(), LEG, "edge") == policy.customers_leg(TalkConfig(), LEG) == ""


def test_the_limit_is_on_the_leg_that_stays():
    """Behind the edge the customer's leg, which a transfer keeps; the agent's in direct delivery."""
    talk = TalkConfig(max_talk_s=600)
    assert _told(talk, "edge") == {
        "api_on_answer_warning": f"sched_broadcast +570 {LEG} tone_stream://%(300,200,640) aleg"
    }
    assert policy.customers_leg(talk, LEG) == f",api_on_answer_limit='sched_hangup +600 {LEG} ALLOTTED_TIMEOUT'"
    assert _told(talk, "direct")["api_on_answer_limit"] == f"sched_hangup +600 {LEG} ALLOTTED_TIMEOUT"
    assert _told(TalkConfig(max_talk_s=600, warning_s=0), "edge") == {}


def test_notices_are_told_for_either_side():
    """The customer's is played before the bridge, the agent's at the answer."""
    told = _told(TalkConfig(customer_notice="/s/c.wav", agent_notice="/s/a.wav"), "edge")
    assert (told["group_confirm_key"], told["group_confirm_file"]) == ("exec", "playback /s/c.wav")
    assert told["ignore_early_media"] == "ring_ready"
    assert told["api_on_answer_notice"] == f"uuid_broadcast {LEG} /s/a.wav aleg"


def test_a_tenant_has_its_own_in_place_of_the_sites():
    """What is set for a domain holds whole, whatever the case of its letters."""
    text = DATABASE + '[policy]\nmax_talk_s = 600\n[policy.tenants."bank.example"]\nagent_notice = "/s/a.wav"\n'
    read = config.loads(text).policy
    assert (read.of("Bank.example").max_talk_s, read.of("bank.example").agent_notice) == (0, "/s/a.wav")
    assert read.of("other.example").max_talk_s == 600
    assert PolicyConfig().of("any") == PolicyConfig()


BAD = {
    "negative": "max_talk_s = -1",
    "more than a day": "max_talk_s = 86401",
    "shorter than its warning": "max_talk_s = 30",
    "negative warning": "warning_s = -1",
    "blank": 'warning = "a b"',
    "semicolon": 'customer_notice = "/s/a.wav;x=y"',
    "quote": 'agent_notice = "a\'b"',
    "expansion": 'customer_notice = "$${x}"',
    "bracket": 'agent_notice = "[x]"',
    "unknown": "hours = 1",
}


@pytest.mark.parametrize("name", BAD)
def test_what_could_say_more_than_a_wish_is_refused(name):
    """No sound can add a variable or a command, and a key nobody knows is an error."""
    with pytest.raises(ConfigError, match="policy"):
        config.loads(f"{DATABASE}[policy]\n{BAD[name]}\n")


@pytest.mark.parametrize(
    ("sound", "asked_for"),
    [("/srv/a.wav", "/srv/a.wav"), ("tone_stream://%(300,200,640)", ""), ("", "")],
    ids=["file", "tone", "none"],
)
def test_a_notice_has_time_of_its_own_and_its_file_must_be_there(sound, asked_for):
    """FreeSWITCH is asked for a file; the agent's leg waits for what may be played, and not longer for the ringing."""
    talk = TalkConfig(customer_notice=sound)
    assert policy.indispensable_file(talk) == asked_for
    assert policy.notice_s(talk) == (120 if sound else 0)
