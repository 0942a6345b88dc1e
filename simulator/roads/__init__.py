"""Road maps on the host, in NumPy and without JAX: schema, geometry, stop lines, drivable area and query grids."""
