"""Models of text, for the four mappings of sequences."""

from .captioner import Captioner
from .decoder import Decoder
from .language_model import LanguageModel
from .model import Model
from .seq2seq import Seq2Seq

__all__ = ["Captioner", "Decoder", "LanguageModel", "Model", "Seq2Seq"]
