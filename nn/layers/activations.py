"""Element-wise functions, softmax, and gates, as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.scopes import here

from ..modules import Module, Parameter, beside


@mg.fuse
def softplus(x: Any, beta: float, threshold: float) -> Any:
    """log(1 + exp(βx)) / β, and x above the threshold."""
    z = x * beta
    return np.where(z > threshold, x, mg.softplus(z) / beta)


@mg.fuse
def mish(x: Any) -> Any:
    """x·tanh(log(1 + exp(x)))."""
    return x * np.tanh(mg.softplus(x))


class _Activation(Module):
    """An element-wise function as a module; its settings, keyword arguments of the function, are attributes."""

    function: Callable[..., Any]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = tuple(settings)
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, x: Any) -> Any:
        """The function of each element."""
        x = mg.tensor(x) if isinstance(x, list | tuple) else x
        return type(self).function(x, **{name: getattr(self, name) for name in self.settings})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.settings)


class Identity(_Activation):
    """x."""

    function = staticmethod(lambda x: x)


class Tanh(_Activation):
    """tanh(x)."""

    function = staticmethod(mg.tanh)


class Sigmoid(_Activation):
    """1 / (1 + exp(−x))."""

    function = staticmethod(mg.sigmoid)


class LogSigmoid(_Activation):
    """log(1 / (1 + exp(−x)))."""

    function = staticmethod(lambda x: -mg.softplus(-x))


class Softplus(_Activation):
    """log(1 + exp(beta·x)) / beta; x itself where beta·x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)

    function = staticmethod(softplus)


class Hardtanh(_Activation):
    """min(max(x, min_val), max_val)."""

    function = staticmethod(mg.hard_tanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__(min_val=min_val, max_val=max_val)


class Hardsigmoid(_Activation):
    """min(max(x + 3, 0), 6) / 6."""

    function = staticmethod(mg.hard_sigmoid)


# ---- rectifiers --------------------------------------------------------------------------------------------------


class ReLU(_Activation):
    """max(x, 0)."""

    function = staticmethod(mg.relu)


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""

    function = staticmethod(lambda x: mg.hard_tanh(x, 0.0, 6.0))


class LeakyReLU(_Activation):
    """x where positive, negative_slope·x elsewhere."""

    function = staticmethod(mg.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=negative_slope)


class PReLU(Module):
    """x where positive, weight·x elsewhere, with a learned slope (He et al. 2015).

    num_parameters  1, or a slope for each channel, which is axis 1 of x
    init            the initial slope
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, device: str = "cpu", dtype: Any = None
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(mg.full(num_parameters, float(init), device=device, dtype=dtype))

    def forward(self, x: Any) -> Any:
        """The same shape. ValueError if axis 1 does not have size num_parameters."""
        x = beside(self, x)
        channels = x.shape[1] if x.ndim > 1 else 1
        if self.num_parameters not in (1, channels):
            raise ValueError(
                f"PReLU: {self.num_parameters} slopes for {channels} channels, axis 1 of {x.shape}{here()}"
            )
        weight = self.weight if x.ndim else self.weight[0]
        if x.ndim > 2:
            weight = weight.reshape(-1, *[1] * (x.ndim - 2))  # beside axis 1
        return np.where(x > 0, x, weight * x)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(_Activation):
    """x where positive, alpha·(exp(x) − 1) elsewhere."""

    function = staticmethod(mg.elu)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


# ---- self-gated functions ----------------------------------------------------------------------------------------


class SiLU(_Activation):
    """x·σ(x)."""

    function = staticmethod(mg.silu)


class GELU(_Activation):
    """x·Φ(x)."""

    function = staticmethod(mg.gelu)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class Mish(_Activation):
    """x·tanh(log(1 + exp(x))) (Misra 2019)."""

    function = staticmethod(mish)


class GLU(_Activation):
    """a·σ(b) for the halves a and b of the axis `dim` (Dauphin et al. 2017)."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)

    @staticmethod
    def function(x: Any, dim: int) -> Any:
        """Halves the axis `dim`. ValueError if its size is odd."""
        if not -np.ndim(x) <= dim < np.ndim(x) or np.shape(x)[dim] % 2:
            raise ValueError(f"GLU: axis {dim} of {np.shape(x)} does not divide into two halves{here()}")
        a, b = np.split(x, 2, axis=dim)
        return a * mg.sigmoid(b)


# ---- softmax -----------------------------------------------------------------------------------------------------


class Softmax(_Activation):
    """exp(x) / Σ exp(x) along the axis `dim`."""

    function = staticmethod(lambda x, dim: mg.softmax(x, dim))

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class LogSoftmax(_Activation):
    """x − log Σ exp(x) along the axis `dim`."""

    function = staticmethod(lambda x, dim: mg.log_softmax(x, dim))

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)
