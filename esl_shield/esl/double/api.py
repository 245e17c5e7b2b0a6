"""The api commands a worker uses, on the one leg there is; from mod_commands.c."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.esl.double.park import Parked


def answer(parked: Parked, text: str) -> str:
    """Return what an api command prints."""
    name, _, argument = text.partition(" ")
    target, _, rest = argument.partition(" ")
    known = target == parked.channel.uuid
    if name == "sched_del":
        return f"+OK Deleted: {parked.cancel_sched_hangups() if known else 0}\n"
    if name == "sched_hangup":
        return _sched_hangup(parked, target, rest)
    if name == "file_exists":
        return "true" if Path(argument).exists() else "false"
    if name == "uuid_exists":
        return "true" if known else "false"
    if name not in _ON_A_CHANNEL:
        return f"-ERR {name} Command not found!\n"
    return _ON_A_CHANNEL[name](parked, rest) if known else "-ERR No such channel!\n"


def _sched_hangup(parked: Parked, when: str, rest: str) -> str:
    uuid, _, cause = rest.partition(" ")
    if uuid != parked.channel.uuid:
        return "-ERR No such channel!\n"
    seconds = int(when[1:]) if when[1:].isdecimal() else 0
    parked.sched_hangup(seconds * parked.call.timeout_scale, cause or "ALLOTTED_TIMEOUT")
    return "+OK\n"


def _setvar(parked: Parked, text: str) -> str:
    return _set(parked, [text.replace(" ", "=", 1)])


def _setvar_multi(parked: Parked, text: str) -> str:
    return _set(parked, text.split(";"))


def _getvar(parked: Parked, name: str) -> str:
    return parked.channel.variables.get(name, "_undef_")


def _break(parked: Parked, _: str) -> str:  # noqa: ARG001 - as its neighbours
    return "+OK\n"


def _set(parked: Parked, pairs: list[str]) -> str:
    for pair in pairs:
        name, _, value = pair.partition("=")
        if not name:
            return "-ERR No variable specified\n"
        parked.channel.set(name, value)
    return "+OK\n"


def _kill(parked: Parked, cause: str) -> str:
    parked.after(0, lambda: parked.hang_up(cause or "NORMAL_CLEARING"))
    return "+OK\n"


_ON_A_CHANNEL: dict[str, Callable[[Parked, str], str]] = {
    "uuid_setvar": _setvar,
    "uuid_setvar_multi": _setvar_multi,
    "uuid_getvar": _getvar,
    "uuid_kill": _kill,
    "uuid_break": _break,
}
