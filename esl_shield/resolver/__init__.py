"""Permit to number: the only room that decrypts on the call path.

Invariants: a number is known here between one database answer and one reply, and in no log, error, metric or cache;
whatever is not exactly right gets one and the same refusal; what cannot be decided because something is away is never
answered with a number.
"""
