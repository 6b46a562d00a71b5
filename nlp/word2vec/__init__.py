"""Word2Vec: the model, and its objective as a graph."""

from .model import Word2Vec
from .objective import WindowLoss

__all__ = ["WindowLoss", "Word2Vec"]
