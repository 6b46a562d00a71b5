"""Machine code, generated at run time by llvmlite (Numba's code generator, in the extra `fast`).

machine   from a source to a function that Python can call
cache     object code on disk
threads   a thread pool that shares the parts of a piece of work
panels    matrices in the layout that products read
blocks    the innermost part of a product
products  matrix products
single    one row times a weight
sums      sums of rows
"""
