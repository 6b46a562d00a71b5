"""Element-wise functions, and softmax, as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigrad as mg

from ..modules import Module


class _Activation(Module):
    """An element-wise function as a module; its settings are keyword arguments of the function."""

    function: Callable[..., Any]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Any) -> Any:
        """The function of each element."""
        return type(self).function(x, **self.settings)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())


class Identity(_Activation):
    """x."""

    function = staticmethod(lambda x: x)


class Tanh(_Activation):
    """tanh(x)."""

    function = staticmethod(mg.tanh)


class Sigmoid(_Activation):
    """1 / (1 + exp(−x))."""

    function = staticmethod(mg.sigmoid)


class ReLU(_Activation):
    """max(x, 0)."""

    function = staticmethod(mg.relu)


class SiLU(_Activation):
    """x·σ(x)."""

    function = staticmethod(mg.silu)


class GELU(_Activation):
    """x·Φ(x)."""

    function = staticmethod(mg.gelu)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class LeakyReLU(_Activation):
    """x where positive, negative_slope·x elsewhere."""

    function = staticmethod(mg.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=negative_slope)


class ELU(_Activation):
    """x where positive, alpha·(exp(x) − 1) elsewhere."""

    function = staticmethod(mg.elu)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class Softplus(_Activation):
    """log(1 + exp(beta·x)) / beta."""

    function = staticmethod(mg.softplus)

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__(beta=beta)


class Hardtanh(_Activation):
    """min(max(x, min_val), max_val)."""

    function = staticmethod(mg.hard_tanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__(min_val=min_val, max_val=max_val)


class Hardsigmoid(_Activation):
    """min(max(x + 3, 0), 6) / 6."""

    function = staticmethod(mg.hard_sigmoid)


class Softmax(_Activation):
    """exp(x) / Σ exp(x) along the axis `dim`."""

    function = staticmethod(mg.softmax)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(axis=dim)


class LogSoftmax(_Activation):
    """x − log Σ exp(x) along the axis `dim`."""

    function = staticmethod(mg.log_softmax)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(axis=dim)
