"""FreeSWITCH's side of the outbound socket, played from state: for tests and the demo.

``play`` puts one agent's call through the dialplan's ``socket`` to a worker over a real TCP connection and returns what
the phone saw, what FreeSWITCH was told and what reached a carrier's wire. What it sends is written from the state of a
leg, not replayed; tests hold it against recordings of FreeSWITCH 1.11.1. Runs under gevent, hundreds at a time.

The leg is one agent's: a worker that subscribes to events without a filter would also see the customer's leg on a real
FreeSWITCH, here it does not.
"""

from esl_shield.esl.double.play import play
from esl_shield.esl.double.redeem import HttpRedeem, Redeem, Redemption, refuse_all
from esl_shield.esl.double.scenario import Agent, Call, Carrier, Fault, Gateway, Result, WireEntry

__all__ = [
    "Agent",
    "Call",
    "Carrier",
    "Fault",
    "Gateway",
    "HttpRedeem",
    "Redeem",
    "Redemption",
    "Result",
    "WireEntry",
    "play",
    "refuse_all",
]
