"""The factory: sensors of production machines."""
