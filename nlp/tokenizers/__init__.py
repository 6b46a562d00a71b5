"""Tokenizers: from text to ids and back, all with the same methods."""

from .base import Tokenizer
from .bpe import BPETokenizer
from .characters import CharTokenizer
from .words import NGramTokenizer, WordTokenizer

__all__ = ["BPETokenizer", "CharTokenizer", "NGramTokenizer", "Tokenizer", "WordTokenizer"]
