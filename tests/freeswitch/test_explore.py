"""x"""
from __future__ import annotations
import re, time, os
import pytest
from phones import Phone
from lab import DOMAIN, AGENT_PASSWORD
from polling import until
from shield import Shield
from sipp import HOST
from stage import CARRIER_A, CARRIER_B
from edge_lab import SECRET, Edge
from urllib.parse import unquote

@pytest.fixture
def edge(stage, tmp_path):
    carriers = [f"1 sip:{HOST}:{stage.port_of(name)} 0 {rank} name={name}" for name, rank in ((CARRIER_A, 9), (CARRIER_B, 1))]
    edge = Edge(tmp_path / "edge", f"http://{HOST}:{stage.ports.resolver}/redeem", carriers, inside=stage.ports.edge)
    yield edge
    edge.stop()

class Cast:
    def __init__(self, database, stage, switch, tap, edge):
        self.stage, self.switch, self.tap, self.edge = stage, switch, tap, edge
        self.shield = Shield(database, stage, edge=SECRET)
        self.shield.resolver(); self.shield.worker()
        self.customer = Phone("customer", to=edge.outside[1], port=stage.port_of(CARRIER_A), hostile=True)
        stage.callback(self.customer.stop)
        self.agents = {}
    def agent(self, user, **more):
        p = Phone(user, to=self.stage.ports.agents, domain=DOMAIN, user=user, password=AGENT_PASSWORD.format(user=user), **more)
        self.stage.callback(p.stop)
        return p

def show(tap, start, path):
    names = {}
    out = []
    def nick(u):
        if not u: return '-'
        return names.setdefault(u, chr(97+len(names)))
    for raw in tap.events[start:]:
        body = raw.split(b"\n\n",1)[-1].decode(errors="replace")
        h = {}
        for l in body.split("\n"):
            k,_,v = l.partition(": ")
            h.setdefault(k, unquote(v))
        n = h.get("Event-Name","")
        if not n.startswith(("CHANNEL","CUSTOM","API","CALL_UPDATE","DTMF","PRIVATE")): continue
        uid = h.get("Unique-ID","")
        line = f"{n:26} {nick(uid)} {h.get('Call-Direction','')[:3]:3} st={h.get('Channel-State','')} cs={h.get('Channel-Call-State','')} ans={h.get('Answer-State','')} other={nick(h.get('Other-Leg-Unique-ID',''))} callid={nick(h.get('Channel-Call-UUID',''))}"
        for k in ("Event-Subclass","Bridge-A-Unique-ID","Bridge-B-Unique-ID","Application","Application-Data","Hangup-Cause","API-Command","API-Command-Argument","Original-Channel-Call-State","Action","Caller-Destination-Number","variable_signal_bond","variable_bridge_uuid","variable_last_bridge_to","variable_dialed_user","variable_sip_auth_username","variable_transfer_source","DTMF-Digit","variable_endpoint_disposition","Caller-Context","Caller-Caller-ID-Number","Caller-Callee-ID-Number","variable_shield_side"):
            if h.get(k):
                v = h[k]
                v = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", lambda m: "<"+nick(m[0])+">", v)
                line += f" {k.replace('variable_','v_')}={v[:110]}"
        out.append(line)
    __import__("pathlib").Path(path).write_text("\n".join(out))

@pytest.fixture
def cast(database, stage, switch, tap, edge, request):
    c = Cast(database, stage, switch, tap, edge)
    start = len(tap.events)
    yield c
    try:
        switch.esl.api("hupall"); switch.quiet()
    finally:
        time.sleep(.3)
        name = request.node.name.replace("test_","")
        show(tap, start, f"/tmp/ex-{name}.txt")
        __import__("pathlib").Path(f"/tmp/ex-{name}.calls").write_text("\n".join(map(str,c.shield.calls())) + "\n" + "\n".join(map(str, database.query("SELECT kind, agent, token, detail FROM dba.audit_events ORDER BY id"))))
        __import__("pathlib").Path(f"/tmp/ex-{name}.out").write_text("\n".join(p.read_text() for p in c.shield.folder.glob("*.out")))

def connect(cast, user="1001", n="+8613800138101"):
    a = cast.agent(user) if user not in cast.agents else cast.agents[user]
    cast.agents[user] = a
    line = a.dial(cast.shield.token(n)).until_answered()
    time.sleep(.5)
    return a, line

def test_hold(cast):
    a, line = connect(cast)
    line.hold(); time.sleep(.6); line.unhold(); time.sleep(.3)
    b = cast.customer.lines[0]
    b.hold(); time.sleep(.3); b.unhold(); time.sleep(.3)
    line.hang_up()
def test_blind(cast):
    b = cast.agent("1002")
    a, line = connect(cast)
    line.refer("1002")
    b.ringing(); line.until_ended()
    time.sleep(1)
    print(b.lines[0].invite.raw.decode())
    cast.customer.lines[0].hang_up()
    time.sleep(.5)
def test_attended(cast):
    b = cast.agent("1002")
    a, line = connect(cast)
    line.hold()
    second = a.dial("1002").until_answered()
    time.sleep(.5)
    line.refer("1002", replaces=second)
    line.until_ended()
    time.sleep(1)
    print(b.text)
    cast.customer.lines[0].hang_up()
    time.sleep(.5)
def test_attended_token(cast):
    a, line = connect(cast)
    line.hold()
    _, second = connect(cast, n="+8613800138102")
    line.refer("1002", replaces=second)
    line.until_ended(); second.until_ended()
    time.sleep(1)
    print([l.ended for l in cast.customer.lines], [l.ended for l in a.lines])
    cast.customer.lines[0].hang_up()
    time.sleep(.5)
def test_blind_token(cast):
    t = cast.shield.token("+8613800138103")
    a, line = connect(cast)
    line.refer(t)
    line.until_ended()
    time.sleep(1)
    print([l.ended for l in cast.customer.lines], line.notified())
def test_dtmf(cast):
    a, line = connect(cast)
    time.sleep(.5)
    a.media.press("5"); time.sleep(.6); cast.customer.media.press("7"); time.sleep(.6)
    print("rfc", cast.customer.media.digits, a.media.digits)
    line.info("3"); time.sleep(.5)
    try:
        cast.customer.lines[0].info("4"); time.sleep(.6)
    except Exception as e: print(e)
    print("info", cast.customer.media.digits, a.media.digits, [m.body for m in cast.customer.heard if m.method=="INFO"],[m.body for m in a.heard if m.method=="INFO"])
    line.hang_up()
def test_timers(cast):
    a = cast.agent("1001", session_expires="90;refresher=uac")
    line = a.dial(cast.shield.token("+8613800138101")).until_answered()
    print("expires a", line.session_expires)
    print(cast.customer.lines[0].invite.raw.decode())
    line.refresh(("Session-Expires","90;refresher=uac"),("Supported","timer"))
    cast.customer.lines[0].refresh(("Session-Expires","90;refresher=uac"),("Supported","timer"))
    line.hang_up()
