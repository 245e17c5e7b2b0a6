"""What dialplan applications can reach, by name."""

from __future__ import annotations

import re

# The argument is a dial string.
DIAL = frozenset({"bridge", "att_xfer", "conference_set_auto_outcall", "originate"})
# The argument is EXTENSION [DIALPLAN [CONTEXT]].
JUMP = frozenset({"transfer", "execute_extension"})
# A program of the site's own, which may do anything.
PROGRAMS = frozenset({
    "lua", "javascript", "jsapi", "js", "v8", "python", "python3", "perl", "managed", "java", "httapi", "erlang",
    "erlang_outbound", "erlang_sendmsg", "system", "bgsystem", "spawn", "basic", "yaml",
})  # fmt: skip
# The phone is told to call elsewhere itself.
SENDS_AWAY = frozenset({"deflect", "redirect"})
ASSIGNS = frozenset({"set", "multiset", "export", "set_global", "bridge_export", "set_profile_var", "push", "unshift"})
# Neither calls anybody nor goes anywhere by itself. Those that pick a route only set variables.
HARMLESS = frozenset({
    "",
    "acknowledge_call", "agc", "answer", "av", "avmd_start", "avmd_stop", "blacklist", "block_dtmf", "break",
    "broadcast", "callcenter_track", "capture", "capture_text", "check_acl", "cidlookup", "clear_digit_action",
    "clear_speech_cache", "cluechoo", "cng_plc", "curl", "curl_sendfile", "db", "debug_media", "deduplicate_dtmf",
    "delay_echo", "detect_audio", "detect_silence", "detect_speech", "digit_action_set_realm", "displace_session",
    "early_hangup", "easyroute", "eavesdrop", "echo", "enable_heartbeat", "enable_keepalive", "endless_playback",
    "enum", "esf_page_group", "eval", "event", "fax_detect", "fifo_track_call", "filter_codecs", "flush_dtmf",
    "gentones", "group", "hangup", "hash", "hiredis_raw", "hold", "info", "intercept", "jitterbuffer", "lcr", "limit",
    "limit_hash", "log", "loop_playback", "media_reset", "memcache", "mkdir", "mod_amqp", "msrp_recv_file",
    "msrp_send_file", "multiunset", "mutex", "native_eavesdrop", "nibblebill", "novideo", "oreka_record", "page",
    "park", "park_state", "phrase", "pickup", "play_and_detect_speech", "play_and_get_digits", "play_fsv", "play_yuv",
    "playback", "pre_answer", "preprocess", "presence", "privacy", "queue_dtmf", "read", "record", "record_fsv",
    "record_session", "record_session_mask", "record_session_pause", "record_session_resume", "record_session_unmask",
    "recovery_refresh", "remove_bugs", "rename", "reply", "respond", "reuse_caller_profile", "ring_ready", "rxfax",
    "say", "sched_cancel", "sched_hangup", "sched_heartbeat", "send_display", "send_dtmf", "send_info",
    "session_loglevel", "set_audio_level", "set_media_stats", "set_mute", "set_name", "set_user", "set_zombie_exec",
    "sleep", "sofia_sla", "sofia_stir_shaken_vs", "soft_hold", "sound_test", "spandsp_detect_tdd",
    "spandsp_inject_tdd", "spandsp_send_tdd", "spandsp_start_dtmf", "spandsp_start_fax_detect", "spandsp_stop_dtmf",
    "spandsp_stop_fax_detect", "speak", "start_dtmf", "start_dtmf_generate", "start_tone_detect", "stop",
    "stop_displace_session", "stop_dtmf", "stop_dtmf_generate", "stop_record_session", "stop_tone_detect",
    "stop_video_write_overlay", "stopfax", "strftime", "t38_gateway", "three_way", "tone_detect", "transfer_vars",
    "txfax", "unbind_meta_app", "unblock_dtmf", "unhold", "unset", "vad_test", "valet_park", "verbose_events",
    "video_decode", "video_refresh", "video_write_overlay", "voicemail", "wait_for_answer", "wait_for_silence",
    "wait_for_video_ready",
})  # fmt: skip
# Variables whose value is an application to run later, with where the argument begins.
RUNS_LATER = re.compile(
    r"(?:nolocal:)?(execute_on_[a-z_0-9]+|exec_after_bridge_app|bridge_pre_execute_[ab]leg_app|bridge_pre_execute_app"
    r"|group_confirm_exec|execute_on_originate)"
)
# Variables whose value is an API command.
CALLS_API = re.compile(
    r"(?:nolocal:)?(api_on_[a-z_]+|api_hangup_hook|api_after_bridge|api_before_bridge|api_reporting_hook)"
)
# Variables that send the call to another extension or context.
JUMPS_LATER = re.compile(
    r"(?:nolocal:)?(transfer_after_bridge|transfer_fallback_extension|park_after_bridge_extension)"
)
CONTEXT_LATER = re.compile(r"(?:nolocal:)?(force_transfer_context|sip_redirect_context|transfer_context)")
# API commands, also inside ${...}, that call somebody, and those that run a program.
API_DIALS = re.compile(
    r"\b(originate|bgapi|uuid_transfer|uuid_dual_transfer|sched_transfer|conference|callcenter_config|sched_api|expand)\b"
)
API_PROGRAMS = re.compile(r"\b(lua|luarun|jsrun|jsapi|python|pyrun|perl|perlrun|managed|system|bg_system|spawn)\b")
EXPANSION = re.compile(r"\$\{([a-z_0-9]+)\(")
EXPANSION_DIALS = frozenset({
    "originate", "bgapi", "uuid_transfer", "uuid_dual_transfer", "uuid_bridge", "sched_transfer", "sched_api", "expand",
    "conference",
})  # fmt: skip
EXPANSION_PROGRAMS = frozenset({
    "lua", "luarun", "jsrun", "jsapi", "python", "pyrun", "perl", "perlrun", "managed", "system", "bg_system", "spawn",
})  # fmt: skip
