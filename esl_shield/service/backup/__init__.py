"""Backups by pgBackRest: whether they are there, and whether a restore of them gives back a vault."""
