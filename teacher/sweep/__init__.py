"""Sweeps: how a policy's behaviour responds to one trait of its reward conditioning."""
