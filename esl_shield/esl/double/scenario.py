"""What a stand-in call is made of, and what came of it: agent, gateways, carriers, faults, result.

Times are in seconds. Everything here is plain data; nothing in it changes while a call runs, except the Result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Agent:
    """The phone that calls: its digest user and SIP domain, and the headers it adds to its INVITE.

    ``headers`` are written as the phone sent them, ``%0A`` and all; X- headers become ``variable_sip_h_...``.
    ``uri_port`` is the port in its From URI, if it names one.
    """

    username: str = "1001"
    domain: str = "127.0.0.1"
    display: str = "Agent 1001"
    authorized: bool = True
    host: str = "127.0.0.1"
    port: int = 5099
    uri_port: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The user, domain and port of its From URI."""
        port = f":{self.uri_port}" if self.uri_port else ""
        return f"{self.username}@{self.domain}{port}"


@dataclass(frozen=True)
class Carrier:
    """How the carrier behind a gateway treats the INVITE.

    ``rings`` sends 180, ``early_media`` 183 with SDP; ``after_s`` later the final ``status`` (None: never). After a 200
    the customer hangs up ``hangs_up_after_s`` later (None: leaves it to the agent). ``progress_headers``,
    ``final_headers`` and a ``reason`` header are what a carrier adds; ``{called}`` in them, or in ``phrase``, is the
    user it was called at: a hostile carrier repeats the number.
    """

    status: int = 200
    phrase: str = "OK"
    rings: bool = True
    early_media: bool = False
    after_s: float | None = 0.0
    hangs_up_after_s: float | None = None
    progress_headers: Mapping[str, str] = field(default_factory=dict)
    final_headers: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Gateway:
    """A Sofia gateway FreeSWITCH knows; ``host`` is where its INVITE goes, ``up`` whether it answers OPTIONS."""

    carrier: Carrier = Carrier()
    host: str = "127.0.0.1:5080"
    up: bool = True


Point = str
"""Where a fault strikes: ``accept``, ``command:NAME`` (instead of its reply) or ``event:NAME`` (instead of it)."""


@dataclass(frozen=True)
class Fault:
    """FreeSWITCH misbehaving: what, and at which point of the conversation.

    ``close`` ends the connection, ``truncate`` ends it inside a frame, ``reset`` with a TCP reset; ``stall`` says
    nothing more and keeps it open; ``malformed`` and ``oversized`` send such a frame; ``trickle`` sends everything from
    then on byte by byte.
    """

    kind: Literal["close", "truncate", "reset", "stall", "malformed", "oversized", "trickle"]
    at: Point


@dataclass(frozen=True)
class Call:
    """One agent's call, from the dialplan on.

    The agent cancels ``cancels_after_s`` after the INVITE to the carrier (``cancels_when="ringing"``) or after the
    dialplan's ``socket`` (``"parked"``), and hangs up ``hangs_up_after_s`` after the bridge; None means never.
    ``sched_hangup_s`` is the dialplan's ``sched_hangup``; ``dialplan_refusal`` what it responds when no worker takes
    the connection. ``timeout_scale`` shortens the linger time, the wait for an answer and a worker's ``sched_hangup``;
    ``max_s`` ends the play.

    ``context`` is the dialplan's; a customer who calls in through the edge is an Agent without authorisation, in
    the context ``shield-inbound`` with the variable ``esl_shield_inbound``, and agents' phones are gateways of the
    names ``user/AGENT@DOMAIN``. ``late_negotiation`` is the Sofia profile's ``inbound-late-negotiation``. Two races
    of the real thing are choices here: ``lagging`` lets events from before the subscription arrive after it,
    ``linger_notice`` is where the linger notice falls.
    """

    dialled: str
    agent: Agent = Agent()
    gateways: Mapping[str, Gateway] = field(default_factory=lambda: {"carrier": Gateway()})
    variables: Mapping[str, str] = field(default_factory=dict)
    context: str = "agents"
    uuid: str | None = None
    cancels_after_s: float | None = None
    cancels_when: Literal["ringing", "parked"] = "ringing"
    hangs_up_after_s: float | None = 0.0
    sched_hangup_s: float | None = 2.0
    dialplan_refusal: int = 503
    connect_timeout_s: float = 2.0
    max_s: float = 30.0
    timeout_scale: float = 1.0
    late_negotiation: bool = True
    lagging: bool = False
    linger_notice: Literal["at once", "hangup", "state", "end"] = "hangup"
    worker_host: str = "127.0.0.1"
    fault: Fault | None = None


@dataclass(frozen=True, repr=False)
class WireEntry:
    """One INVITE on the wire to a carrier: the only place where the number may be, so ``repr`` shows nothing."""

    gateway: str
    request_uri: str
    to: str
    call_id: str


@dataclass
class Result:
    """What came of a call: the phone's view, what FreeSWITCH was told, the carriers' wire.

    ``statuses`` are the SIP statuses the phone saw, the final one last; ``told`` the worker's commands, word for word;
    ``connected_to`` which of the addresses took the connection. ``timings_s`` counts from the TCP connect to:
    ``connected`` (the worker's ``connect`` came), ``decided`` (its first ``sendmsg``), ``ended`` (the leg ended).
    """

    uuid: str = ""
    statuses: list[int] = field(default_factory=list)
    hangup_cause: str = ""
    told: list[str] = field(default_factory=list)
    wire: list[WireEntry] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    bridged: bool = False
    connected_to: int | None = None

    @property
    def status(self) -> int:
        """The final SIP status the phone saw; 0 when the call was left silent."""
        return self.statuses[-1] if self.statuses and self.statuses[-1] >= 200 else 0  # noqa: PLR2004 - final
