"""The variables an agent's INVITE leaves on its leg, and those media adds, as mod_sofia sets them.

Recorded with FreeSWITCH 1.11.1, with and without ``inbound-late-negotiation``.
"""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING

from esl_shield.esl.double.stamps import stamp

if TYPE_CHECKING:
    from esl_shield.esl.double.channel import Channel
    from esl_shield.esl.double.scenario import Agent, Call

_SESSION_ID = itertools.count(1)
_CODECS = "CORE_PCM_MODULE.PCMA@8000h@20i@64000b,CORE_PCM_MODULE.PCMU@8000h@20i@64000b"
_IN_COUNTS = ("raw_bytes", "media_bytes", "packet_count", "media_packet_count", "skip_packet_count")
OTHER_MEDIA = {"video_media_flow": "inactive", "text_media_flow": "inactive"}
_JITTER = ("min_variance", "max_variance", "loss_rate", "burst_rate")


def variables(channel: Channel, call: Call) -> dict[str, str]:
    """Return the variables of a leg that has just run into ``socket``."""
    agent, tag = call.agent, uuid.uuid4().hex[:10]
    return {
        **_from(channel, agent),
        **_network(channel, agent, call),
        **(_authorized(agent) if agent.authorized else {}),
        **_dialog(agent, call.dialled, tag),
        **{f"sip_h_{name}": value for name, value in agent.headers.items() if name.upper().startswith(("X-", "P-"))},
        "max_forwards": "70",
        **_media(channel, call),
        "call_uuid": channel.uuid,
    }


def negotiated(agent: Agent) -> dict[str, str]:
    """Return what is set once a codec is agreed on with the phone."""
    return {
        "remote_video_media_flow": "inactive",
        "remote_text_media_flow": "inactive",
        "remote_audio_media_flow": "sendrecv",
        "audio_media_flow": "sendrecv",
        "remote_media_ip": agent.host,
        "remote_media_port": "41000",
        "rtp_audio_recv_pt": "8",
        "rtp_use_codec_name": "PCMA",
        "rtp_use_codec_rate": "8000",
        "rtp_use_codec_ptime": "20",
        "rtp_use_codec_channels": "1",
        "rtp_last_audio_codec_string": "PCMA@8000h@20i@1c",
        "read_codec": "PCMA",
        "original_read_codec": "PCMA",
        "read_rate": "8000",
        "original_read_rate": "8000",
        "write_codec": "PCMA",
        "write_rate": "8000",
        "dtmf_type": "info",
    }


def local_media(agent: Agent) -> dict[str, str]:
    """Return what is set once FreeSWITCH sends media to the phone."""
    return {
        "switch_m_sdp": _sdp(agent, "carrier", 40000),
        "local_media_ip": "127.0.0.1",
        "local_media_port": "30000",
        "advertised_media_ip": "127.0.0.1",
        "rtp_use_timer_name": "soft",
        "rtp_use_pt": "8",
        "rtp_use_ssrc": "1",
    }


def local_sdp(agent: Agent) -> str:
    """Return what FreeSWITCH offers the phone."""
    return _sdp(agent, "FreeSWITCH", 30000)


def media_report() -> dict[str, str]:
    """Return the figures of a conversation in which nobody spoke."""
    counts = (*_IN_COUNTS, "jitter_packet_count", "dtmf_packet_count", "cng_packet_count", "flush_packet_count")
    figures = {f"in_{name}": "0" for name in (*counts, "largest_jb_size")}
    figures |= {f"in_jitter_{name}": "0.00" for name in _JITTER}
    figures |= {"in_mean_interval": "0.00", "in_flaw_total": "0", "in_quality_percentage": "100.00", "in_mos": "4.50"}
    figures |= {f"out_{name}": "0" for name in (*_IN_COUNTS, "dtmf_packet_count", "cng_packet_count")}
    figures |= {"rtcp_packet_count": "0", "rtcp_octet_count": "0"}
    return {f"rtp_audio_{name}": value for name, value in figures.items()}


def _from(channel: Channel, agent: Agent) -> dict[str, str]:
    return {
        "direction": "inbound",
        "uuid": channel.uuid,
        "session_id": str(next(_SESSION_ID)),
        "sip_from_user": agent.username,
        **({"sip_from_port": str(agent.uri_port)} if agent.uri_port else {}),
        "sip_from_uri": agent.address,
        "sip_from_host": agent.domain,
    }


def _network(channel: Channel, agent: Agent, call: Call) -> dict[str, str]:
    return {
        "video_media_flow": "disabled",
        **({"audio_media_flow": "disabled"} if call.late_negotiation else {}),
        "text_media_flow": "disabled",
        "channel_name": channel.name,
        "sip_call_id": f"{uuid.uuid4()}@{agent.host}",
        "sip_local_network_addr": "127.0.0.1",
        "sip_network_ip": agent.host,
        "sip_network_port": str(agent.port),
        "sip_invite_stamp": str(channel.times["Channel-Created"]),
        "sip_received_ip": agent.host,
        "sip_received_port": str(agent.port),
        "sip_via_protocol": "udp",
    }


def _authorized(agent: Agent) -> dict[str, str]:
    looked_up = dict(stamp("REQUEST_PARAMS"))
    looked_up |= {"Event-Calling-File": "sofia.c", "Event-Calling-Function": "sofia_handle_sip_i_invite"}
    return {
        "sip_authorized": "true",
        **looked_up,
        "Event-Calling-Line-Number": "10735",
        "sip_number_alias": agent.username,
        "sip_auth_username": agent.username,
        "sip_auth_realm": agent.domain,
        "number_alias": agent.username,
        "requested_user_name": agent.username,
        "requested_domain_name": agent.domain,
        "user_context": "agents",
        "user_name": agent.username,
        "domain_name": agent.domain,
    }


def _dialog(agent: Agent, dialled: str, tag: str) -> dict[str, str]:
    host, port = agent.host, str(agent.port)
    target = f"{dialled}@{agent.domain}" + (":5060" if agent.uri_port else "")
    target_port = "5060" if agent.uri_port else ""
    named = {
        "sip_from_user_stripped": agent.username,
        "sip_from_tag": tag,
        "sofia_profile_name": "internal",
        "sofia_profile_url": f"sip:mod_sofia@{host}:5060",
        "recovery_profile_name": "internal",
        "sip_full_via": f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK-{tag}",
        "sip_from_display": agent.display,
        "sip_full_from": f'"{agent.display}" <sip:{agent.address}>;tag={tag}',
        "sip_full_to": f"<sip:{target}>",
        "sip_allow": "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO",
        "sip_req_user": dialled,
        "sip_req_port": target_port,
        "sip_req_uri": target,
        "sip_req_host": agent.domain,
        "sip_to_user": dialled,
        "sip_to_port": target_port,
        "sip_to_uri": target,
        "sip_to_host": agent.domain,
        "sip_contact_user": agent.username,
        "sip_contact_port": port,
        "sip_contact_uri": f"{agent.username}@{host}:{port}",
        "sip_contact_host": host,
        "sip_via_host": host,
        "sip_via_port": port,
    }
    return {name: value for name, value in named.items() if value}


def _media(channel: Channel, call: Call) -> dict[str, str]:
    agent = call.agent
    offered = {
        "rtp_use_codec_string": "PCMA,PCMU",
        "switch_r_sdp": _sdp(agent, "user1", 41000),
        "ep_codec_string": _CODECS,
    }
    if call.late_negotiation:
        return {**offered, "endpoint_disposition": "DELAYED NEGOTIATION"}
    early = {
        "rtp_audio_recv_pt": "8",
        "presence_id": f"{agent.username}@{agent.domain}",
        "endpoint_disposition": "RECEIVED",
    }
    return {**offered, **negotiated(agent), **early, "DP_MATCH": f"ARRAY::{channel.dialled}|:{channel.dialled}"}


def _sdp(agent: Agent, origin: str, port: int) -> str:
    lines = ("v=0", f"o={origin} 1 1 IN IP4 {agent.host}", "s=-", f"c=IN IP4 {agent.host}", "t=0 0")
    return "".join(f"{line}\r\n" for line in (*lines, f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000"))
