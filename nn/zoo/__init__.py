"""The zoo: cells from the literature, each with a step that reads like the paper's equations.

All follow the protocol of `nn.cells`, so they run in `Recurrent`, `Stacked`, `Bidirectional` and `TBPTT`, and can be
drawn and diagnosed. None of them declares `rolled`: their code only computes, and so their loops are rolled.
"""

from .dynamics import AntisymmetricRNNCell, LMUCell, LRUCell, OrthogonalRNNCell
from .elementwise import IndRNNCell, MinGRUCell, MinLSTMCell, QRNNCell, SRUCell
from .gated import MGUCell, NBRCCell, RHNCell, UGRNNCell
from .memories import JANETCell, LayerNormLSTMCell, MultiplicativeLSTMCell, ONLSTMCell, SLSTMCell
from .timed import ClockworkRNNCell, GRUDCell, PhasedLSTMCell, irregular

__all__ = [
    "AntisymmetricRNNCell",
    "ClockworkRNNCell",
    "GRUDCell",
    "IndRNNCell",
    "JANETCell",
    "LMUCell",
    "LRUCell",
    "LayerNormLSTMCell",
    "MGUCell",
    "MinGRUCell",
    "MinLSTMCell",
    "MultiplicativeLSTMCell",
    "NBRCCell",
    "ONLSTMCell",
    "OrthogonalRNNCell",
    "PhasedLSTMCell",
    "QRNNCell",
    "RHNCell",
    "SLSTMCell",
    "SRUCell",
    "UGRNNCell",
    "irregular",
]
