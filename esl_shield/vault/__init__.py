"""Tokens and what they stand for.

``tokens`` is the grammar of what is dialled and knows no secret; ``numbers`` holds telephone numbers so that they do
not show themselves; ``cipher`` and ``keyring`` (keys from ``keys/``) turn them into what the database may keep;
``store`` speaks to the database's functions; ``seeding`` brings a file of numbers in and tokens out.
"""
