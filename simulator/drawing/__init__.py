"""Top-down images of road maps, agents and traffic lights, drawn with Pillow and without JAX."""
