"""Corrections of raw tracks and boxes, each counted by name."""
