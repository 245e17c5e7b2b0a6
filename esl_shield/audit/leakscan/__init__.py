"""The search for any number of the vault in what was written: files, folders, archives, captures, streams.

Invariants: a finding names the place, the spelling, the tenant and the token, never the number or the text around it;
a file that cannot be read to its end is said to be so, because a search that skipped it proves nothing; memory does not
grow with what is searched. What a number is, and whether the vault has it, is asked of a ``Finder``: nothing here holds
a key.
"""
