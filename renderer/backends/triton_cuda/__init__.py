"""The fast GPU backend: Triton kernels; Triton's interpreter runs them on the CPU in tests."""
