"""Action models behind one interface, and how a logged track becomes actions."""
