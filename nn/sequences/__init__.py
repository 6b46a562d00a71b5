"""Layers over time: any cell in a loop, deep, in both directions, over ragged batches, in windows."""
