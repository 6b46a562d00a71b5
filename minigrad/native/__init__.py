"""Machine code, made at run time by llvmlite (Numba's code generator, in the extra `fast`).

machine   a source as a function that Python calls
cache     object code on disk
threads   a pool of threads that share the parts of a piece of work
panels    a matrix as products read it
blocks    the innermost part of a product
products  products of matrices
single    one row times a weight
sums      sums of rows
"""
