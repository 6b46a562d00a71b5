"""CuPy's arrays: what NumPy's protocols do not reach, and what is quicker by itself.

arrays    the backend: devices, and moving between them
graphs    what a function launches, as a CUDA graph
products  products of matrices, by cuBLAS, also in a graph
rows      sums of rows by index, in a fixed order
"""
