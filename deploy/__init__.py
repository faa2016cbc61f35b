"""How it is run: the `headrace` command, the local stack, topics and databases."""
