"""nn: recurrent networks from cells, with PyTorch's names.

A cell is a step; a layer is a Python loop over any cell; stacks, directions, lengths and truncation work with all of
them.
"""

from . import diagnose, distributed, init
from .attention import AdditiveAttention, Attention, ConcatAttention, DotAttention, GeneralAttention
from .cells import Cell, DeepTransitionCell, ElmanCell, GRUCell, LSTMCell, RNNCell, each_row
from .clipping import clip_grad_norm_, clip_grad_value_
from .containers import ModuleDict, ModuleList, Sequential
from .crf import CRF
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
from .losses.classes import CrossEntropyLoss, NLLLoss
from .losses.elementwise import (
    BCELoss,
    BCEWithLogitsLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
)
from .losses.sampled import HierarchicalSoftmaxLoss, NegativeSamplingLoss
from .modules import Module, Parameter
from .optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop
from .schedules import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
    WarmupLR,
)
from .sequences.mappings import encode_decode, many_to_many, many_to_one, one_to_many
from .sequences.recurrent import OverTime, Recurrent
from .sequences.rnn import GRU, LSTM, RNN
from .sequences.stacking import Bidirectional, Stacked
from .sequences.truncation import TBPTT, detach
from .training.checkpoints import load_checkpoint, save_checkpoint
from .training.files import load, load_metadata, save
from .training.history import History
from .training.trainer import Trainer

__all__ = [
    "CRF",
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "TBPTT",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdditiveAttention",
    "Attention",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Bidirectional",
    "Cell",
    "ConcatAttention",
    "CosineAnnealingLR",
    "CrossEntropyLoss",
    "DeepTransitionCell",
    "DotAttention",
    "Dropout",
    "ElmanCell",
    "Embedding",
    "ExponentialLR",
    "GRUCell",
    "GeneralAttention",
    "Hardsigmoid",
    "Hardtanh",
    "HierarchicalSoftmaxLoss",
    "History",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LRScheduler",
    "LSTMCell",
    "LambdaLR",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearLR",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiStepLR",
    "NLLLoss",
    "NegativeSamplingLoss",
    "OneCycleLR",
    "Optimizer",
    "OverTime",
    "Parameter",
    "RMSprop",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "ReduceLROnPlateau",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Stacked",
    "StepLR",
    "Tanh",
    "Trainer",
    "VariationalDropout",
    "WarmupLR",
    "WeightDrop",
    "clip_grad_norm_",
    "clip_grad_value_",
    "detach",
    "diagnose",
    "distributed",
    "each_row",
    "encode_decode",
    "init",
    "load",
    "load_checkpoint",
    "load_metadata",
    "many_to_many",
    "many_to_one",
    "one_to_many",
    "save",
    "save_checkpoint",
]
