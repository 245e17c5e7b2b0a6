"""Whether a deployment is as it must be, and what to change where it is not.

A check asks one question of facts gathered beforehand, so that it can be tried with any facts; gathering only reads.
Invariants: no finding holds a secret, a telephone number or an answer's text beyond names and settings; what could not
be asked is a finding too, never silence.
"""
