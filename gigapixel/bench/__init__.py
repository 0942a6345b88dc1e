"""How fast the rooms are: `gigapixel bench`, one file per workload."""
