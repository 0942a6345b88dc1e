"""Probe scenarios: small scripted situations with a known right answer, driven many times by a policy."""
