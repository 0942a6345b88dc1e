"""One file per probe: a hand-made situation and what passing it means."""
