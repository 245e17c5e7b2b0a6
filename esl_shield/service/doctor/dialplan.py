"""A FreeSWITCH dialplan as data: contexts, extensions, actions, and what a dial string reaches.

Reading follows mod_dialplan_xml.c and is generous where a wrong guess would hide something: conditions are taken as
satisfiable unless they plainly exclude a dialled number, anti-actions and nested conditions count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from re import _parser  # type: ignore[attr-defined]  # getwidth: how long a match can be
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Iterator

AGAIN = " (again)"
SHORT_DIGITS = 6  # emergency and service numbers; no customer's number is as short
_DIALLED = ("destination_number", "${destination_number}")


@dataclass(frozen=True)
class Bound:
    """Whether what stands for the dialled number, or for a capture ($1), has at most SHORT_DIGITS characters."""

    dialled: bool = False
    captures: bool = False

    def holds(self, number: str) -> bool:
        """Whether a number written with variables is as short."""
        rest = number.replace("${destination_number}", "")
        if rest != number and not self.dialled:
            return False
        free = re.sub(r"\$[0-9]", "", rest)
        return "$" not in free and len(free) <= SHORT_DIGITS and (free == rest or self.captures)


UNBOUND = Bound()


@dataclass(frozen=True)
class Action:
    """An application and its argument, and how long what was dialled can be there."""

    application: str
    data: str
    bound: Bound = UNBOUND


@dataclass(frozen=True)
class Extension:
    """An extension's name, what it does in order, and the expressions the dialled number must match."""

    name: str
    actions: tuple[Action, ...]
    dialled: tuple[str, ...] = ()

    def may_match(self, number: str) -> bool:
        """Whether a dialled number may get in; an expression Python does not read lets it."""
        return all(_search(expression, number) for expression in self.dialled)


def read_dialplan(section: ET.Element) -> dict[str, list[Extension]]:
    """Return the extensions of each context, in order; FreeSWITCH takes the first context of a name and no other."""
    contexts: dict[str, list[Extension]] = {}
    for context in section.iter("context"):
        name = context.get("name", "")
        while name in contexts:
            name += AGAIN
        contexts[name] = [_extension(element) for element in context.findall("extension")]
    return contexts


def _extension(element: ET.Element) -> Extension:
    dialled: list[str] = []
    actions: list[Action] = []
    bound = UNBOUND
    for condition in element.findall("condition"):
        expressions = _expressions(condition)
        anti = condition.findall("anti-action")
        stops = condition.get("break", "on-false") in ("on-false", "true") and not anti
        if stops and condition.get("field") == "destination_number":
            dialled += expressions
        inside = _bound(condition, bound)
        actions += _actions(condition, inside)
        bound = Bound(dialled=bound.dialled or (stops and inside.dialled), captures=inside.captures)
    return Extension(element.get("name", "(unnamed)"), tuple(actions), tuple(dialled))


def _bound(condition: ET.Element, before: Bound) -> Bound:
    """How long things can be where this condition matched: $1 is always the latest expression's."""
    inner = condition.findall("regex")
    expressions = [_expression(child) for child in inner] or _expressions(condition)
    if not expressions:
        return before
    fields = {child.get("field") for child in inner} or {condition.get("field")}
    anchored = fields <= set(_DIALLED) and all(_is_anchored(e) and _is_short(e) for e in expressions)
    return Bound(dialled=before.dialled or anchored, captures=all(map(_is_short, expressions)))


def _actions(condition: ET.Element, bound: Bound) -> Iterator[Action]:
    for child in condition:
        if child.tag in ("action", "anti-action"):
            text = (child.text or "").strip()
            # an anti-action runs when the expression did not match: then nothing bounds what was dialled
            yield Action(
                child.get("application", ""), text or child.get("data", ""), bound if child.tag == "action" else UNBOUND
            )
        elif child.tag == "condition":
            yield from _actions(child, _bound(child, bound))


def _expressions(condition: ET.Element) -> list[str]:
    return [_expression(condition)] if condition.get("field") and not condition.findall("regex") else []


def _expression(element: ET.Element) -> str:
    inner = element.find("expression")
    return (inner.text or "") if inner is not None else element.get("expression", "")


def _is_short(expression: str) -> bool:
    """Whether a match has at most SHORT_DIGITS characters; not if Python does not read the expression."""
    try:
        width: int = _parser.parse(expression).getwidth()[1]
    except (re.error, RecursionError, OverflowError):
        return False
    return width <= SHORT_DIGITS


def _is_anchored(expression: str) -> bool:
    """Whether each alternative begins with ^ and ends with $: ``^a|b$`` lets anything begin or end."""
    depth, start, parts = 0, 0, []
    for position, letter in enumerate(expression):
        escaped = position > 0 and expression[position - 1] == "\\"
        depth += 0 if escaped else (letter in "([") - (letter in ")]")
        if letter == "|" and depth == 0 and not escaped:
            parts.append(expression[start:position])
            start = position + 1
    parts.append(expression[start:])
    return all(part.startswith("^") and part.endswith("$") and not part.endswith("\\$") for part in parts)


def _search(expression: str, number: str) -> bool:
    try:
        return re.search(expression, number) is not None
    except (re.error, RecursionError, OverflowError):
        return True


@dataclass(frozen=True)
class Leg:
    """One leg of a dial string. ``kind``: gateway, uri, line, phone, jump, app, quiet or unseen.

    ``target`` is a gateway's name, a jump's ``extension dialplan context``, an app's ``name data``; ``number`` is what
    is dialled there.
    """

    kind: str
    target: str = ""
    number: str = ""
    shown: str = ""


_PREFIX = re.compile(r"^\s*(\{[^{}]*(?:\$\{[^{}]*\}[^{}]*)*\}|<[^<>]*>|\[[^\[\]]*(?:\$\{[^{}]*\}[^\[\]]*)*\])")
_LINES = (
    "freetdm",
    "openzap",
    "h323",
    "opal",
    "gsmopen",
    "khomp",
    "dahdi",
    "dingaling",
    "woomera",
    "celliax",
    "skypopen",
)
_PHONES = ("user", "group", "verto", "verto.rtc", "skinny", "rtc", "rtmp", "portaudio", "alsa", "pickup", "msrp")
_QUIET = ("error", "null", "tone_stream", "file", "silence_stream")
_OF_DIRECTORY = re.compile(r"^\$\{(sofia_contact|group_call|group|user_data|verto_contact)\([^)]*\)?")


def legs(dial_string: str) -> Iterator[Leg]:
    """Take a dial string apart; variables in braces and brackets are left out of what is shown."""
    for part in _split(_without_variables(dial_string)):
        yield _leg(_without_variables(part))


def outcalls(data: str) -> Iterator[str]:
    """Yield the ``name=value`` assignments in the braces of a dial string."""
    for block in re.findall(r"[{\[<]([^{}\[\]<>]*=[^{}\[\]<>]*)[}\]>]", data):
        yield from re.findall(r"[a-z_]+=(?:'[^']*'|[^,]*)", block)


def _without_variables(text: str) -> str:
    while match := _PREFIX.match(text):
        text = text[match.end() :]
    return text.strip()


def _split(text: str) -> Iterator[str]:
    depth, start, position = 0, 0, 0
    while position < len(text):
        letter = text[position]
        depth += (letter in "({[") - (letter in ")}]")
        wide = text.startswith(":_:", position)
        if depth <= 0 and (letter in ",|" or wide):
            yield text[start:position]
            position += 2 if wide else 0
            start = position + 1
        position += 1
    yield text[start:]


def _leg(text: str) -> Leg:
    if not text:
        return Leg("quiet")
    if text.startswith("$"):
        return Leg("phone" if _OF_DIRECTORY.match(text) else "unseen", shown=text)
    endpoint, _, rest = text.partition("/")
    if endpoint == "sofia":
        return _sofia(text, rest)
    if endpoint == "loopback":
        return _loopback(text, rest)
    if endpoint in _LINES:
        return Leg("line", endpoint, rest, text)
    return Leg("phone" if endpoint in _PHONES else "quiet" if endpoint in _QUIET else "unseen", shown=text)


def _sofia(text: str, rest: str) -> Leg:
    profile, _, number = rest.partition("/")
    if profile == "gateway":
        name, _, number = number.partition("/")
        return Leg("gateway", name.rpartition("::")[2], number, text)
    if "%" in number and "@" not in number.partition("%")[0]:
        return Leg("phone", shown=text)  # USER%DOMAIN is a registration of this profile
    return Leg("uri", profile, number, text)


def _loopback(text: str, rest: str) -> Leg:
    if rest.startswith("app="):
        name, _, data = rest.removeprefix("app=").partition(":")
        return Leg("app", name, data, text)
    extension, context, dialplan = [*rest.split("/"), "", ""][:3]
    return Leg("jump", f"{extension} {dialplan or 'XML'} {context}".rstrip(), shown=text)


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ADDRESS_OR_NUMBER = re.compile(
    rf"(?P<address>(?<![0-9.]){_OCTET}(?:\.{_OCTET}){{3}}(?::[0-9]{{1,5}})?(?![0-9.]))|[0-9][0-9 ().-]{{3,}}[0-9]"
)


def shown(data: str) -> str:
    """Return an argument as a finding may show it: no variable blocks, no number of a customer's, cut short."""
    return _ADDRESS_OR_NUMBER.sub(lambda match: match["address"] or "…", _without_variables(data))[:120]
