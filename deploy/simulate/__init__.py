"""Seeded simulators of each domain, with their ground truth."""
