"""Losses: element-wise, of distributions, pairs and classes, over a vocabulary or a sample of it, and CTC."""
