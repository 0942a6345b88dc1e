"""Traffic logs on the host, in NumPy and without JAX: readers, cleaning, scene packs, splits, inspection."""
