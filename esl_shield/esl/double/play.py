"""One call from the dialplan's first action to its last: ``sched_hangup``, ``socket A|B``, ``respond``.

A stand-by worker is tried only when the one before it refuses the TCP connection; a connection that was taken and then
closed, or left silent, is not given to anybody else (mod_event_socket.c ``socket_function``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
from gevent import socket

from esl_shield.esl.double.listener import Listener
from esl_shield.esl.double.park import Parked
from esl_shield.esl.double.redeem import Redeem, refuse_all
from esl_shield.esl.double.scenario import Call, Result

if TYPE_CHECKING:
    from collections.abc import Sequence


def play(call: Call, *workers: tuple[str, int], redeem: Redeem = refuse_all) -> Result:
    """Play one call against the first of the workers that takes the connection; returns when the leg has ended.

    A call still up after ``call.max_s`` is cut off: its result has no final status. Raises nothing for what a worker
    does.
    """
    result = Result()
    socket_argument = "|".join(f"{host}:{port}" for host, port in workers) + " async full"
    parked = Parked(call, socket_argument, result, redeem)
    result.uuid = parked.channel.uuid
    threads: list[gevent.Greenlet[..., None]] = []
    try:
        with gevent.Timeout(call.max_s):
            _run_dialplan(parked, workers, threads)
    except gevent.Timeout:
        pass
    finally:
        parked.stop()
        if parked.listener is not None:
            parked.listener.close()
        gevent.killall(threads)
    return result


def _run_dialplan(
    parked: Parked, workers: Sequence[tuple[str, int]], threads: list[gevent.Greenlet[..., None]]
) -> None:
    call = parked.call
    if call.sched_hangup_s is not None:
        parked.sched_hangup(call.sched_hangup_s)
    if call.cancels_when == "parked":
        parked.agent_may_cancel()
    sock = _connect(call, workers, parked.result)
    if sock is None:
        parked.respond_in_dialplan(call.dialplan_refusal)
        return
    parked.listener = Listener(sock, parked)
    threads.append(gevent.spawn(parked.listener.run))
    parked.run()
    parked.listener.ended.wait()


def _connect(call: Call, workers: Sequence[tuple[str, int]], result: Result) -> socket.socket | None:
    for position, address in enumerate(workers):
        try:
            sock = socket.create_connection(address, timeout=call.connect_timeout_s)
        except OSError:
            continue
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        result.connected_to = position
        return sock
    return None
