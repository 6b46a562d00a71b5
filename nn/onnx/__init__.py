"""Models as ONNX files: a model is run under observation, and each of its operations becomes a node.

In reading order: `tracing` observes a model twice, with batches of different sizes; `sizes` finds the numbers that
change with them; `values` knows the origin of each array, and `derived` finds arrays that follow from sizes and
integers; `operations` (with `shapes`) is the table from this library's operations to ONNX's, and `recurrent` has those
of layers over time; `export` combines them and writes the file.
"""
