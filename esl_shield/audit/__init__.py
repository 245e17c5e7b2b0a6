"""What was done with tokens, and the search for numbers where none may be."""
