"""From the simulator to the student: tensors that share memory with JAX, ground meshes, and renderer scenes.

Imports nothing, so that `student.bridge.ground` can be used without loading JAX.
"""
