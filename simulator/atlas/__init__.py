"""Road maps on the device: arrays of several maps and queries against them, in JAX."""
