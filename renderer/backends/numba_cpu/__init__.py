"""The fast CPU backend: numba kernels, parallel over views."""
