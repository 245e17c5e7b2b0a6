"""``pkcs11:`` URIs (RFC 7512): which key, in which token, reached by which module, with the PIN from where.

Invariants: what the RFC's grammar does not allow is refused, and so is every attribute it does not name; no attribute
is given twice; no value is repeated in an error, because somebody may have written a PIN there. ``read`` takes every
URI of the RFC but those with vendors' attributes; ``Place`` what a KEK needs of it, and never a PIN in the URI itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "pkcs11:"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = r"A-Za-z0-9._~\-"
_BOTH = r":\[\]@!$'()*+,="
_PATH_VALUE = re.compile(rf"(?:[{_UNRESERVED}{_BOTH}&]|%[0-9A-Fa-f]{{2}})*")
_QUERY_VALUE = re.compile(rf"(?:[{_UNRESERVED}{_BOTH}/?|]|%[0-9A-Fa-f]{{2}})*")
# Bytes PKCS #11 has for each text (CK_TOKEN_INFO, CK_SLOT_INFO, CK_INFO); None is no bound.
_TEXTS = {
    "token": 32, "manufacturer": 32, "serial": 16, "model": 16, "object": None, "slot-description": 64,
    "slot-manufacturer": 32, "library-manufacturer": 32, "library-description": 32,
}  # fmt: skip
_FORMS = {
    "type": re.compile("public|private|cert|secret-key|data"),
    "slot-id": re.compile("[0-9]{1,20}"),
    "library-version": re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?"),
}
_PATH = (*_TEXTS, *_FORMS, "id")
_QUERY = ("pin-source", "pin-value", "module-name", "module-path")
_WHICH_TOKEN = ("token", "serial")
_FIRST_PRINTABLE = 0x20


@dataclass(frozen=True)
class Uri:
    """A URI's attributes, percent-decoded; ``id`` is the one that is bytes and no text."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    id: bytes | None = None

    def __str__(self) -> str:
        path = [f"{name}={_encoded(value.encode())}" for name, value in self.path.items()]
        path += [] if self.id is None else ["id=" + "".join(f"%{byte:02X}" for byte in self.id)]
        query = "&".join(f"{name}={_encoded(value.encode())}" for name, value in self.query.items())
        return SCHEME + ";".join(path) + (f"?{query}" if query else "")


@dataclass(frozen=True)
class Place:
    """Where a KEK in a device is: module and PIN file by path, the token and key by what must be true of them."""

    module: str
    pin_file: str
    token: Mapping[str, str]
    label: str | None
    key_id: bytes | None

    @classmethod
    def of(cls, uri: str) -> Place:
        """Read what a KEK needs; raises ValueError with a sentence that repeats no value."""
        found = read(uri)
        if found.path.get("type", "secret-key") != "secret-key":
            raise _wrong("type must be secret-key")
        if not any(found.path.get(name) for name in _WHICH_TOKEN):
            raise _wrong("it must name the token, by token= or serial=")
        label, key_id = found.path.get("object"), found.id
        if not label and not key_id:
            raise _wrong("it must name the key, by object= or id=")
        if label == "" or key_id == b"":
            raise _wrong("object= and id= must not be empty")
        for name, value in found.path.items():
            if len(value.encode()) > (_TEXTS.get(name) or math.inf):
                raise _wrong(f"{name} is longer than the {_TEXTS[name]} bytes a device has for it")
        token = {name: value for name, value in found.path.items() if name not in ("object", "type")}
        return cls(_module(found.query), _pin_file(found.query), token, label, key_id)


def read(text: str) -> Uri:
    """Read a URI by the RFC's grammar; raises ValueError with a sentence that repeats no value."""
    if not text.startswith(SCHEME):
        raise _wrong("it must begin with pkcs11:")
    path, mark, query = text.removeprefix(SCHEME).partition("?")
    attributes = _attributes(path, ";", _PATH, _PATH_VALUE)
    key_id = attributes.pop("id", None)
    decoded = {name: _text(name, value) for name, value in attributes.items()}
    for name, form in _FORMS.items():
        if name in decoded and not form.fullmatch(decoded[name]):
            raise _wrong(f"{name} has a value it cannot have")
    if mark and not query:
        raise _wrong("nothing follows the question mark")
    asked = {name: _text(name, value) for name, value in _attributes(query, "&", _QUERY, _QUERY_VALUE).items()}
    if "pin-source" in asked and "pin-value" in asked:
        raise _wrong("it has both pin-source and pin-value")
    return Uri(decoded, asked, None if key_id is None else _bytes(key_id))


def _attributes(text: str, separator: str, known: tuple[str, ...], form: re.Pattern[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise _wrong(f"its parts must be NAME=VALUE with {separator} between them, and one is not")
        if name not in known:
            raise _wrong(f"it has the attribute {name[:32]!r}, which is not known there")
        if name in found:
            raise _wrong(f"{name} stands there twice")
        if not form.fullmatch(value):
            raise _wrong(f"{name} has a character that must be written as %XX")
        found[name] = value
    return found


def _module(query: Mapping[str, str]) -> str:
    if "module-name" in query:
        raise _wrong("give module-path=/PATH/TO/MODULE.so instead of module-name")
    module = query.get("module-path", "")
    if not module.startswith("/"):
        raise _wrong("it must name the device's PKCS#11 module by module-path= and an absolute path")
    return module


def _pin_file(query: Mapping[str, str]) -> str:
    if "pin-value" in query:
        raise _wrong("a PIN is never written there; remove pin-value, give pin-source=file:/PATH, and change the PIN")
    source = query.get("pin-source", "")
    path = source.removeprefix("file:").removeprefix("//")
    if not source.startswith("file:") or not path.startswith("/"):
        raise _wrong("it must name the file that holds the PIN, by pin-source=file: and an absolute path")
    return path


def _text(name: str, value: str) -> str:
    try:
        text = _bytes(value).decode()
    except UnicodeDecodeError:
        text = "\0"
    if any(ord(character) < _FIRST_PRINTABLE for character in text):
        raise _wrong(f"{name} is not UTF-8, or has control characters")
    return text


def _bytes(value: str) -> bytes:
    return _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), value.encode("ascii"))


def _encoded(value: bytes) -> str:
    return re.sub(rf"[^{_UNRESERVED}]", lambda match: f"%{ord(match[0]):02X}", value.decode("latin-1"))


def _wrong(problem: str) -> ValueError:
    return ValueError(f"the pkcs11: URI is not usable: {problem}")
