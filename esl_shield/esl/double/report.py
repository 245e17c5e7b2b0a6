"""When and how long: the times and durations FreeSWITCH sets on a leg before CHANNEL_HANGUP_COMPLETE.

Source: switch_channel.c ``switch_channel_set_timestamps``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esl_shield.esl.double.channel import Channel


def set_times(channel: Channel) -> None:
    """Set the variables that say when each thing happened."""
    created, answered, bridged = (channel.times[f"Channel-{name}"] for name in ("Created", "Answered", "Bridged"))
    progress, media = channel.times["Channel-Progress"], channel.times["Channel-Progress-Media"]
    ended = channel.times["Channel-Hangup"]
    stamps = (("start", created), ("profile_start", created), ("answer", answered), ("bridge", bridged))
    for name, us in (*stamps, ("progress", progress), ("progress_media", media), ("end", ended)):
        if us:
            channel.set(f"{name}_stamp", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(us // 1_000_000)))
    for name, us in (*stamps, ("last_hold", 0)):
        _epoch(channel, name, us)
    for name in ("hold_accum_seconds", "hold_accum_usec", "hold_accum_ms"):
        channel.set(name, 0)
    for name, us in (("resurrect", 0), ("progress", progress), ("progress_media", media), ("end", ended)):
        _epoch(channel, name, us)


def _epoch(channel: Channel, name: str, us: int) -> None:
    channel.set(f"{name}_epoch", us // 1_000_000)
    channel.set(f"{name}_uepoch", us)


def set_durations(channel: Channel) -> None:
    """Set the variables that say how long each phase took, in seconds, milliseconds and microseconds."""
    created, answered, bridged = (channel.times[f"Channel-{name}"] for name in ("Created", "Answered", "Bridged"))
    ended = channel.times["Channel-Hangup"]
    media = channel.times["Channel-Progress-Media"]
    spans = (
        ("duration", "duration", created, ended),
        ("billsec", "bill", answered, ended),
        ("progresssec", "progress", created, channel.times["Channel-Progress"]),
        ("answersec", "answer", created, answered),
        ("waitsec", "wait", created, bridged),
        ("progress_mediasec", "progress_media", created, media),
        ("flow_billsec", "flow_bill", created if answered else 0, ended),
    )
    for unit, divisor in (("s", 1_000_000), ("m", 1000), ("u", 1)):
        for seconds_name, stem, start, end in spans:
            value = end // divisor - start // divisor if start and end else 0
            channel.set(seconds_name if unit == "s" else _finer(stem, unit), value)


def _finer(stem: str, unit: str) -> str:
    return f"{unit}{stem}" if stem == "duration" else f"{stem}{unit}sec"
