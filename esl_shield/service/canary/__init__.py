"""Canary calls: numbers of nobody, called through the live system as an agent calls, and looked for afterwards."""
