"""The command line: one file per command group; commands parse and print, the rooms below do the work."""
