"""Word vectors: questions about them, tests of their quality, pictures, files."""

from .evaluation import AnalogyScores, PairScores
from .wordvectors import WordVectors

__all__ = ["AnalogyScores", "PairScores", "WordVectors"]
