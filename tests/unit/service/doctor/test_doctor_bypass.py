"""Dialplans with and without a way past the shield."""

from __future__ import annotations

import pytest
from doctor_facts import CARRIERS, SHIELD, agents, extension, facts, told, wrong

from esl_shield.service.doctor.bypass import AREA
from esl_shield.service.doctor.dialplan import Bound, legs, shown

# What agents may have beside the shield; the data of each.
CLEAN = {
    "colleagues": extension("internal", r"^(1\d{3})$", "bridge", "user/$1@agents.example.com"),
    "a registered phone": extension("phone", r"^(1\d{3})$", "bridge", "sofia/internal/$1%agents.example.com"),
    "a group": extension("group", "^2000$", "bridge", "${group_call(sales@agents.example.com)}"),
    "voicemail": extension("mail", "^4000$", "voicemail", "check default agents.example.com"),
    "a conference": extension("room", r"^(30\d{2})$", "conference", "$1@default"),
    "a transfer to a colleague": extension("operator", "^0$", "transfer", "1001 XML agents"),
    "our own script": extension("lua", "^5$", "lua", "esl_shield.lua"),
    "loopback to a colleague": extension("loop", "^6$", "bridge", "loopback/1001/agents"),
    "an error": extension("busy", "^7$", "bridge", "error/user_busy"),
}

# dialplan, severity, words of the finding
HOLES = {
    "a gateway": (
        extension("out", r"^9(\d+)$", "bridge", "sofia/gateway/carrier-a/$1"),
        "critical",
        "gateway carrier-a",
    ),
    "a gateway by its profile": (
        extension("out", r"^9(\d+)$", "bridge", "sofia/gateway/external::carrier-a/$1"),
        "critical",
        "gateway carrier-a",
    ),
    "a gateway in braces": (
        extension("out", "^.*$", "bridge", "{a=b}[c=d]sofia/gateway/carrier-a/${destination_number}"),
        "critical",
        "gateway carrier-a",
    ),
    "second in a list": (
        extension("out", "^.*$", "bridge", "user/1001@x|sofia/gateway/carrier-a/$1"),
        "critical",
        "gateway carrier-a",
    ),
    "enterprise originate": (
        extension("out", "^.*$", "bridge", "user/1001@x:_:sofia/gateway/carrier-a/$1"),
        "critical",
        "gateway carrier-a",
    ),
    "a gateway in a variable": (
        extension("out", r"^(\d{11})$", "bridge", "sofia/gateway/${default_gateway}/$1"),
        "critical",
        "gateway ${default_gateway}",
    ),
    "a short capture with digits in front": (
        extension("out", r"^(\d{4})$", "bridge", "sofia/gateway/carrier-a/1380013$1"),
        "critical",
        "gateway carrier-a",
    ),
    "an unanchored short expression": (
        extension("out", "112", "bridge", "sofia/gateway/carrier-a/${destination_number}"),
        "critical",
        "gateway carrier-a",
    ),
    "half anchored alternatives": (
        extension("out", "^110$|^112", "bridge", "sofia/gateway/carrier-a/${destination_number}"),
        "critical",
        "gateway carrier-a",
    ),
    "a header behind a short number": (
        (
            '<extension name="out"><condition field="destination_number" expression="^(112)$"/>'
            '<condition field="${sip_h_X-Number}" expression="^(.*)$"><action application="bridge" '
            'data="sofia/gateway/carrier-a/$1"/></condition></extension>'
        ),
        "critical",
        "gateway carrier-a",
    ),
    "what was typed": (
        extension("out", "^112$", "bridge", "sofia/gateway/carrier-a/${digits}"),
        "critical",
        "gateway carrier-a",
    ),
    "an anti-action": (
        (
            '<extension name="out"><condition field="destination_number" expression="^(112)$">'
            '<anti-action application="bridge" data="sofia/gateway/carrier-a/${destination_number}"/></condition>'
            "</extension>"
        ),
        "critical",
        "gateway carrier-a",
    ),
    "a nested condition": (
        (
            '<extension name="out"><condition field="destination_number" expression="^9(.*)$">'
            '<condition field="${a}" expression="(.*)"><action application="bridge" data="sofia/gateway/carrier-a/$1"/>'
            "</condition></condition></extension>"
        ),
        "critical",
        "gateway carrier-a",
    ),
    "text in place of data": (
        (
            '<extension name="out"><condition field="destination_number" expression="^9(.*)$">'
            '<action application="bridge"><![CDATA[sofia/gateway/carrier-a/$1]]></action></condition></extension>'
        ),
        "critical",
        "gateway carrier-a",
    ),
    "any SIP address": (extension("uri", "^sip:(.*)$", "bridge", "sofia/internal/$1"), "critical", "a SIP address"),
    "a fixed host": (
        extension("uri", "^8(.*)$", "bridge", "sofia/external/$1@198.51.100.9"),
        "critical",
        "a SIP address",
    ),
    "a telephone line": (extension("line", "^8(.*)$", "bridge", "freetdm/1/a/$1"), "critical", "telephone line"),
    "attended transfer": (
        extension("att", r"^\*4$", "att_xfer", "sofia/gateway/carrier-a/${digits}"),
        "critical",
        "att_xfer",
    ),
    "a feature code": (
        extension("code", "^1$", "bind_meta_app", "1 b s bridge::sofia/gateway/carrier-a/${digits}"),
        "critical",
        "bind_meta_app",
    ),
    "a digit action": (
        extension("code", "^1$", "bind_digit_action", "r,~^(.*)$,exec:bridge,sofia/gateway/carrier-a/$1"),
        "critical",
        "bind_digit_action",
    ),
    "a limited bridge": (
        extension("l", "^9(.*)$", "limit_execute", "hash a b 5 bridge sofia/gateway/carrier-a/$1"),
        "critical",
        "limit_execute",
    ),
    "on answer": (
        extension("l", "^1$", "set", "execute_on_answer=bridge sofia/gateway/carrier-a/${x}"),
        "critical",
        "execute_on_answer",
    ),
    "on a leg's answer": (
        extension("l", "^1$", "bridge", "{execute_on_answer='transfer x XML out'}user/1001@x"),
        "critical",
        "extension all",
    ),
    "after a bridge": (
        extension("l", "^1$", "export", "nolocal:transfer_after_bridge=x:XML:out"),
        "critical",
        "extension all",
    ),
    "a forced context": (extension("l", "^1$", "set", "force_transfer_context=out"), "critical", "extension all"),
    "many variables": (
        extension("l", "^1$", "multiset", "^^;a=b;execute_on_media=bridge sofia/gateway/carrier-a/${x}"),
        "critical",
        "execute_on_media",
    ),
    "a transfer": (extension("t", "^7(.*)$", "transfer", "$1 XML out"), "critical", "context out -> extension all"),
    "execute_extension": (extension("t", "^7(.*)$", "execute_extension", "$1 XML out"), "critical", "context out"),
    "a later transfer": (extension("t", "^7(.*)$", "sched_transfer", "+5 $1 XML out"), "critical", "context out"),
    "loopback": (extension("t", "^7(.*)$", "bridge", "loopback/$1/out"), "critical", "context out"),
    "loopback to an application": (
        extension("t", "^7(.*)$", "bridge", "loopback/app=bridge:sofia/gateway/carrier-a/$1"),
        "critical",
        "gateway carrier-a",
    ),
    "inline": (
        extension("t", "^7(.*)$", "transfer", "'answer,bridge:sofia/gateway/carrier-a/$1' inline"),
        "critical",
        "inline dialplan",
    ),
    "an outcall": (
        extension("c", "^1$", "conference_set_auto_outcall", "sofia/gateway/carrier-a/${x}"),
        "critical",
        "gateway carrier-a",
    ),
    "a conference's bridge": (
        extension("c", "^9(.*)$", "conference", "bridge:room@default:sofia/gateway/carrier-a/$1"),
        "critical",
        "gateway carrier-a",
    ),
    "originate": (
        extension("o", "^1$", "set", "x=${originate(sofia/gateway/carrier-a/1 park)}"),
        "critical",
        "command",
    ),
    "an API hook": (
        extension("o", "^1$", "set", "api_hangup_hook=originate sofia/gateway/carrier-a/1 park"),
        "critical",
        "command",
    ),
    "a script": (extension("s", "^1$", "lua", "dial.lua"), "warning", "program"),
    "a shell": (extension("s", "^1$", "system", "/bin/dial"), "warning", "program"),
    "another worker": (extension("s", "^1$", "socket", "192.0.2.77:8084 async full"), "warning", "192.0.2.77:8084"),
    "a variable": (extension("v", "^1$", "bridge", "${where}"), "warning", "variable"),
    "a context in a variable": (extension("v", "^1$", "transfer", "1 XML ${where}"), "warning", "context"),
    "another dialplan": (extension("v", "^(1)$", "transfer", "$1 enum"), "warning", "enum"),
    "an unknown application": (extension("v", "^1$", "dial_anything", "x"), "warning", "dial_anything"),
    "a redirected phone": (extension("d", "^1$", "deflect", "${destination_number}"), "warning", "phone"),
    "a long path": (
        extension("p", "^1(.*)$", "transfer", "$1 XML way"),
        "critical",
        "context way -> extension on -> transfer $1 XML out -> context out",
    ),
    "emergency": (extension("e", "^(110|112)$", "bridge", "sofia/gateway/carrier-a/$1"), "info", "short numbers"),
    "one fixed number": (extension("f", "^1$", "bridge", "sofia/gateway/carrier-a/4001234567"), "info", "fixed number"),
    "the edge without a permit": (
        extension("g", "^9(.*)$", "bridge", "sofia/gateway/edge/$1"),
        "info",
        "without a permit",
    ),
}
OUT = f'<context name="out">{extension("all", "^(.*)$", "bridge", "sofia/gateway/carrier-a/$1")}</context>'
WAY = f'<context name="way">{extension("on", "^(.*)$", "transfer", "$1 XML out")}</context>'
OUT_REACHED = {
    "on a leg's answer",
    "after a bridge",
    "a forced context",
    "a transfer",
    "execute_extension",
    "a later transfer",
    "loopback",
    "a long path",
}


@pytest.mark.parametrize("name", CLEAN)
def test_what_agents_may_have_is_no_hole(name):
    """Phones, conferences, voicemail and the shield's own applications are nothing to say."""
    assert wrong(AREA, facts(dialplan=agents(CLEAN[name]))) == []


def test_our_own_dialplan_has_no_hole():
    """The shield and nothing else."""
    assert wrong(AREA, facts()) == []


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_found_with_its_path(name):
    """Each way past the shield is told: severity, where calls come in, the extension, what it does."""
    text, severity, words = HOLES[name]
    ways = OUT + WAY if name in OUT_REACHED else ""
    found = wrong(AREA, facts(dialplan=agents(text) + ways))
    assert told(found, severity, "profile internal -> context agents -> extension ", words), found
    assert sum(line.startswith(severity) for line in found) == 1, found
    worse = {"info": ("critical", "warning"), "warning": ("critical",), "critical": ()}[severity]
    assert not [line for line in found if line.startswith(worse)] if worse else True


def test_what_nobody_enters_is_only_said():
    """A hole in a context no profile and no user enters is for information."""
    found = wrong(AREA, facts(dialplan=agents() + OUT))
    assert len(found) == 1
    assert found[0].startswith("info bypass.carriers: nobody that doctor sees -> context out")


def test_a_second_context_of_a_name_is_never_used():
    """FreeSWITCH takes the first; what stands in the second is no hole, and that it is there is said."""
    hole = extension("out", "^9(.*)$", "bridge", "sofia/gateway/carrier-a/$1")
    found = wrong(AREA, facts(dialplan=f'{agents()}<context name="agents">{hole}</context>'))
    assert told(found, "warning bypass.unseen", "second context agents")
    assert not [line for line in found if line.startswith("critical")]


def test_a_dialled_number_that_cannot_match_goes_nowhere():
    """A transfer to one extension does not reach another of the same context."""
    ways = f'<context name="out">{extension("only 9", "^9(.*)$", "bridge", "sofia/gateway/carrier-a/$1")}</context>'
    found = wrong(AREA, facts(dialplan=agents(extension("t", "^1$", "transfer", "100 XML out")) + ways))
    assert not told(found, "critical")


def test_transfers_in_a_circle_end():
    """Two extensions that transfer to each other."""
    ways = [extension("a", "^1$", "transfer", "2 XML agents"), extension("b", "^2$", "transfer", "1 XML agents")]
    assert wrong(AREA, facts(dialplan=agents(*ways))) == []


def test_an_unknown_context_falls_back_to_global():
    """mod_dialplan_xml takes the context `global` when there is none of the name."""
    ways = f'<context name="global">{extension("all", "^(.*)$", "bridge", "sofia/gateway/carrier-a/$1")}</context>'
    found = wrong(AREA, facts(dialplan=agents(extension("t", "^7(.*)$", "transfer", "$1 XML nowhere")) + ways))
    assert told(found, "critical", "context global -> extension all")


def test_users_contexts_and_carriers_context_are_walked():
    """A hole in the context of one user, or in that of calls from carriers, is as bad."""
    variables = '<variables><variable name="user_context" value="out"/></variables>'
    directory = f'<domain name="x"><user id="7">{variables}</user></domain>'
    assert told(wrong(AREA, facts(dialplan=agents() + OUT, directory=directory)), "critical", "user 7 -> context out")
    assert told(
        wrong(AREA, facts(dialplan=agents() + OUT, external={"context": "out"})),
        "critical",
        "profile external -> context out",
    )


def test_menus_queues_and_keys_of_conferences_are_walked():
    """What stands in other configurations dials as well."""
    more = """<configuration name="ivr.conf"><menus><menu name="main">
      <entry action="menu-sub" digits="1" param="deep"/></menu><menu name="deep">
      <entry action="menu-exec-app" digits="/^(.*)$/" param="bridge sofia/gateway/carrier-a/$1"/></menu></menus>
      </configuration><configuration name="conference.conf">
      <control action="execute_application" data="bridge sofia/gateway/carrier-a/${x}"/>
      </configuration><configuration name="callcenter.conf">
      <agent name="a" contact="[x=y]sofia/gateway/carrier-a/${x}"/></configuration>
      <configuration name="fifo.conf"><member>sofia/gateway/carrier-a/${x}</member></configuration>"""
    found = wrong(AREA, facts(dialplan=agents(extension("i", "^1$", "ivr", "main")), more=more))
    for words in ("menu main -> menu deep", "a key in a conference", "callcenter agent a", "a member of a fifo"):
        assert told(found, "critical", words), words


def test_a_dialplan_without_the_shield_is_critical():
    """Nothing is shielded when no worker is reached."""
    plain = f'<context name="agents">{CLEAN["colleagues"]}</context>{CARRIERS}'
    assert told(wrong(AREA, facts(dialplan=plain)), "critical bypass.shielded")
    unreached = f'<context name="agents"></context><context name="other">{SHIELD}</context>{CARRIERS}'
    assert told(wrong(AREA, facts(dialplan=unreached)), "critical bypass.shielded")


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        (
            (
                '<domain name="x"><params><param name="dial-string" value="${sofia_contact(*/1)}"/></params>'
                '<user id="1"><params><param name="password" value="p"/></params></user></domain>'
            ),
            "bypass.redirects: a phone of x",
        ),
        (
            (
                '<domain name="x"><user id="1"><params><param name="password" value="p"/><param name="dial-string" '
                'value="{outbound_redirect_fatal=true}sofia/gateway/carrier-a/13800138000"/></params></user></domain>'
            ),
            "bypass.dial_strings: a call to 1@x goes to sofia/gateway/carrier-a/…",
        ),
    ],
)
def test_users_that_lead_outside_are_found(directory, words):
    """A phone whose 302 is followed, and a user that is a carrier."""
    assert told(wrong(AREA, facts(directory=directory)), "critical", words)


def test_phones_that_register_any_address_are_found():
    """Unless calls go where a phone registered from; that is said at the domain, the group or the user."""
    user = '<user id="1"><params><param name="password" value="p"/></params>{}</user>'
    forced = '<variables><variable name="sip-force-contact" value="NDLB-connectile-dysfunction"/></variables>'
    for inside, wanted in (("", True), (forced, False), (forced.replace("NDLB-", "x-"), True)):
        found = wrong(AREA, facts(directory=f'<domain name="x">{user.format(inside)}</domain>'))
        assert told(found, "critical bypass.contacts: a phone of x") is wanted


def test_a_users_login_without_a_phone_is_no_redirecting_phone():
    """A login of the event socket cannot register."""
    directory = """<domain name="x"><user id="w"><params><param name="esl-password" value="p"/>
      <param name="allow-empty-password" value="false"/></params></user></domain>"""
    found = wrong(AREA, facts(directory=directory))
    assert not told(found, "bypass.redirects")
    assert not told(found, "bypass.contacts")


@pytest.mark.parametrize(
    ("module", "more"),
    [
        (
            "mod_xml_curl",
            (
                '<configuration name="xml_curl.conf"><bindings><binding><param name="gateway-url" value="http://x" '
                'bindings="dialplan"/></binding></bindings></configuration>'
            ),
        ),
        (
            "mod_lua",
            (
                '<configuration name="lua.conf"><settings>'
                '<param name="xml-handler-bindings" value="dialplan"/></settings>'
                "</configuration>"
            ),
        ),
    ],
)
def test_a_dialplan_made_for_each_call_cannot_be_read(module, more):
    """A web server or a script behind the dialplan is said."""
    gathered = facts(more=more)
    gathered = facts(more=more, modules=gathered.modules | {module})
    assert told(wrong(AREA, gathered), "warning bypass.dynamic", module)


def test_a_profile_with_another_dialplan_is_said():
    """LUA, inline and others cannot be read."""
    assert told(wrong(AREA, facts(internal={"dialplan": "LUA"})), "warning bypass.dynamic", "internal")


def test_no_number_and_no_password_of_the_dialplan_is_shown():
    """Dial strings are shown without their variables and with numbers hidden."""
    hole = extension("out", "^1$", "bridge", "{sip_auth_password=hush}sofia/gateway/carrier-a/13800138042")
    found = "".join(wrong(AREA, facts(dialplan=agents(hole))))
    assert "hush" not in found
    assert "13800138042" not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("socket 192.0.2.7:8084 async", "socket 192.0.2.7:8084 async"),
        ("a 138 0013 8042 b", "a … b"),
        ("1380013.8042", "…"),
        ("{x=y}<a=b>sofia/gateway/g/$1", "sofia/gateway/g/$1"),
    ],
)
def test_what_is_shown_of_an_argument(text, expected):
    """Addresses yes, numbers and variables no."""
    assert shown(text) == expected


def test_dial_strings_are_taken_apart_outside_of_brackets_only():
    """A comma inside braces separates variables, not legs."""
    found = list(legs("{a=b,c=d}user/1@x,[e=f,g=h]sofia/gateway/g/$1|error/busy"))
    assert [(leg.kind, leg.target) for leg in found] == [("phone", ""), ("gateway", "g"), ("quiet", "")]


@pytest.mark.parametrize(
    ("bound", "number", "holds"),
    [
        (Bound(captures=True), "$1", True),
        (Bound(dialled=True), "$1", False),
        (Bound(dialled=True), "${destination_number}", True),
        (Bound(captures=True), "${destination_number}", False),
        (Bound(dialled=True, captures=True), "${other}", False),
        (Bound(captures=True), "1234567$1", False),
    ],
)
def test_only_what_was_bounded_is_short(bound, number, holds):
    """Captures and the dialled number are bounded apart."""
    assert bound.holds(number) is holds
