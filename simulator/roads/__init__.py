"""Road maps on the host, in NumPy and without JAX: schema, OpenDRIVE, procedural towns, drivable area, query grids."""
