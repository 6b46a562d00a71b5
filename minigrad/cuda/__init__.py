"""CuPy's arrays: operations outside NumPy's protocols, and faster ones.

arrays    the backend: devices, and transfers between them
graphs    the launches of a function as a CUDA graph
products  matrix products by cuBLAS, also in a graph
rows      sums of rows by index, in a fixed order
"""
