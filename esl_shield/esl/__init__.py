"""FreeSWITCH's event socket: frames, one call's session, the listener, and FreeSWITCH's stand-in.

``frames`` turns bytes into messages and does no I/O; ``session`` is one parked call's socket; ``server`` admits calls
and drains; ``double`` plays FreeSWITCH's side for tests and the demo. The room imports ``config`` and ``errors`` only.
"""
