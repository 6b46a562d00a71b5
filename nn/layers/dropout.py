"""Dropout, of values and of weights. `module.eval()` switches it off."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import minigrad as mg

from ..modules import Module


def dropout_mask(shape: tuple[int, ...], p: float, like: mg.Tensor) -> mg.Tensor:
    """0 with probability p, else 1 / (1 − p), on the device and in the dtype of `like`."""
    if p >= 1:
        return mg.zeros(shape, dtype=like.dtype, device=like.device)
    kept = mg.rand(*shape, dtype=like.dtype, device=like.device).data >= p
    return mg.Tensor((kept * (1 / (1 - p))).astype(like.dtype))


def check_probability(module: str, p: Any) -> float:
    """The probability itself; ValueError if it is invalid."""
    is_number = isinstance(p, Real)  # including a recording's live number
    if not (is_number and 0 <= p <= 1):
        raise ValueError(f"{module}: a probability must be between 0 and 1, not {p!r}")
    return p  # type: ignore[no-any-return]


class Dropout(Module):
    """Zero each number with probability p, and scale the others by 1 / (1 − p) (Srivastava et al. 2014)."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability("Dropout", p)

    def forward(self, x: Any) -> Any:
        """The same shape."""
        if not self.training or self.p == 0:
            return x
        return x * dropout_mask(x.shape, self.p, x)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class VariationalDropout(Module):
    """Dropout with one mask for all steps of a sequence (Gal & Ghahramani 2016), on (T, N, D).

    batch_first  the input is (N, T, D)
    """

    def __init__(self, p: float = 0.5, batch_first: bool = False) -> None:
        super().__init__()
        self.p = check_probability("VariationalDropout", p)
        self.batch_first = batch_first

    def forward(self, x: Any) -> Any:
        """The same shape."""
        if not self.training or self.p == 0:
            return x
        if x.ndim != 3:
            raise ValueError(f"VariationalDropout: expected three axes, with time, got shape {x.shape}")
        time = 1 if self.batch_first else 0
        shape = tuple([1 if axis == time else n for axis, n in enumerate(x.shape)])
        return x * dropout_mask(shape, self.p, x)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class WeightDrop(Module):
    """Dropout on weights of a module, one mask a call: DropConnect for recurrent weights (Merity et al. 2018).

    module   any module, which is called as before
    weights  names of its parameters, as in `named_parameters`, such as ["weight_hh_l0"]
    p        the probability that a weight is zero during a call

    >>> import minigrad as mg, nn
    >>> lstm = nn.WeightDrop(nn.LSTM(3, 4), ["weight_hh_l0"], p=0.5)
    >>> output, state = lstm(mg.randn(7, 2, 3))
    """

    def __init__(self, module: Module, weights: Sequence[str], p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability("WeightDrop", p)
        self.module = module
        known = {name for name, _ in module.named_parameters()}
        weights = [weights] if isinstance(weights, str) else list(weights)
        if unknown := [name for name in weights if name not in known]:
            raise ValueError(f"WeightDrop: no such parameters: {', '.join(unknown)}; there are {', '.join(known)}")
        self.weights = weights

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output with dropped weights."""
        if not self.training or self.p == 0:
            return self.module(*args, **kwargs)
        places = [(m, attribute) for name, m, attribute in self.module._places("parameters") if name in self.weights]
        whole = [getattr(module, attribute) for module, attribute in places]
        try:
            for (module, attribute), weight in zip(places, whole, strict=True):
                object.__setattr__(module, attribute, weight * dropout_mask(weight.shape, self.p, weight))
            return self.module(*args, **kwargs)
        finally:
            for (module, attribute), weight in zip(places, whole, strict=True):
                object.__setattr__(module, attribute, weight)

    def extra_repr(self) -> str:
        return f"{', '.join(self.weights)}, p={self.p}"


def undropped(layer: Any) -> Any:
    """The layer inside a WeightDrop, which knows its layout and state; any other layer unchanged."""
    return layer.module if isinstance(layer, WeightDrop) else layer
