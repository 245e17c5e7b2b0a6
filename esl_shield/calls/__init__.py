"""One shielded call, from handoff to CDR.

Read ``states`` first (the one table of states and causes), then ``script`` (who is it, may it), ``following`` (an
authorised call to its end), then what they lean on: ``handoff``, ``permits``, ``routing``, ``dialstring``, ``signs``,
``records``. A call that comes in is read by ``arrivals`` and followed by ``inbound``. Nothing here can decrypt.
"""
