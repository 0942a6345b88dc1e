"""The `gigapixel` command: wires the rooms together and owns no mathematics."""
