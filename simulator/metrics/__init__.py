"""Infractions and driving-quality metrics: detected in every step, summarised at the end of episodes."""
