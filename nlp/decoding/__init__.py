"""Decoding: from a model's steps to sequences."""

from .beam import beam_search
from .choosing import greedy, rescore, sample
from .ctc import ctc_beam_search, ctc_greedy
from .pictures import BeamTree
from .protocol import Start, Step
from .results import Decoded, Hypothesis

__all__ = [
    "BeamTree",
    "Decoded",
    "Hypothesis",
    "Start",
    "Step",
    "beam_search",
    "ctc_beam_search",
    "ctc_greedy",
    "greedy",
    "rescore",
    "sample",
]
