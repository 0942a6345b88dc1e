"""World states and road maps as top-down images."""
