"""A number shield for call centres on FreeSWITCH.

Agents dial tokens; the customer's number appears on one wire only, the one to the carrier. The rooms, from the
bottom up: ``config`` and ``errors``; ``db`` and ``esl`` (PostgreSQL and FreeSWITCH's event socket); ``vault`` and
``audit`` (what a token stands for, what was done with it); ``calls`` and ``resolver`` (a shielded call, and the only
code that decrypts); ``service`` and ``tryout``; ``cli`` on top.
"""

__version__ = "0.1.0"
