"""Schedules of the learning rate, with PyTorch's names, arguments and values.

Call `step()` after each step, or each epoch, of the optimizer.
"""

from .formulas import CosineAnnealingLR, ExponentialLR, LambdaLR, LinearLR, MultiStepLR, OneCycleLR, StepLR
from .reactions import ReduceLROnPlateau, WarmupLR
from .schedule import Formula, LRScheduler

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "Formula",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "StepLR",
    "WarmupLR",
]
