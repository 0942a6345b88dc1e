"""Repairs of recorded tracks and boxes; every repair is named and counted."""
