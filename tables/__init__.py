"""What is remembered: windows, episodes and checkpoints, as columns in event time."""
