"""Infractions and driving quality, defined once: watched while stepping, summarised at the end."""
