"""Sparkplug B (Eclipse Sparkplug 3.0), as a host application that others' edge nodes do not wait for: what nodes and devices say."""
