"""One file per probe: a scripted situation and its criteria for passing."""
