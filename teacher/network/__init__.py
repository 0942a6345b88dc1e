"""The actor-critic network: encoders of sets, trunk, heads, and their configuration."""
