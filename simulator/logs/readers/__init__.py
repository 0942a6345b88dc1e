"""Readers of traffic logs: one file per source, the formats that sources share, and the building of a scene."""
