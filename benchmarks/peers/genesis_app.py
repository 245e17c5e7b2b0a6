"""The hand-off with Genesis, on asyncio: one argument, the port to listen on."""

import asyncio
import logging
import sys

from genesis import Outbound


async def handler(session):
    """Read what was dialled, bridge, stay until the call is over."""
    over = asyncio.Event()
    session.on("CHANNEL_HANGUP_COMPLETE", lambda _: over.set())
    dialled = session.context["Caller-Destination-Number"]
    await session.sendmsg("execute", "bridge", f"sofia/gateway/carrier/{dialled}")
    await over.wait()


logging.disable(logging.WARNING)
asyncio.run(Outbound(handler, "127.0.0.1", int(sys.argv[1])).start())
