"""What FreeSWITCH must be set to, besides its dialplan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from esl_shield.service.doctor import switch_access
from esl_shield.service.doctor.finding import Area, Check, Problem, Severity
from esl_shield.service.doctor.switch import SwitchFacts, is_true, needs

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSIONS = ("1.10.", "1.11.")
NEEDED = ("mod_sofia", "mod_event_socket", "mod_commands", "mod_dptools", "mod_dialplan_xml")
NEEDED_FOR_DIRECT = ("mod_curl", "mod_lua")
OTHER_CDRS = ("mod_cdr_pg_csv", "mod_cdr_mongodb", "mod_odbc_cdr", "mod_format_cdr", "mod_radius_cdr")
LEGS_PER_CALL = 2
_OTHERS_READ = 0o004
_WELL = ("NOREG", "REGED", "REGISTER", "TRYING", "")
_QUIET_LEVELS = re.compile(r"(?i)(0|1|2|3|4|5|6|console|alert|crit|err|error|warning|notice|info)")


def _version(facts: SwitchFacts) -> Iterator[str]:
    if not facts.version.startswith(VERSIONS):
        yield f"FreeSWITCH says it is version {facts.version[:32]!r}, which this release was not tried with"


def _modules(facts: SwitchFacts) -> Iterator[str]:
    wanted = (*NEEDED, *NEEDED_FOR_DIRECT) if switch_access.is_direct(facts) else NEEDED
    for name in wanted:
        if name not in facts.modules:
            yield f"{name} is not loaded"


def _rate(facts: SwitchFacts) -> Iterator[str]:
    planned = facts.config.freeswitch.calls_per_s if facts.config.freeswitch else 0
    legs = needs(facts.sessions_per_second, "its sessions per second")
    if legs < LEGS_PER_CALL * planned:
        yield f"sessions-per-second is {legs}; {planned:g} calls/s are {LEGS_PER_CALL * planned:g} legs/s"


def _sessions(facts: SwitchFacts) -> Iterator[str]:
    planned = facts.config.freeswitch.calls if facts.config.freeswitch else 0
    most = needs(facts.max_sessions, "its most sessions")
    if most < LEGS_PER_CALL * planned:
        yield f"max-sessions is {most}; {planned} calls are {LEGS_PER_CALL * planned} legs"


def _cdr_legs(facts: SwitchFacts) -> Iterator[Problem]:
    for module in ("xml_cdr", "json_cdr"):
        if f"mod_{module}" in facts.modules and is_true(
            (facts.settings(f"{module}.conf") or {}).get("log-b-leg", "true")
        ):
            if module == "json_cdr" and not switch_access.is_direct(facts) and _posts_to(facts):
                continue  # behind an edge the intake is told of both legs, and neither has the number
            yield switch_access.worse_if_direct(
                facts,
                f"mod_{module} writes the customer's leg",
                f'{module}.conf: <param name="log-b-leg" value="false"/>',
            )
    for module in ("cdr_csv", "cdr_sqlite"):
        legs = (facts.settings(f"{module}.conf") or {}).get("legs", "a").lower()
        if f"mod_{module}" in facts.modules and "b" in legs:
            yield switch_access.worse_if_direct(
                facts, f"mod_{module} writes the customer's leg", f'{module}.conf: <param name="legs" value="a"/>'
            )
    for module in OTHER_CDRS:
        if module in facts.modules and switch_access.is_direct(facts):
            yield Problem(f"{module} is loaded; doctor does not know which legs it writes", severity=Severity.WARNING)


def _posts_to(facts: SwitchFacts) -> str:
    return (facts.settings("json_cdr.conf") or {}).get("url", "")


def _call_records(facts: SwitchFacts) -> Iterator[str]:
    if "mod_json_cdr" not in facts.modules:
        yield "mod_json_cdr is not loaded"
        return
    settings, url, intake = facts.settings("json_cdr.conf") or {}, _posts_to(facts), facts.config.intake
    if not url:
        yield "mod_json_cdr posts nowhere"
        return
    if intake and intake.listen.port and urlsplit(url).netloc != str(intake.listen):
        yield f"mod_json_cdr posts elsewhere than to [intake] listen = {intake.listen}"
    if not settings.get("cred"):
        yield "mod_json_cdr posts without a cred, so the intake refuses it"
    if not settings.get("queue-capacity"):
        yield "mod_json_cdr has no queue-capacity: each call's last event waits for its post"
    if settings.get("log-errors-to-disk", "true").lower() in ("false", "no", "off", "0", "disabled"):
        yield "mod_json_cdr forgets what it could not post"


def _log_level(facts: SwitchFacts) -> Iterator[Problem]:
    if facts.debug_level:
        yield switch_access.worse_if_direct(
            facts, f"debug_level is {facts.debug_level}: dial strings are printed", "fsctl debug_level 0"
        )
    level = (facts.settings("switch.conf") or {}).get("loglevel", "debug")
    if re.fullmatch(r"(?i)debug([1-9]|10)", level):
        yield switch_access.worse_if_direct(facts, f"loglevel is {level}, which prints dial strings")
    elif not _QUIET_LEVELS.fullmatch(level):
        yield Problem(f"loglevel is {level}, which prints what carriers write into their SDP")


def _traces(facts: SwitchFacts) -> Iterator[Problem]:
    for name, settings in facts.profiles.items():
        for key in ("sip-trace", "sip-capture", "debug"):
            if is_true(settings.get(key)):
                yield switch_access.worse_if_direct(
                    facts, f"profile {name} has {key} on, which prints whole messages",
                    f'Profile {name}: <param name="{key}" value="0"/>; now: sofia profile {name} siptrace off',
                )  # fmt: skip


_SHOWS_THE_OTHER_LEG = {  # setting -> (value when absent, why)
    "manage-presence": ("false", "publishes calls to subscribers and the core database"),
    "pass-callee-id": ("true", "tells the phone who was called"),
    "send-display-update": ("true", "sends the other leg's name and number to the phone's display"),
    "track-calls": ("false", "keeps calls, with their numbers, in the core database"),
}


def _displays(facts: SwitchFacts) -> Iterator[Problem]:
    for name, settings in facts.profiles.items():
        for key, (absent, what) in _SHOWS_THE_OTHER_LEG.items():
            value = settings.get(key, absent)
            if is_true(value) or value.lower() in ("passive", "pnp"):
                yield Problem(
                    f"profile {name} has {key} on, which {what}", f'Profile {name}: <param name="{key}" value="false"/>'
                )


def _transfers(facts: SwitchFacts) -> Iterator[Problem]:
    for name in sorted(switch_access.carrier_profiles(facts)):
        if not is_true(facts.profiles.get(name, {}).get("disable-transfer")):
            yield Problem(
                f"profile {name} faces carriers and takes their REFER",
                f'Profile {name}: <param name="disable-transfer" value="true"/>',
            )


def _gateways(facts: SwitchFacts) -> Iterator[Problem]:
    for gateway in facts.config.gateways:
        known = facts.gateways.get(gateway.name)
        if known is None and gateway.name not in facts.gateway_states:
            yield Problem(
                f"FreeSWITCH has no gateway {gateway.name}",
                f"Add {gateway.name} to the external profile, or take it out of [[gateways]].",
            )
            continue
        state = facts.gateway_states.get(gateway.name)
        if state is None:
            yield Problem(f"the gateway {gateway.name} is configured and not running", "sofia profile external rescan")
        elif state.split(" ")[0] not in _WELL:
            yield Problem(f"the gateway {gateway.name} is {state}", "Look why: sofia status gateway, and the carrier.")
        proxy = re.sub(r"^sips?:|;.*$", "", known[1].get("proxy", "")) if known else ""
        if gateway.delivery == "direct" and gateway.proxy and proxy and proxy != gateway.proxy:
            yield Problem(
                f"the gateway {gateway.name} goes to {proxy} in FreeSWITCH and to {gateway.proxy} in [[gateways]]",
                "Give both the same host and port.", Severity.WARNING,
            )  # fmt: skip


def _profiles(facts: SwitchFacts) -> Iterator[str]:
    for name in facts.profiles:
        if name not in facts.profiles_running:
            yield f"the profile {name} is configured and not running"


def _core_dumps(facts: SwitchFacts) -> Iterator[str]:
    if switch_access.is_direct(facts) and is_true((facts.settings("switch.conf") or {}).get("dump-cores")):
        yield "FreeSWITCH may dump its memory, which holds the numbers of calls in progress"


def _certificates(facts: SwitchFacts) -> Iterator[str]:
    if switch_access.is_direct(facts) and not is_true((facts.settings("curl.conf") or {}).get("validate-certs")):
        yield "mod_curl does not check the resolver's certificate"


def _files(facts: SwitchFacts) -> Iterator[str]:
    open_files = [file.path for file in facts.written or () if file.mode & _OTHERS_READ]
    if open_files:
        rest = f" and {len(open_files) - 1} more" if len(open_files) > 1 else ""
        yield f"everybody on this machine can read {open_files[0]}{rest}, which FreeSWITCH wrote"


_C, _W = Severity.CRITICAL, Severity.WARNING
AREA = Area[SwitchFacts](
    "freeswitch",
    "FreeSWITCH, over `[freeswitch]`",
    (
        Check("freeswitch.version", _W, "FreeSWITCH is a version this release was tried with",
              "Event order, variables and defaults differ between releases.", "Run 1.10 or 1.11.", _version),
        Check("freeswitch.modules", _C, "The modules calls need are loaded",
              "Without them no call goes out; mod_curl and mod_lua only for direct delivery.",
              "Load it in modules.conf.xml.", _modules),
        Check("freeswitch.profiles", _W, "Every configured profile runs",
              "A port that is taken leaves a profile down, with its phones or its gateways.",
              "Look why: sofia status, and the log at its start.", _profiles),
        Check("freeswitch.gateways", _C, "Each of [[gateways]] is a running gateway with the same address",
              "The worker sends calls to these names; a direct Request-URI names the resolver's host and port.",
              "Make FreeSWITCH and [[gateways]] agree.", _gateways),
        Check("freeswitch.rate", _W, "sessions-per-second is enough for [freeswitch] calls_per_s",
              "It counts legs, and a shielded call has two: stock's 30 fail at 15 calls/s.",
              "switch.conf: raise sessions-per-second.", _rate),
        Check("freeswitch.sessions", _W, "max-sessions is enough for [freeswitch] calls",
              "It counts legs too.", "switch.conf: raise max-sessions.", _sessions),
        Check("freeswitch.digest", _C, "Phones prove who they are with a digest, carriers by their address",
              "The worker believes the digest's user; a call let in another way may claim to be any agent.",
              "Profile: accept-blind-auth=false.", switch_access.digest),
        Check("freeswitch.passwords", _C, "Every user of the directory has a password of its own",
              "FreeSWITCH lets a user without a password in without a digest.", "Give it a password.",
              switch_access.passwords),
        Check("freeswitch.agents", _W, "Every agent has one name, in small letters",
              "Caps, locks and dial permissions are an agent's; a second name is a second agent.",
              "Directory: no number-alias, ids in small letters.", switch_access.agents),
        Check("freeswitch.event_socket", _C, "The event socket has its own password and listens on loopback",
              "Whoever is let in places calls past the shield and, with direct delivery, reads numbers.",
              "Take dialplan/conf/autoload_configs/event_socket.conf.xml.", switch_access.event_socket),
        Check("freeswitch.listeners",
              _W, "Other logins of the event socket see no calls and run no commands they need not",
              "With direct delivery a customer's leg has the number in its variables.",
              "See the wallboard's login in dialplan/conf/directory/agents.xml.", switch_access.listeners),
        Check("freeswitch.connected", _W, "Nobody but doctor is connected to the event socket now",
              "Whoever is there may be listening to calls; with an edge they see tokens, and can place calls.",
              "See that you know the program; give it a login of its own that is told less.", switch_access.connected),
        Check("freeswitch.doors", _W, "No module is loaded that gives events or commands to others",
              "Each is an event socket of its own.", "Unload it.", switch_access.doors),
        Check("freeswitch.system", _W, "Nobody gets a shell through FreeSWITCH",
              "From a shell a login of the event socket reads every file of FreeSWITCH's user.",
              "Take dialplan/conf/esl_shield_vars.xml.", switch_access.system),
        Check("freeswitch.cdr_legs", _W, "CDR modules write the agent's leg only",
              "With direct delivery the customer's leg has the number.", "Write leg a only.", _cdr_legs),
        Check("freeswitch.call_records", _W, "FreeSWITCH posts call records to the intake and keeps what it could not",
              "Only by them a call whose worker died gets its true end; without, it ends as LOST.",
              "Take dialplan/conf/autoload_configs/json_cdr.conf.xml.", _call_records),
        Check("freeswitch.log_level", _W, "The log is at info and debug_level at 0",
              "debug prints the carrier's SDP, debug1 and higher dial strings.",
              'switch.conf: <param name="loglevel" value="info"/>', _log_level),
        Check("freeswitch.traces", _W, "No profile traces SIP messages",
              "A trace is the number in the log, with direct delivery.", "Switch it off.", _traces),
        Check("freeswitch.displays",
              _W, "Profiles tell phones, subscribers and the core database nothing of the other leg",
              "What the carrier says of the customer would reach the agent's display.", "Switch it off.", _displays),
        Check("freeswitch.transfers", _W, "Carriers cannot transfer calls",
              "A carrier's REFER would send the agent elsewhere.", "disable-transfer=true", _transfers),
        Check("freeswitch.core_dumps", _W, "FreeSWITCH dumps no cores where it holds numbers",
              "A dump holds the numbers of the calls in progress.",
              'switch.conf: <param name="dump-cores" value="no"/>', _core_dumps),
        Check("freeswitch.certificates",
              _W, "The resolver's certificate is checked where it gives numbers to FreeSWITCH",
              "Else whoever is between the two reads numbers.",
              'curl.conf: <param name="validate-certs" value="true"/>', _certificates),
        Check("freeswitch.files", _W, "What FreeSWITCH writes is not for everybody on its machine",
              "Logs, CDRs and databases are as open as its umask; the log's freeswitch.xml.fsxml holds all passwords.",
              "Run FreeSWITCH with UMask=0027 and chmod o-rx its log and database folders.", _files),
    ),
)  # fmt: skip
