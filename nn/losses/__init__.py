"""Losses: element by element, of distributions, of pairs, over classes, over a vocabulary or a sample of it, and CTC."""
