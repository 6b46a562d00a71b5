"""Cells: single steps of recurrent networks."""

from .cell import Cell, each_row
from .elman import ElmanCell, RNNCell
from .gru import GRUCell
from .lstm import LSTMCell
from .transition import DeepTransitionCell

__all__ = ["Cell", "DeepTransitionCell", "ElmanCell", "GRUCell", "LSTMCell", "RNNCell", "each_row"]
