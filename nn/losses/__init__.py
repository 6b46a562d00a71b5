"""Losses: of numbers, distributions, pairs, classes, over a vocabulary or a sample of it, and of labels (CTC)."""
