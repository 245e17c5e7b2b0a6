"""The bounded HTTP of our processes: messages without I/O, and the listener that carries them."""
