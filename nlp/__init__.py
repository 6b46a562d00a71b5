"""Text: tokenizers, vocabularies, word vectors, models and decoding."""

from .batching import Batches, StreamBatches
from .decoding import Decoded, Hypothesis, Start, Step, beam_search, greedy, rescore, sample
from .ids import one_hot
from .models import Captioner, LanguageModel, Seq2Seq
from .padding import Padded, collate, pad, sequence_mask
from .readers import Stream, python_documentation, read_columns, read_lines, read_pairs, read_text, read_tsv
from .tokenizers import BPETokenizer, CharTokenizer, NGramTokenizer, Tokenizer, WordTokenizer
from .vectors import WordVectors
from .vocabulary import Vocabulary
from .windows import LanguageModelBatches, Window, save_ids
from .word2vec import Word2Vec

__all__ = [
    "BPETokenizer",
    "Batches",
    "Captioner",
    "CharTokenizer",
    "Decoded",
    "Hypothesis",
    "LanguageModel",
    "LanguageModelBatches",
    "NGramTokenizer",
    "Padded",
    "Seq2Seq",
    "Start",
    "Step",
    "Stream",
    "StreamBatches",
    "Tokenizer",
    "Vocabulary",
    "Window",
    "Word2Vec",
    "WordTokenizer",
    "WordVectors",
    "beam_search",
    "collate",
    "greedy",
    "one_hot",
    "pad",
    "python_documentation",
    "read_columns",
    "read_lines",
    "read_pairs",
    "read_text",
    "read_tsv",
    "rescore",
    "sample",
    "save_ids",
    "sequence_mask",
]
