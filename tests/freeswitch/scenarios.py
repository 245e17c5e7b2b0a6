"""SIPp scenarios, written as steps: agents with digest authentication, and carriers of every temper.

A scenario is the XML SIPp reads (``sipp -sf``). ``hostile`` carriers take the user part of the Request-URI they were
called at and repeat it wherever a SIP message has room for it.
"""

from __future__ import annotations

SDP = """v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8 0
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
"""

_ECHO = """P-Asserted-Identity: "[$called]" <sip:[$called]@127.0.0.1>
Remote-Party-ID: <sip:[$called]@127.0.0.1>;party=called
P-Called-Party-ID: <sip:[$called]@127.0.0.1>
X-Called: [$called]
"""


def _scenario(*steps: str) -> str:
    return '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="s">\n' + "\n".join(steps) + "\n</scenario>\n"


def _send(text: str, *, retransmit: bool = False) -> str:
    again = ' retrans="500"' if retransmit else ""
    return f"<send{again}><![CDATA[\n\n{text}\n]]></send>"


def _with_body(headers: str, body: str) -> str:
    if not body:
        return headers + "Content-Length: 0\n\n"
    return headers + "Content-Type: application/sdp\nContent-Length: [len]\n\n" + body


# --- carriers ---------------------------------------------------------------------------------------------------------

_CALLED = """<recv request="INVITE" rrs="true"><action>
<ereg regexp="sip:([^@]*)@" search_in="msg" check_it="true" assign_to="whole,called"/>
<log message="called [$whole] [$called]"/></action></recv>"""


def _respond(code: int, phrase: str, *, sdp: bool = False, hostile: bool = False) -> str:
    contact = "[$called]" if hostile else "carrier"
    text = (
        f"SIP/2.0 {code} {phrase}{' [$called]' if hostile and code >= 300 else ''}\n"
        "[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]C[call_number]\n[last_Call-ID:]\n[last_CSeq:]\n"
        f"Contact: <sip:{contact}@[local_ip]:[local_port];transport=[transport]>\n"
    )
    if hostile:
        text += _ECHO
        text += 'Reason: Q.850;cause=17;text="[$called]"\n' if code >= 300 else ""
    body = SDP.replace("s=-", "s=[$called]") if hostile else SDP
    return _send(_with_body(text, body if sdp else ""), retransmit=code == 200 or code >= 300)


_OK = _send(
    "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n"
)
_ACK_OF_REFUSAL = '<recv request="ACK"/>'
_END_BY_AGENT = '<recv request="ACK" rrs="true"/>\n<recv request="BYE"/>\n' + _OK


def _pause(ms: int) -> str:
    return f'<pause milliseconds="{ms}"/>'


def carrier_answers(*, hostile: bool = False, ring_ms: int = 100) -> str:
    """180, 200, then waits for the agent's BYE."""
    return _scenario(
        _CALLED,
        _respond(180, "Ringing", hostile=hostile),
        _pause(ring_ms),
        _respond(200, "OK", sdp=True, hostile=hostile),
        _END_BY_AGENT,
    )


# Tells the carrier who is who, for requests of its own in the dialog.
_CALLED_BACK = _CALLED.replace(
    "</action>",
    '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="remote"/>'
    '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>'
    '<assignstr assign_to="local" value="[$to];tag=[pid]C[call_number]"/></action>',
)


def _from_carrier(method: str, extra: str = "") -> str:
    text = (
        f"{method} [next_url] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n"
        f"From: [$local]\nTo: [$remote]\n[last_Call-ID:]\nCSeq: [msg_index] {method}\nMax-Forwards: 70\n"
        f"Contact: <sip:carrier@[local_ip]:[local_port]>\n{extra}Content-Length: 0\n\n"
    )
    return _send(text, retransmit=True)


def carrier_hangs_up(*, hostile: bool = False, talk_ms: int = 300) -> str:
    """180, 200, then a BYE from the customer."""
    return _scenario(
        _CALLED_BACK,
        _respond(180, "Ringing", hostile=hostile),
        _pause(100),
        _respond(200, "OK", sdp=True, hostile=hostile),
        '<recv request="ACK" rrs="true"/>',
        _pause(talk_ms),
        _from_carrier("BYE", 'Reason: Q.850;cause=16;text="[$called]"\n' if hostile else ""),
        '<recv response="200"/>',
    )


def carrier_refers() -> str:
    """180, 200, then tries to move the agent elsewhere and is refused; waits for the agent's BYE."""
    return _scenario(
        _CALLED_BACK,
        _respond(180, "Ringing"),
        _respond(200, "OK", sdp=True),
        '<recv request="ACK" rrs="true"/>',
        _from_carrier("REFER", "Refer-To: <sip:1002@elsewhere.example>\n"),
        '<recv response="405"/>',
        '<recv request="BYE"/>',
        _OK,
    )


def carrier_refuses(code: int, phrase: str, *, ringing: bool = False, hostile: bool = False) -> str:
    """A final refusal, after a 180 if ``ringing``."""
    steps = [_respond(180, "Ringing", hostile=hostile), _pause(100)] if ringing else []
    return _scenario(_CALLED, *steps, _respond(code, phrase, hostile=hostile), _ACK_OF_REFUSAL)


def carrier_rings(*, hostile: bool = False, early_media: bool = False) -> str:
    """180, or 183 with SDP, and nothing more until cancelled."""
    return _scenario(
        _CALLED,
        _respond(183 if early_media else 180, "Ringing", sdp=early_media, hostile=hostile),
        '<recv request="CANCEL"/>',
        _OK,
        _send(
            "SIP/2.0 487 Request Terminated\n[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]C[call_number]\n"
            "[last_Call-ID:]\nCSeq: [$cseq] INVITE\nContent-Length: 0\n\n",
            retransmit=True,
        ),
        _ACK_OF_REFUSAL,
    ).replace(
        "</action></recv>",
        '<ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="cseq"/></action></recv>',
        1,
    )


def carrier_early_media(*, then: int, phrase: str = "OK", hostile: bool = False, early_ms: int = 400) -> str:
    """183 with SDP, then an answer (``then=200``) or a refusal."""
    end = _END_BY_AGENT if then == 200 else _ACK_OF_REFUSAL
    return _scenario(
        _CALLED,
        _respond(183, "Session Progress", sdp=True, hostile=hostile),
        _pause(early_ms),
        _respond(then, phrase, sdp=then == 200, hostile=hostile),
        end,
    )


# --- agents -----------------------------------------------------------------------------------------------------------

_REQUEST = """{method} sip:[service]@[$domain] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Agent [$user]" <sip:[$user]@[$domain]>;tag=[pid]A[call_number]
To: <sip:[service]@[$domain]>[peer_tag_param]
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:[$user]@[local_ip]:[local_port]>
Max-Forwards: 70
Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO
"""

_OPTIONAL = "\n".join(f'<recv response="{code}" optional="true"/>' for code in (100, 180, 183))


def _request(method: str, cseq: int, extra: str = "", body: str = "") -> str:
    text = _REQUEST.format(method=method, cseq=cseq)
    if method in ("INVITE", "CANCEL"):
        text = text.replace("[peer_tag_param]", "")
    return _with_body(text + extra, body)


def _same_branch(method: str, cseq: int, steps_back: int) -> str:
    """A request of the INVITE's own transaction, which was sent ``steps_back`` scenario steps earlier."""
    return _request(method, cseq).replace(";branch=[branch]", f";branch=[branch-{steps_back}]")


def _setup(user: str, domain: str, extra: str, *, authenticated: bool) -> list[str]:
    """INVITE, and once more with the digest when the profile asks for it."""
    names = (
        f'<nop><action><assignstr assign_to="user" value="{user}"/>'
        f'<assignstr assign_to="domain" value="{domain}"/></action></nop>'
    )
    invite = _send(_request("INVITE", 1, extra, SDP), retransmit=True)
    if not authenticated:
        return [names, invite]
    return [
        names,
        invite,
        '<recv response="100" optional="true"/>',
        '<recv response="407" auth="true"/>',
        _send(_same_branch("ACK", 1, 3)),
        _send(_request("INVITE", 2, "[authentication]\n" + extra, SDP), retransmit=True),
    ]


_BYE = _send(_request("BYE", 3), retransmit=True)


def agent_talks(user: str, domain: str, *, talk_ms: int = 400, extra: str = "") -> str:
    """Calls, is answered, hangs up after ``talk_ms``."""
    return _scenario(
        *_setup(user, domain, extra, authenticated=True),
        _OPTIONAL,
        '<recv response="200" rrs="true"/>',
        _send(_request("ACK", 2)),
        _pause(talk_ms),
        _BYE,
        '<recv response="200"/>',
    )


def agent_is_left(user: str, domain: str, *, extra: str = "") -> str:
    """Calls, is answered, waits for the other side's BYE."""
    return _scenario(
        *_setup(user, domain, extra, authenticated=True),
        _OPTIONAL,
        '<recv response="200" rrs="true"/>',
        _send(_request("ACK", 2)),
        '<recv request="BYE"/>',
        _OK,
    )


def agent_transfers(user: str, domain: str, to: str, *, talk_ms: int = 300) -> str:
    """Calls, is answered, sends the customer on to ``to`` (REFER) and is released."""
    refer = _request("REFER", 3, f"Refer-To: <sip:{to}@{domain}>\nReferred-By: <sip:{user}@{domain}>\n")
    return _scenario(
        *_setup(user, domain, "", authenticated=True),
        _OPTIONAL,
        '<recv response="200" rrs="true"/>',
        _send(_request("ACK", 2)),
        _pause(talk_ms),
        _send(refer.replace("sip:[service]@[$domain] SIP/2.0", "[next_url] SIP/2.0", 1), retransmit=True),
        '<recv response="202"/>',
        '<recv request="NOTIFY"/>',
        _OK,
        '<recv request="BYE"/>',
        _OK,
    )


def agent_is_refused(user: str, domain: str, code: int, *, extra: str = "", authenticated: bool = True) -> str:
    """Calls and gets the final response ``code``."""
    return _scenario(
        *_setup(user, domain, extra, authenticated=authenticated),
        _OPTIONAL,
        f'<recv response="{code}"/>',
        _send(_same_branch("ACK", 2 if authenticated else 1, 5)),
    )


def agent_cancels(user: str, domain: str, *, ring_ms: int = 200, at: int = 180, extra: str = "") -> str:
    """Calls, gets the provisional response ``at`` (100: nothing heard yet, 183: early media), gives up."""
    before = [] if at == 100 else ['<recv response="100" optional="true"/>']
    return _scenario(
        *_setup(user, domain, extra, authenticated=True),
        *before,
        f'<recv response="{at}"/>',
        _pause(ring_ms),
        _send(_same_branch("CANCEL", 2, 3 + len(before)), retransmit=True),
        '<recv response="200"/>',
        '<recv response="487"/>',
        _send(_same_branch("ACK", 2, 6 + len(before))),
    )


# --- customers who call in, and desks that register -----------------------------------------------------------------

_CUSTOMER = """{method} {uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: {caller};tag=[pid]K[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: {digits}///[call_id]
CSeq: {cseq} {method}
Contact: <sip:{digits}@[local_ip]:[local_port]>
Max-Forwards: 70
"""

_NAMES = """P-Asserted-Identity: "{digits}" <sip:{number}@127.0.0.1>
Remote-Party-ID: "{digits}" <sip:{number}@127.0.0.1>;party=calling
P-Preferred-Identity: <sip:{number}@127.0.0.1>
Diversion: <sip:{number}@127.0.0.1>;reason=no-answer
History-Info: <sip:{number}@127.0.0.1>;index=1
Call-Info: <http://x/{digits}>;purpose=info
X-Caller: {digits}
Subject: {digits}
User-Agent: phone/{digits}
"""


def customer_calls(number: str, *, hostile: bool = False, withheld: bool = False, hangs_up_after_ms: int = -1) -> str:
    """Calls from ``number``, is answered, hangs up after a while, or (-1) waits for the other side's BYE.

    ``hostile`` repeats the number in every header, name, tag and description; ``withheld`` asks for privacy.
    """
    digits = number.lstrip("+")
    caller = '"Anonymous" <sip:anonymous@anonymous.invalid>' if withheld else f'"{digits}" <sip:{number}@127.0.0.1>'
    names = {"caller": caller, "digits": digits}
    extra = _NAMES.format(number=number, digits=digits) if hostile else ""
    extra += f"P-Asserted-Identity: <sip:{number}@127.0.0.1>\nPrivacy: id\n" if withheld else ""
    body = SDP.replace("s=-", f"s={digits}").replace("o=user1", f"o={digits}") if hostile else SDP

    def request(method: str, cseq: int, uri: str = "[next_url]") -> str:
        return _CUSTOMER.format(method=method, cseq=cseq, uri=uri, **names)

    invite = request("INVITE", 1, "sip:[service]@[remote_ip]:[remote_port]").replace("[peer_tag_param]", "")
    steps = [
        _send(_with_body(invite + extra, body), retransmit=True),
        _OPTIONAL,
        '<recv response="200" rrs="true"/>',
        _send(_with_body(request("ACK", 1), "")),
    ]
    if hangs_up_after_ms < 0:
        steps += ['<recv request="BYE"/>', _OK]
    else:
        bye = _with_body(request("BYE", 2) + (f"Reason: Q.850;cause=16;text={digits}\n" if hostile else ""), "")
        steps += [_pause(hangs_up_after_ms), _send(bye, retransmit=True), '<recv response="200"/>']
    return _scenario(*steps)


def desk_registers(user: str, domain: str, port: int) -> str:
    """Registers a phone that listens on another port."""
    text = (
        f"REGISTER sip:{domain} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n"
        f"From: <sip:{user}@{domain}>;tag=[pid]R[call_number]\nTo: <sip:{user}@{domain}>\nCall-ID: [call_id]\n"
        f"CSeq: {{cseq}} REGISTER\nContact: <sip:{user}@[local_ip]:{port}>\nMax-Forwards: 70\nExpires: 300\n{{extra}}"
        "Content-Length: 0\n\n"
    )
    return _scenario(
        _send(text.format(cseq=1, extra=""), retransmit=True),
        '<recv response="401" auth="true"/>',
        _send(text.format(cseq=2, extra="[authentication]\n"), retransmit=True),
        '<recv response="200"/>',
    )
