"""The FreeSWITCH that is measured: the laboratory's, with three ways to the same carrier and settings for load.

Invariant: what is not a way to the carrier is the same for all of them: profiles, codecs, CDR modules, log level, agents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab import AGENT_PASSWORD, FreeSwitch
from ports import HOST
from vault_bench import DOMAIN

if TYPE_CHECKING:
    from pathlib import Path

AGENTS = 200  # on each way: one agent's calls would wait for one another's row
STATIC, DIRECT, EDGE = "static", "direct", "edge"
FIRST_AGENT = {STATIC: 1000, DIRECT: 1000, EDGE: 2000}
_RTP = (61000, 65534)  # above the kernel's ephemeral ports
_NUMBER_EXTENSION = r"""<extension name="static">
      <condition field="${sip_authorized}" expression="^true$"/>
      <condition field="destination_number" expression="^(\+\d+)$">
        <action application="set" data="hangup_after_bridge=true"/>
        <action application="bridge" data="sofia/gateway/carrier-a/$1"/>
      </condition>
    </extension>
    """
_USER = (
    '<user id="{user}"><params><param name="password" value="{password}"/></params>'
    '<variables><variable name="user_context" value="agents"/></variables></user>\n'
)
# Each text must be found once: a change of what we ship is to be noticed here.
_CHANGES = (
    ("autoload_configs/switch.conf.xml", r'name="loglevel" value="debug"', 'name="loglevel" value="info"'),
    # Of both ways alike: 200 legs a second would be the limit that is found.
    ("autoload_configs/switch.conf.xml", r'(name="sessions-per-second" value=)"200"', r'\1"10000"'),
    ("autoload_configs/switch.conf.xml", r'(name="rtp-start-port" value=)"\d+"', rf'\1"{_RTP[0]}"'),
    ("autoload_configs/switch.conf.xml", r'(name="rtp-end-port" value=)"\d+"', rf'\1"{_RTP[1]}"'),
    # Call records go to files, CSV and JSON: whoever takes posts would be measured as well.
    ("autoload_configs/json_cdr.conf.xml", r'<param name="url" [^>]*/>', ""),
    ("freeswitch.xml", r'<load module="mod_xml_cdr"/>', ""),
    ("freeswitch.xml", r'<load module="mod_cdr_sqlite"/>', ""),
    ("freeswitch.xml", r'(?s)<profile name="debug">.*?</profile>', ""),
)


class MeasuredSwitch(FreeSwitch):
    """A FreeSWITCH whose agents reach the carrier by number (static) or by token (direct, edge)."""

    def _configure(self, *, b_leg_cdrs: bool) -> None:
        super()._configure(b_leg_cdrs=b_leg_cdrs)
        for name, pattern, text in _CHANGES:
            _change(self.conf / name, pattern, text)
        dialplan = self.conf / "dialplan" / "agents.xml"
        shield = re.search(r'(?s)<extension name="shield">.*?</extension>', dialplan.read_text())
        if not shield:
            raise AssertionError(dialplan)
        _change(dialplan, '(?=<extension name="shield">\\s*<condition field="\\$\\{sip_authorized)', _literal(
            _NUMBER_EXTENSION + self._second_shield(shield[0])
        ))  # fmt: skip
        first = '<user id="1001">'
        users = {FIRST_AGENT[way] + at for way in FIRST_AGENT for at in range(AGENTS)} - {1001, 1002, 1003, 1009}
        text = "".join(_USER.format(user=user, password=password(user)) for user in sorted(users))
        _change(self.conf / "directory" / "agents.xml", first, _literal(text + first))

    def _second_shield(self, shield: str) -> str:
        """Write the shipped way into the shield once more, for the agents whose worker delivers to the edge."""
        condition = '<condition field="${sip_auth_username}" expression="^2"/>\n      <condition'
        text = shield.replace('name="shield"', 'name="shield-edge"').replace("<condition", condition, 1)
        return text.replace("$${shield_workers}", f"{HOST}:{self.ports.worker_b}") + "\n    "

    def _variables(self, secret: Path) -> dict[str, object]:
        return super()._variables(secret) | {"domain": DOMAIN}


def password(user: int) -> str:
    """Tell the password of an agent's phone."""
    return AGENT_PASSWORD.format(user=user)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\")


def _change(path: Path, pattern: str, text: str) -> None:
    changed, count = re.subn(pattern, text, path.read_text())
    if count != 1:
        message = f"{path.name} has {pattern} {count} times"
        raise AssertionError(message)
    path.write_text(changed)
