"""How a token is turned into a number; the token's prefix says by which method."""
