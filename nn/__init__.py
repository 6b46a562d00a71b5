"""nn: recurrent networks from cells, with PyTorch's names."""

from . import init
from .cells import Cell, DeepTransitionCell, ElmanCell, GRUCell, LSTMCell, RNNCell
from .containers import ModuleDict, ModuleList, Sequential
from .dropout import Dropout, VariationalDropout, WeightDrop
from .layers import (
    ELU,
    GELU,
    Embedding,
    Hardsigmoid,
    Hardtanh,
    Identity,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .mappings import encode_decode, many_to_many, many_to_one, one_to_many
from .modules import Module, Parameter
from .recurrent import Bidirectional, OverTime, Recurrent, Stacked
from .rnn import GRU, LSTM, RNN
from .truncation import TBPTT, detach

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "TBPTT",
    "Bidirectional",
    "Cell",
    "DeepTransitionCell",
    "Dropout",
    "ElmanCell",
    "Embedding",
    "GRUCell",
    "Hardsigmoid",
    "Hardtanh",
    "Identity",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Module",
    "ModuleDict",
    "ModuleList",
    "OverTime",
    "Parameter",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Stacked",
    "Tanh",
    "VariationalDropout",
    "WeightDrop",
    "detach",
    "encode_decode",
    "init",
    "many_to_many",
    "many_to_one",
    "one_to_many",
]
