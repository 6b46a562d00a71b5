"""nn: recurrent networks from cells, with PyTorch's names."""

from . import init
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
from .modules import Module, Parameter

__all__ = [
    "ELU",
    "GELU",
    "Dropout",
    "Embedding",
    "Hardsigmoid",
    "Hardtanh",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "VariationalDropout",
    "WeightDrop",
    "init",
]
