"""Models of text, for the four mappings of sequences."""

from .language_model import LanguageModel
from .model import Model

__all__ = ["LanguageModel", "Model"]
