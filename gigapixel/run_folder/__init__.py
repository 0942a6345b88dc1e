"""What all runs and commands write in the same way: atomic files, metadata, tables, events, figures, exit codes.

A leaf package: it imports no room, neither JAX, torch nor Lightning, and every room may import it.
"""
