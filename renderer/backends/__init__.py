"""Rendering backends: the reference, which defines the image, and three that must agree with it."""
