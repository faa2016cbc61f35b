"""Devices: what they may be called, and in time all that is known of them."""
