"""`headrace demo`: the whole line on this machine, with simulated plants, for people to watch and for CI to judge."""
