"""What operators write, and whether it can be."""
