"""Pairs of a real picture and the rendering of the same moment."""
