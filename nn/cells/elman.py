"""The vanilla recurrent network, without and with an output map (Elman 1990)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.primitives import Primitive

from .cell import Cell, State, each_row, recurrent_parameters, uniform

Function = Callable[..., Any]
NONLINEARITIES: dict[str, Function] = {"tanh": np.tanh, "relu": mg.relu}
_FUSED: dict[Function, Function] = {}


def activated_sum(nonlinearity: str | Function, title: str) -> Function:
    """f(x + r), fused if f is an operation of the vocabulary. Any other function runs unfused, since its captured
    values may change; it may be fused itself."""
    f = NONLINEARITIES.get(nonlinearity) if isinstance(nonlinearity, str) else nonlinearity
    if f is None or not callable(f):
        raise ValueError(f"{title}: nonlinearity is {sorted(NONLINEARITIES)} or a function, not {nonlinearity!r}")
    if not isinstance(f, np.ufunc | Primitive):
        return lambda x, r: f(x + r)
    if f not in _FUSED:
        _FUSED[f] = _fused_sum(f)
    return _FUSED[f]


def _fused_sum(f: Function) -> Function:
    def rnn(x: Any, r: Any) -> Any:
        return f(x + r)

    fused = mg.fuse(rnn)

    def either(x: Any, r: Any) -> Any:
        try:
            return fused(x, r)
        except mg.FusionError:  # f is not element-wise
            return rnn(x, r)

    return either


class RNNCell(Cell):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh), f being tanh, relu, or any function of a tensor.

    weight_ih (H, D), weight_hh (H, H), bias_ih and bias_hh (H,): PyTorch's names and shapes.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str | Function = "tanh", *,
        recurrent_dropout: float = 0.0, zoneout: float | Sequence[float] = 0.0, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size,), recurrent_dropout, zoneout)
        self.nonlinearity = nonlinearity
        self.weight_ih: Any
        self.weight_hh: Any
        self.bias_ih: Any
        self.bias_hh: Any
        self._activated = activated_sum(nonlinearity, type(self).__name__)
        recurrent_parameters(self, 1, hidden_size, hidden_size, bias, device, dtype)

    @property
    def rolled(self) -> bool | None:
        """True unless the nonlinearity is a user's function, whose code is then checked."""
        return isinstance(self.nonlinearity, str | np.ufunc | Primitive) or None

    @each_row
    def inputs(self, xs: Any) -> mg.Tensor:
        """W_ih x + b_ih + b_hh."""
        bias = None if self.bias_ih is None else self.bias_ih + self.bias_hh
        return mg.linear(xs, self.weight_ih, bias)  # type: ignore[no-any-return]

    def update(self, x: mg.Tensor, state: State, recurrent: mg.Tensor) -> State:
        """x (N, H) and h (N, H) to the next h."""
        return (self._activated(x, mg.linear(recurrent, self.weight_hh)),)


class ElmanCell(RNNCell):
    """A state and an output, in the notation of lectures:

        s_t = f_s(W_in x_t + b_in + W_s s_{t-1} + b_s)
        y_t = f_out(W_out s_t + b_out)

    W_in, W_s, W_out are weight_ihᵀ, weight_hhᵀ and weight_outᵀ; b_in, b_s, b_out are bias_ih, bias_hh, bias_out.
    The output of a layer is y; by hand, `s = cell(x, s)` and `y = cell.output(s)`.
    """

    rolled = RNNCell.rolled
    states = ("s",)

    def __init__(
        self, input_size: int, hidden_size: int, output_size: int, bias: bool = True,
        nonlinearity: str | Function = "tanh", output: Function | None = None, *, recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            input_size, hidden_size, bias, nonlinearity, recurrent_dropout=recurrent_dropout, zoneout=zoneout,
            device=device, dtype=dtype,
        )  # fmt: skip
        self.output_size = output_size
        self.output_function = output
        self.weight_out = uniform((output_size, hidden_size), hidden_size, device, dtype)
        self.bias_out = uniform((output_size,), hidden_size, device, dtype) if bias else None

    def output(self, s: mg.Tensor) -> mg.Tensor:
        """y from s, (..., H) to (..., output_size)."""
        y = mg.linear(s, self.weight_out, self.bias_out)
        return y if self.output_function is None else self.output_function(y)  # type: ignore[no-any-return]
