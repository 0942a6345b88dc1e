"""Probe scenarios: small hand-made situations with a known right answer, driven many times by a policy."""
