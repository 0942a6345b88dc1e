"""`gigapixel bench`: the speed of each room, one file per workload."""
