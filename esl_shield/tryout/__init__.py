"""Trying the shield on one machine: a whole site in a temporary folder, and the demo that drives it."""
