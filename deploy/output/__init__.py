"""How commands say what they found: to people on a terminal, to programs in a pipe."""
