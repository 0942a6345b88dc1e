"""The policy network: image encoders, planning head, and both as one module."""
