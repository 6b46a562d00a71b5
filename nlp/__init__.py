"""Text: tokenizers, vocabularies, word vectors, models and decoding."""

from .ids import one_hot
from .vocabulary import Vocabulary

__all__ = ["Vocabulary", "one_hot"]
