"""Layers without time: linear maps, embeddings, normalization, activations, dropout, attention."""
