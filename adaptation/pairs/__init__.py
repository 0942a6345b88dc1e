"""Pairs: a real image and the rendering of the same scene through the same camera."""
