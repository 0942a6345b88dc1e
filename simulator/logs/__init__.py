"""Real traffic logs: readers of every source, the road around them, and packs of scenes."""
