"""Behaviour cloning of recorded drivers before self-play."""
