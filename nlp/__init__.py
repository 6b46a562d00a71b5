"""Text: tokenizers, vocabularies, word vectors, models and decoding."""

from .ids import one_hot
from .readers import Stream, python_documentation, read_columns, read_lines, read_pairs, read_text, read_tsv
from .vocabulary import Vocabulary

__all__ = [
    "Stream",
    "Vocabulary",
    "one_hot",
    "python_documentation",
    "read_columns",
    "read_lines",
    "read_pairs",
    "read_text",
    "read_tsv",
]
