"""Text: tokenizers, vocabularies, word vectors, models and decoding."""

from .batching import Batches, StreamBatches
from .decoding import (
    Decoded,
    Hypothesis,
    Start,
    Step,
    beam_search,
    ctc_beam_search,
    ctc_greedy,
    greedy,
    rescore,
    sample,
)
from .ids import one_hot
from .metrics import (
    Span,
    SpanScores,
    accuracy,
    bleu,
    convert_tags,
    perplexity,
    span_f1,
    spans,
    tag_constraints,
    tags_of,
)
from .models import Captioner, LanguageModel, Seq2Seq, SequenceClassifier, SequenceTagger, Spelled, spell
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
    "SequenceClassifier",
    "SequenceTagger",
    "Span",
    "SpanScores",
    "Spelled",
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
    "accuracy",
    "beam_search",
    "bleu",
    "collate",
    "convert_tags",
    "ctc_beam_search",
    "ctc_greedy",
    "greedy",
    "one_hot",
    "pad",
    "perplexity",
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
    "span_f1",
    "spans",
    "spell",
    "tag_constraints",
    "tags_of",
]
