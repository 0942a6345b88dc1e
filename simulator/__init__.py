"""The driving simulator: road maps, worlds and their physics, one world at a time, in JAX."""
