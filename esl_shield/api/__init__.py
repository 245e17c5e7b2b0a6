"""The HTTP API ``/v1``: a process without keys, and the parts its sister with keys (the tokeniser) shares.

Invariants: what it takes and answers is written in ``operations`` alone, from which routes, checks and the OpenAPI
document are made; no operation answers a number; who may act for which tenant is decided in SQL by the caller's key.
"""
