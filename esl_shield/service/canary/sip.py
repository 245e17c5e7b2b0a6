"""What a telephone needs of SIP: messages, digest answers and an offer of audio; bytes in, bytes out.

Invariants: what is no SIP message is None, never an exception; header names are compared without case and in their
short form. Source: RFC 3261, RFC 8760 (digest with MD5 and SHA-256), RFC 4566.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Headers = tuple[tuple[str, str], ...]

_SHORT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}
_STATUS = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: |$)")
_REQUEST = re.compile(r"([A-Z]{1,16}) (\S+) SIP/2\.0$")
_FIELD = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}
BRANCH = "z9hG4bK"


@dataclass(frozen=True)
class Message:
    """A request (``method``) or an answer (``status``)."""

    status: int
    method: str
    headers: Headers

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a header, in order."""
        return tuple(value for key, value in self.headers if key == name)

    def first(self, name: str) -> str:
        """Return a header's first value, empty without one."""
        return next(iter(self.all(name)), "")

    @property
    def cseq(self) -> tuple[int, str]:
        """Return number and method of CSeq; (0, "") without one."""
        found = re.fullmatch(r"([0-9]{1,10})\s+([A-Z]+)", self.first("cseq"))
        return (int(found[1]), found[2]) if found else (0, "")

    @property
    def target(self) -> str:
        """Return the URI of Contact, empty without one."""
        contact = self.first("contact")
        found = re.search(r"<([^<>\s]+)>", contact)
        return found[1] if found else contact.split(";")[0].strip()


def parse(data: bytes) -> Message | None:
    """Read a datagram; None for what is no SIP message."""
    head = data.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    first, *rest = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
    status, request = _STATUS.match(first), _REQUEST.fullmatch(first)
    if not status and not request:
        return None
    headers = []
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        key = name.strip().lower()
        headers.append((_SHORT.get(key, key), value.strip()))
    return Message(int(status[1]) if status else 0, request[1] if request else "", tuple(headers))


def render(first: str, headers: Iterable[tuple[str, str]], body: str = "") -> bytes:
    """Write a message with its body's type and length."""
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append("Content-Type: application/sdp")
    return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body]).encode()


def digest(challenges: Sequence[str], *, user: str, password: str, method: str, uri: str) -> str | None:
    """Answer the first challenge whose algorithm we know; None if there is none."""
    for challenge in challenges:
        scheme, _, rest = challenge.partition(" ")
        given = {name.lower(): quoted or bare for name, quoted, bare in _FIELD.findall(rest)}
        algorithm = given.get("algorithm", "MD5").upper()
        offered = [quality.strip() for quality in given.get("qop", "").split(",") if quality.strip()]
        if scheme.lower() != "digest" or algorithm not in _HASHES or (offered and "auth" not in offered):
            continue
        return _answer(given, algorithm, user=user, password=password, method=method, uri=uri, protected=bool(offered))
    return None


def _answer(
    given: dict[str, str], algorithm: str, *, user: str, password: str, method: str, uri: str, protected: bool
) -> str:
    realm, nonce, cnonce = given.get("realm", ""), given.get("nonce", ""), secrets.token_hex(8)
    mine = _hash(algorithm, f"{user}:{realm}:{password}")
    asked = _hash(algorithm, f"{method}:{uri}")
    middle = f"{nonce}:00000001:{cnonce}:auth" if protected else nonce
    response = _hash(algorithm, f"{mine}:{middle}:{asked}")
    text = (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
        f"algorithm={algorithm}"
    )
    if protected:
        text += f', qop=auth, nc=00000001, cnonce="{cnonce}"'
    return text + (f', opaque="{given["opaque"]}"' if "opaque" in given else "")


def _hash(algorithm: str, text: str) -> str:
    return hashlib.new(_HASHES[algorithm], text.encode(), usedforsecurity=False).hexdigest()


def offer(host: str, port: int) -> str:
    """Offer G.711 and telephone events at an address; nothing is ever sent from there."""
    family = "IP6" if ":" in host else "IP4"
    lines = (
        "v=0", f"o=- {secrets.randbelow(1 << 31)} 1 IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0",
        f"m=audio {port} RTP/AVP 8 0 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=sendrecv",
    )  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines)
