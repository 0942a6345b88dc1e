"""Situations that random traffic rarely contains, placed into the first slots of spawned worlds."""
