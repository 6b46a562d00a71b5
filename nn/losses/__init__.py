"""Losses: element by element, over classes, over a whole vocabulary, over a sample of it."""
