"""Models of text, for the four mappings of sequences."""

from .captioner import Captioner
from .classifier import SequenceClassifier
from .decoder import Decoder
from .language_model import LanguageModel
from .model import Model
from .seq2seq import Seq2Seq
from .tagger import SequenceTagger, Spelled, spell

__all__ = [
    "Captioner",
    "Decoder",
    "LanguageModel",
    "Model",
    "Seq2Seq",
    "SequenceClassifier",
    "SequenceTagger",
    "Spelled",
    "spell",
]
