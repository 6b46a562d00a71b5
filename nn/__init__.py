"""nn: recurrent networks from cells, with PyTorch's names.

A cell is a step; a layer is a Python loop over any cell; stacks, directions, lengths and truncation work with all of
them.
"""

from . import diagnose, distributed, init, zoo
from .cells import Cell, DeepTransitionCell, ElmanCell, GRUCell, LSTMCell, RNNCell, each_row
from .clipping import clip_grad_norm_, clip_grad_value_
from .containers import ModuleDict, ModuleList, Sequential
from .crf import CRF
from .layers.activations import (
    ELU,
    GELU,
    GLU,
    Hardsigmoid,
    Hardtanh,
    Identity,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .layers.attention import AdditiveAttention, Attention, ConcatAttention, DotAttention, GeneralAttention
from .layers.convolution import Conv1d, MaxPool1d
from .layers.dropout import Dropout, VariationalDropout, WeightDrop
from .layers.embedding import Embedding, EmbeddingBag
from .layers.linear import Linear
from .layers.multihead import MultiheadAttention
from .layers.normalization import BatchNorm1d, LayerNorm, RMSNorm
from .losses.classes import CrossEntropyLoss, NLLLoss
from .losses.ctc import CTCLoss
from .losses.distributions import GaussianNLLLoss, PoissonNLLLoss
from .losses.elementwise import (
    BCELoss,
    BCEWithLogitsLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
)
from .losses.pairs import CosineEmbeddingLoss, MarginRankingLoss
from .losses.sampled import HierarchicalSoftmaxLoss, NegativeSamplingLoss
from .modules import Module, Parameter
from .onnx.export import export_onnx
from .optimizers import LBFGS, SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RAdam, RMSprop
from .schedules import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
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
    "GLU",
    "GRU",
    "LBFGS",
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
    "BatchNorm1d",
    "Bidirectional",
    "CTCLoss",
    "Cell",
    "ChainedScheduler",
    "ConcatAttention",
    "Conv1d",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "CyclicLR",
    "DeepTransitionCell",
    "DotAttention",
    "Dropout",
    "ElmanCell",
    "Embedding",
    "EmbeddingBag",
    "ExponentialLR",
    "GRUCell",
    "GaussianNLLLoss",
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
    "Lion",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MarginRankingLoss",
    "MaxPool1d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiStepLR",
    "MultiheadAttention",
    "NAdam",
    "NLLLoss",
    "NegativeSamplingLoss",
    "OneCycleLR",
    "Optimizer",
    "OverTime",
    "PReLU",
    "Parameter",
    "PoissonNLLLoss",
    "PolynomialLR",
    "RAdam",
    "RMSNorm",
    "RMSprop",
    "RNNCell",
    "ReLU",
    "ReLU6",
    "Recurrent",
    "ReduceLROnPlateau",
    "Sequential",
    "SequentialLR",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
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
    "export_onnx",
    "init",
    "load",
    "load_checkpoint",
    "load_metadata",
    "many_to_many",
    "many_to_one",
    "one_to_many",
    "save",
    "save_checkpoint",
    "zoo",
]
