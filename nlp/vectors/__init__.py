"""Word vectors: queries, quality tests, pictures, files."""

from .evaluation import AnalogyScores, PairScores
from .wordvectors import WordVectors

__all__ = ["AnalogyScores", "PairScores", "WordVectors"]
