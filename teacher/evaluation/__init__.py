"""Closed-loop evaluation: towns, recorded scenes, long drives, other traffic, and the report."""
