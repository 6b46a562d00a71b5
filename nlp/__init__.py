"""Text: tokenizers, vocabularies, word vectors, models and decoding."""

from .ids import one_hot
from .readers import Stream, python_documentation, read_columns, read_lines, read_pairs, read_text, read_tsv
from .tokenizers import BPETokenizer, CharTokenizer, NGramTokenizer, Tokenizer, WordTokenizer
from .vocabulary import Vocabulary

__all__ = [
    "BPETokenizer",
    "CharTokenizer",
    "NGramTokenizer",
    "Stream",
    "Tokenizer",
    "Vocabulary",
    "WordTokenizer",
    "one_hot",
    "python_documentation",
    "read_columns",
    "read_lines",
    "read_pairs",
    "read_text",
    "read_tsv",
]
