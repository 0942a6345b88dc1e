"""Trajectories judged by what would happen: each is followed through traffic that is known, and gets sub-scores."""
