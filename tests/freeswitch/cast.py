"""Agents' telephones, customers and their carrier around a FreeSWITCH with an edge, and the search for what they leave.

All customers are lines of one hostile telephone on the carrier's side: whatever it answers repeats the number it was
called at. The control of the search is that telephone itself: there each number must stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from census import Census
from edge_lab import SECRET, Edge
from lab import AGENT_PASSWORD, DOMAIN
from phones import Phone
from polling import until
from ports import HOST
from shield import Shield
from stage import CARRIER_A, CARRIER_B
from tape import Tape

from esl_shield.audit import known

if TYPE_CHECKING:
    from pathlib import Path

    from fix_postgres import ShieldDatabase
    from lab import FreeSwitch, Tap
    from lines import Line
    from stage import Stage


DID = "+862160001111"  # rings at 1001


class Everybody:
    """What all agents' telephones heard, as the census reads one."""

    def __init__(self, phones: list[Phone]) -> None:
        self.messages = [message for phone in phones for message in phone.messages]


class Cast:
    """A site with its real worker, resolver and edge; ``agent`` adds telephones."""

    def __init__(
        self, database: ShieldDatabase, stage: Stage, tap: Tap, folder: Path, tape: Path | None = None
    ) -> None:
        self.stage, self.switch, self.tap = stage, stage.switch, tap
        resolver = f"http://{HOST}:{stage.ports.resolver}/redeem"
        lines = [
            f"1 sip:{HOST}:{stage.port_of(CARRIER_A)} 0 9 name={CARRIER_A}",
            f"90 sip:{HOST}:5060 0 0 name={CARRIER_A};caller_prefix=+",
            f"91 sip:{HOST}:{stage.ports.inbound} 8 0 name=switch;sockname=inside",
        ]
        self.edge = Edge(folder / "edge", resolver, lines, inside=stage.ports.edge, inbound=True)
        stage.callback(self.edge.stop)
        self.shield = Shield(database, stage, edge=SECRET)
        self.shield.did(DID, "1001")
        self.shield.resolver()
        self.worker = self.shield.worker(stand_by=tape is not None)
        if tape is not None:
            stage.callback(Tape(stage.ports.worker_a, stage.ports.worker_b, tape).stop)
        self.customers = self._phone(
            Phone("customers", to=self.edge.outside[1], port=stage.port_of(CARRIER_A), hostile=True)
        )
        # A second carrier nobody is to be sent to.
        self.nobody = self._phone(Phone("nobody", to=self.edge.outside[1], port=stage.port_of(CARRIER_B)))
        self.agents: list[Phone] = []
        self.called: dict[str, str] = {}  # number -> token
        self._while_up: list[dict[str, bytes]] = []

    def _phone(self, phone: Phone) -> Phone:
        self.stage.callback(phone.stop)
        return phone

    def agent(self, user: str, **more: Any) -> Phone:
        """Register an agent's telephone."""
        password = AGENT_PASSWORD.format(user=user)
        to = self.stage.ports.agents
        self.agents.append(self._phone(Phone(user, to=to, domain=DOMAIN, user=user, password=password, **more)))
        return self.agents[-1]

    def token(self, number: str) -> str:
        """The token of a number, whose traces are searched for at the end."""
        return self.called.setdefault(number, self.shield.token(number))

    def connect(self, agent: Phone, number: str) -> tuple[Line, Line]:
        """Have an agent call a customer; returns both lines once they talk."""
        before = len(self.customers.called())
        line = agent.dial(self.token(number)).until_answered()
        until_bridged(self.switch, self.token(number))
        return line, self.customers.ringing(before + 1)

    def take_in(self, number: str, agent: str = "1001") -> Line:
        """Have a customer call in and an agent answer; returns the customer's line once the record says they talk."""
        self.token(number)
        line = self.customers.call_in(DID, number).until_answered()
        self.until_talks(number, agent)
        return line

    def look(self) -> None:
        """Take in what FreeSWITCH shows of the calls that are up."""
        self._while_up.append(Census(self.switch, self.tap).look())

    def call(self, number: str) -> dict[str, Any]:
        """The record of the latest call to a number, once it is final."""

        def final() -> dict[str, Any] | None:
            calls = [call for call in self.shield.calls() if call["token"] == self.called[number]]
            return calls[-1] if calls and calls[-1]["state"] not in ("AUTHORIZED", "ANSWERED") else None

        return until(final, "the record is final", within_s=15)

    def talkers(self, number: str) -> list[tuple[str, bool]]:
        """Who talked to a number in its latest call, and whether each has an end."""
        rows = self.shield.database.query(
            "SELECT agent, until_at >= from_at FROM dba.call_agents WHERE call = %s ORDER BY position",
            self.call(number)["id"],
        )
        return [(agent, bool(ended)) for agent, ended in rows]

    def until_talks(self, number: str, *agents: str) -> None:
        """Wait until exactly these agents talk to a number, in any order."""
        statement = (
            "SELECT array_agg(g.agent::text ORDER BY g.agent) FROM dba.call_agents g JOIN dba.calls c ON c.id = g.call "
            "WHERE c.token = %s AND g.until_at IS NULL"
        )
        wanted = sorted(agents) or None
        until(
            lambda: self.shield.database.query(statement, self.called[number]) == [(wanted,)],
            f"{agents} talk to the customer",
        )

    def leaves(self) -> dict[str, int]:
        """Wait for the end of all calls; returns how often any number stands in each place, in any form."""
        self.switch.quiet()
        census = Census(self.switch, self.tap)
        census.settle()
        total: dict[str, int] = {}
        shown = {
            place: b"".join(seen[place] for seen in self._while_up) for place in ("show channels", "core database")
        }
        for number, token in self.called.items():
            wire = [*self.customers.sent, *(message.raw for message in self.customers.heard)]
            assert any(number.encode() in message for message in wire), "the number must be on the wire"
            row = census.count(
                number, agent=Everybody(self.agents), carrier=self.customers, others=[self.nobody], while_up=shown
            )
            for place, count in row.items():
                total[place] = total.get(place, 0) + count
            forms = known.encodings(number, token)
            heard = "\n".join(message.text for message in Everybody(self.agents).messages).encode()
            total["any form: files"] = len(known.scan_tree(self.switch.folder, forms))
            total["any form: events"] = len(known.scan_bytes(b"\n".join(self.tap.events), forms))
            total["any form: phones"] = len(known.scan_bytes(heard, forms))
            total["any form: ours"] = len(known.scan_bytes(self.shield.dump(), forms))
            total["any form: edge"] = len(known.scan_bytes(self.edge.log.read_bytes(), forms))
            total["other customers"] = total.get("other customers", 0) + self._at_others(number)
        return total

    def _at_others(self, number: str) -> int:
        """How often a number stands in what other customers' lines heard."""
        lines = [line for line in self.customers.lines if line.user != number]
        others = [line for line in lines if not line.invite or f"sip:{number}@" not in line.invite.first]
        return sum(message.raw.count(number[1:].encode()) for line in others for message in line.heard)


def until_bridged(switch: FreeSwitch, token: str) -> None:
    """Wait until a customer's leg is bridged: FreeSWITCH loses a REFER that comes between the answer and that."""

    def bridged() -> bool:
        rows = switch.esl.api("show channels").splitlines()
        return any(f"sofia/external/{token}" in row and "CS_EXCHANGE_MEDIA" in row for row in rows)

    until(bridged, "the customer is bridged")


def inside(row: dict[str, int]) -> dict[str, int]:
    """The places that hold something and must not."""
    return {place: count for place, count in row.items() if count and place != "carrier: INVITEs"}


class Direct:
    """A site without an edge, one agent and one customer: FreeSWITCH talks to the carrier itself."""

    def __init__(self, database: ShieldDatabase, stage: Stage, number: str, *, answers: bool = True) -> None:
        self.shield, self._number = Shield(database, stage), number
        self.shield.resolver()
        self.customers = Phone("customers", to=stage.ports.carriers, port=stage.port_of(CARRIER_A), answers=answers)
        stage.callback(self.customers.stop)
        password = AGENT_PASSWORD.format(user="1001")
        self.agent = Phone("1001", to=stage.ports.agents, domain=DOMAIN, user="1001", password=password)
        stage.callback(self.agent.stop)

    def agents_line(self) -> Line:
        """Have the agent call the customer; returns the agent's line."""
        return self.agent.dial(self.shield.token(self._number))

    def dial(self) -> tuple[Line, Line]:
        """The same; returns both lines once the customer rings."""
        return self.agents_line(), self.customers.ringing(1)

    def record(self, state: str) -> dict[str, Any]:
        """The call's record, once it is in this state."""
        return self.shield.call(state)
