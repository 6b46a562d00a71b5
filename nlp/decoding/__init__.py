"""Decoding: from a model's steps to sequences."""

from .beam import beam_search
from .choosing import greedy, rescore, sample
from .protocol import Start, Step
from .results import Decoded, Hypothesis

__all__ = ["Decoded", "Hypothesis", "Start", "Step", "beam_search", "greedy", "rescore", "sample"]
