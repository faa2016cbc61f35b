"""What everything else in this package may import: what settings look like."""
