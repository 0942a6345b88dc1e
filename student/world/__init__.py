"""Worlds with camera observations: their configuration, the worlds themselves, and how they are driven."""
