"""Sweeps: one coefficient of the reward that a policy is told, varied, and what it does to how the policy drives."""
