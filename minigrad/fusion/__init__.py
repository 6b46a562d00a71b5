"""Fusion: an element-wise function as one node and one kernel each way."""
