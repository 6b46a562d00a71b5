"""Optimizers, with PyTorch's names, hyper-parameters and results."""

from .lbfgs import LBFGS
from .methods import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop
from .optimizer import Optimizer
from .variants import Lion, NAdam, RAdam

__all__ = ["LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "Optimizer", "RAdam", "RMSprop"]
