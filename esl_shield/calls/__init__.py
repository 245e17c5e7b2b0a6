"""One shielded call, from handoff to CDR.

Read ``states`` first (the one table of states and causes), then ``script`` (the greenlet that takes a call through
it), then what it leans on: ``handoff``, ``routing``, ``dialstring``, ``records``. Nothing here can decrypt.
"""
