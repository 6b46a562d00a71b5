"""Models as ONNX files: a model is run and watched, and each operation it did becomes a node.

In reading order: `tracing` watches a model twice, with batches of different sizes; `sizes` tells which numbers change
with them; `values` knows where each array came from, and `derived` finds what follows from sizes and integers;
`operations` (with `shapes`) is the table from this library's operations to ONNX's, and `recurrent` has those of layers
over time; `export` puts it together and writes the file.
"""
