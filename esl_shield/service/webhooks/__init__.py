"""Webhooks: who is told of what (``admin``), how it is signed, posted, and tried again.

Arrows: ``dispatcher -> posting, signing``; ``admin`` and the others know nothing of each other.
"""
