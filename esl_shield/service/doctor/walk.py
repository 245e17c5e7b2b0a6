"""Every way through a dialplan that ends outside it.

Starts where calls come in (profiles, users, gateways) and follows transfers, feature codes, nested applications, menus
and inline dialplans. Each way out is told once, with the path to it. Extensions nobody can reach are walked too, last.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from esl_shield.service.doctor import applications as apps
from esl_shield.service.doctor.dialplan import Action, Extension, Leg, legs, outcalls, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MAX_DEPTH = 40
_JUMP_OPTIONS = re.compile(r"^\s*(-bleg|-both|-aleg)\s+")
_PLAIN = re.compile(r"[A-Za-z0-9_.*#+@-]+")


@dataclass(frozen=True)
class Exit:
    """A way out. ``kind``: gateway, uri, line, unseen, program, socket, api, away, unknown, dialplan, context.

    ``short``: only numbers too short for a customer's can be dialled; ``fixed``: one number, that of the dialplan.
    """

    kind: str
    target: str
    path: tuple[str, ...]
    what: str
    short: bool = False
    fixed: bool = False
    reachable: bool = True


@dataclass(frozen=True)
class Place:
    """Where the walk is: the context calls go on in, and the way here."""

    context: str
    path: tuple[str, ...]
    reachable: bool = True


class Walker:
    """Walks one dialplan; ``menus`` are the applications of each IVR menu, by its name."""

    def __init__(
        self, contexts: Mapping[str, list[Extension]], variables: Mapping[str, str], menus: Mapping[str, list[Action]]
    ) -> None:
        self._contexts = contexts
        self._variables = variables
        self._menus = menus
        self._seen: set[tuple[object, ...]] = set()
        self._runners: tuple[tuple[frozenset[str], Callable[[Action, Place], Iterator[Exit]]], ...] = (
            (apps.HARMLESS, lambda _action, _place: iter(())),
            (apps.DIAL, self._dial),
            (apps.JUMP, lambda action, place: self._jump(action.data, action, place)),
            (apps.ASSIGNS, self._assigned),
            (apps.PROGRAMS, lambda action, place: self._alone("program", action, place)),
            (apps.SENDS_AWAY, lambda action, place: self._alone("away", action, place)),
            (frozenset({"socket"}), lambda action, place: self._alone("socket", action, place)),
            (frozenset({"ivr"}), self._menu),
            (_NESTING, self._nested),
        )
        self._waiting: deque[tuple[Place, str | None]] = deque()  # breadth first: the path told is a shortest one

    def walk(self, entries: Iterable[tuple[str, str]], others: Iterable[tuple[Action, str]] = ()) -> Iterator[Exit]:
        """Yield every way out.

        First from entries (a context, who comes in there), then from other applications (and who runs them), last from
        what nobody enters.
        """
        self._waiting.extend((Place(context, (who,)), None) for context, who in entries)
        yield from self._go_on()
        for action, who in others:
            yield from self.run(action, Place("default", (who,)))
        yield from self._go_on()
        for context in self._contexts:
            self._waiting.append((Place(context, ("nobody that doctor sees",), reachable=False), None))
        yield from self._go_on()

    def _go_on(self) -> Iterator[Exit]:
        while self._waiting:
            yield from self._enter(*self._waiting.popleft())

    def run(self, action: Action, place: Place) -> Iterator[Exit]:
        """Yield the ways out of one application."""
        action = replace(action, application=action.application.lower(), data=self._expanded(action.data))
        if len(place.path) > MAX_DEPTH:
            return
        yield from self._expansions(action, place)
        for names, runner in self._runners:
            if action.application in names:
                yield from runner(action, place)
                return
        yield self._exit("unknown", action.application, action, place)

    def _enter(self, place: Place, number: str | None) -> Iterator[Exit]:
        """Yield the ways out of a context, for one dialled number or (None) for any."""
        if place.context not in self._contexts and not _PLAIN.fullmatch(place.context):
            yield Exit(
                "context", place.context, place.path, f"the context {shown(place.context)}", reachable=place.reachable
            )
            return
        name = place.context if place.context in self._contexts else "global"  # mod_dialplan_xml.c falls back to it
        for extension in self._contexts.get(name, ()):
            if number is not None and not extension.may_match(number):
                continue
            for position, action in enumerate(extension.actions):
                key = (name, id(extension), position)
                if key in self._seen:
                    continue
                self._seen.add(key)
                inner = replace(place, path=(*place.path, f"context {name}", f"extension {extension.name}"))
                yield from self.run(action, inner)

    def _dial(self, action: Action, place: Place) -> Iterator[Exit]:
        for assignment in outcalls(action.data):
            yield from self._assigned(Action("set", assignment, action.bound), place)
        data = action.data.partition(":")[2].partition(":")[2] if action.data.startswith("bridge:") else action.data
        for leg in legs(data):
            yield from self._leg(leg, action, place)

    def _leg(self, leg: Leg, action: Action, place: Place) -> Iterator[Exit]:
        if leg.kind == "jump":
            yield from self._jump(leg.target, action, place)
        elif leg.kind == "app":
            yield from self.run(Action(leg.target, leg.number, action.bound), _via(place, "loopback"))
        elif leg.kind not in ("quiet", "phone"):
            fixed = "$" not in leg.number and leg.kind in ("gateway", "uri", "line")
            short = leg.kind == "gateway" and action.bound.holds(leg.number)
            made = self._exit(leg.kind, leg.target or leg.shown, action, place)
            yield replace(made, short=short and not fixed, fixed=fixed)

    def _jump(self, data: str, action: Action, place: Place) -> Iterator[Exit]:
        extension, dialplan, context = _jump_parts(data)
        if dialplan == "inline":
            for text in re.split(
                r",(?=[a-z_0-9]+(?::|$))", _JUMP_OPTIONS.sub("", data).rpartition(" inline")[0].strip(" '\"")
            ):
                name, _, argument = text.partition(":")
                yield from self.run(Action(name, argument, action.bound), _via(place, "inline dialplan"))
        elif dialplan.upper() != "XML":
            yield self._exit("dialplan", dialplan, action, place)
        else:
            onward = replace(
                _via(place, f"{action.application} {shown(data)}".strip()), context=context or place.context
            )
            self._waiting.append((onward, extension if _PLAIN.fullmatch(extension) else None))

    def _assigned(self, action: Action, place: Place) -> Iterator[Exit]:
        for text in _assignments(action):
            name, _, value = text.partition("=")
            name, value = name.strip(), value.strip().strip("'\"")
            inner = _via(place, name)
            if apps.RUNS_LATER.fullmatch(name):
                application, _, data = value.replace("::", " ", 1).partition(" ")
                yield from self.run(Action(application, data, action.bound), inner)
            elif apps.CALLS_API.fullmatch(name):
                yield from self._api(value, action, inner)
            elif apps.JUMPS_LATER.fullmatch(name):
                yield from self._jump(value.replace(":", " "), action, inner)
            elif apps.CONTEXT_LATER.fullmatch(name):
                self._waiting.append((replace(inner, context=value), None))

    def _alone(self, kind: str, action: Action, place: Place) -> Iterator[Exit]:
        target = action.data if kind == "socket" else f"{action.application} {action.data}".strip()
        yield self._exit(kind, target, action, place)

    def _menu(self, action: Action, place: Place) -> Iterator[Exit]:
        name = action.data.strip()
        if ("menu", name) not in self._seen:
            self._seen.add(("menu", name))
            for entry in self._menus.get(name, ()):
                yield from self.run(entry, _via(place, f"menu {name}"))

    def _nested(self, action: Action, place: Place) -> Iterator[Exit]:
        for inner in _nested(action):
            if inner.application == "api:":
                yield from self._api(inner.data, action, place)
            else:
                yield from self.run(inner, _via(place, action.application))

    def _api(self, command: str, action: Action, place: Place) -> Iterator[Exit]:
        if apps.API_DIALS.search(command):
            yield self._exit("api", command, action, place)
        elif apps.API_PROGRAMS.search(command):
            yield self._exit("program", command, action, place)

    def _expansions(self, action: Action, place: Place) -> Iterator[Exit]:
        for name in apps.EXPANSION.findall(action.data):
            if name in apps.EXPANSION_DIALS:
                yield self._exit("api", f"${{{name}(...)}}", action, place)
            elif name in apps.EXPANSION_PROGRAMS:
                yield self._exit("program", f"${{{name}(...)}}", action, place)

    def _expanded(self, data: str) -> str:
        """Put in global variables: FreeSWITCH does when the channel has none of that name."""
        return re.sub(r"\$\{([A-Za-z0-9_]+)\}", lambda m: self._variables.get(m[1], m[0]), data)

    def _exit(self, kind: str, target: str, action: Action, place: Place) -> Exit:
        what = f"{action.application} {shown(action.data)}".strip()
        return Exit(kind, target, place.path, what, reachable=place.reachable)


_LIMITS = {"limit_execute": 4, "limit_hash_execute": 3}  # words before the application
_NESTING = frozenset({
    "bind_meta_app", "bind_digit_action", "limit_execute", "limit_hash_execute", "sched_transfer", "sched_broadcast",
    "conference", "fifo", "callcenter",
})  # fmt: skip


def _nested(action: Action) -> list[Action]:
    """Return the applications an application's argument names."""
    words, bound = action.data.split(), action.bound
    found: list[Action] = []
    if action.application == "bind_meta_app" and len(words) > 3:  # noqa: PLR2004 - KEY LEGS FLAGS APP::ARGUMENT
        found.append(_of_double_colon(action.data.split(None, 3)[3], action))
    elif action.application in _LIMITS and len(words) > _LIMITS[action.application]:
        skip = _LIMITS[action.application]
        found.append(Action(words[skip], " ".join(words[skip + 1 :]), bound))
    elif action.application == "sched_transfer" and len(words) > 1:
        found.append(Action("transfer", " ".join(words[1:]), bound))
    elif action.application == "sched_broadcast" and "::" in action.data:
        found.append(_of_double_colon(action.data.split(None, 1)[-1], action))
    elif action.application == "conference" and action.data.startswith("bridge:"):
        found.append(Action("bridge", action.data.split(":", 2)[-1], bound))
    elif action.application == "bind_digit_action":
        found = _of_digit_action(action)
    return found


def _of_double_colon(text: str, action: Action) -> Action:
    name, _, data = text.partition("::")
    return Action(name.partition("!")[0], data, action.bound)


def _of_digit_action(action: Action) -> list[Action]:
    """``realm,digits,exec[:flags]:APP,ARGUMENT`` or ``realm,digits,api:COMMAND,ARGUMENT``."""
    parts = action.data.split(",", 3)
    if len(parts) < 3:  # noqa: PLR2004
        return []
    kind, _, name = parts[2].partition(":")
    data = parts[3] if len(parts) > 3 else ""  # noqa: PLR2004
    if kind.startswith("exec"):
        return [Action(name.rpartition(":")[2], data)]  # its captures are of keys pressed later
    return [Action("api:", f"{name} {data}", action.bound)] if kind == "api" else []


def _jump_parts(data: str) -> tuple[str, str, str]:
    words = _JUMP_OPTIONS.sub("", data).split()
    extension, dialplan, context = [*words, "", "", ""][:3]
    if "inline" in words:
        dialplan = "inline"
    return extension, dialplan or "XML", context


def _assignments(action: Action) -> list[str]:
    if action.application != "multiset":
        return [action.data]
    delimiter = action.data[2] if action.data.startswith("^^") and len(action.data) > 2 else " "  # noqa: PLR2004
    return action.data.removeprefix("^^" + delimiter).split(delimiter)


def _via(place: Place, step: str) -> Place:
    return replace(place, path=(*place.path, step))
