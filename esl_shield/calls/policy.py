"""What FreeSWITCH is told of a tenant's wishes for an answered call: its longest duration, the warning, the notices.

Invariants: FreeSWITCH itself keeps what was told, so that it holds when the worker has died; the longest duration
follows the customer's leg behind the edge, through every transfer, and the parked leg in direct delivery; the customer
hears the notice before a word of the agent's, or there is no call. What a call may not do at all is the database's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esl_shield.calls import signs

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from esl_shield.config.gateways import Delivery
    from esl_shield.config.policy import TalkConfig

NOTICE_S = 120  # a longer notice ends the call
_LIMIT = "sched_hangup +{talk.max_talk_s} {leg} " + signs.LIMIT


class _Wish(NamedTuple):
    """A channel variable, when it is told, and its value; what is told at the answer comes after the alarm is off.

    FreeSWITCH runs every variable whose name begins with ``api_on_answer``, in the order they were set
    (switch_channel.c:3703), and takes ``group_confirm_*`` of the leg that calls (switch_ivr_originate.c:2377).
    """

    variable: str
    when: Callable[[TalkConfig, Delivery], bool]
    value: str


_WISHES = (
    _Wish("api_on_answer_limit", lambda talk, delivery: talk.max_talk_s > 0 and delivery == "direct", _LIMIT),
    _Wish("api_on_answer_warning", lambda talk, _: talk.max_talk_s > 0 < talk.warning_s,
          "sched_broadcast +{warned_s} {leg} {talk.warning} aleg"),
    _Wish("api_on_answer_notice", lambda talk, _: bool(talk.agent_notice),
          "uuid_broadcast {leg} {talk.agent_notice} aleg"),
    _Wish("group_confirm_key", lambda talk, _: bool(talk.customer_notice), "exec"),
    _Wish("group_confirm_file", lambda talk, _: bool(talk.customer_notice), "playback {talk.customer_notice}"),
    _Wish("group_confirm_timeout", lambda talk, _: bool(talk.customer_notice), str(NOTICE_S)),
    # Else a 183 would count as somebody to play it to.
    _Wish("ignore_early_media", lambda talk, _: bool(talk.customer_notice), "ring_ready"),
)  # fmt: skip


def notice_s(talk: TalkConfig) -> int:
    """Return how many seconds the customer's notice may take between the customer's answer and the agent's."""
    return NOTICE_S if talk.customer_notice else 0


def indispensable_file(talk: TalkConfig) -> str:
    """Return the file without which there is no call, empty for none: FreeSWITCH connects past a notice it has not."""
    return talk.customer_notice if talk.customer_notice.startswith("/") else ""


def parked_leg(talk: TalkConfig, leg: UUID, delivery: Delivery) -> str:
    """Write what is appended to the argument of ``uuid_setvar_multi``; empty for a tenant without wishes."""
    return "".join(
        f";{wish.variable}={wish.value.format(talk=talk, leg=leg, warned_s=talk.max_talk_s - talk.warning_s)}"
        for wish in _WISHES
        if wish.when(talk, delivery)
    )


def customers_leg(talk: TalkConfig, leg: UUID) -> str:
    """Write what is appended to the variables of the customer's leg behind the edge; empty without a limit."""
    return f",api_on_answer_limit='{_LIMIT.format(talk=talk, leg=leg)}'" if talk.max_talk_s else ""
