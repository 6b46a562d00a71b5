"""Initialization. Each function fills a tensor in place, without recording, and returns it.

A weight of shape (out, in) has fan_in = in and fan_out = out, as in PyTorch. Sources: Glorot & Bengio 2010 (xavier);
He et al. 2015 (kaiming); Saxe et al. 2014 (orthogonal); Jozefowicz et al. 2015 (the forget gate's bias).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import Tensor, backend, randn
from minigrad import rand as _rand

from .modules import overwrite as _fill

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The recommended gain of a weight before this function: 5/3 for "tanh", √2 for "relu", ..."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in GAINS:
        raise ValueError(f"calculate_gain: unknown function {nonlinearity!r}; known: {[*GAINS, 'leaky_relu']}")
    return GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (out, in, ...)."""
    if tensor.ndim < 2:
        raise ValueError(f"init: fans need a weight of at least two axes, (out, in), got shape {tensor.shape}")
    rest = math.prod(tensor.shape[2:])
    return tensor.shape[1] * rest, tensor.shape[0] * rest


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Fill with a constant."""
    return _fill(tensor, value)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return _fill(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return _fill(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity, for a matrix: the start of an IRNN (Le et al. 2015)."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: expected a matrix, got shape {tensor.shape}")
    return _fill(tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """U(a, b)."""
    return _fill(tensor, a + (b - a) * _rand(*tensor.shape, dtype=tensor.dtype, device=tensor.device).data)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """N(mean, std²)."""
    return _fill(tensor, mean + std * randn(*tensor.shape, dtype=tensor.dtype, device=tensor.device).data)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(−a, a) with a = gain·√(6 / (fan_in + fan_out)): keeps variances in both directions."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, gain²·2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode is 'fan_in' or 'fan_out', not {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:  # fmt: skip
    """U(−b, b) with b = gain·√(3 / fan): keeps the variance through rectifiers (`a` is the slope of a leaky one)."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:  # fmt: skip
    """N(0, gain² / fan)."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """A random matrix with orthonormal rows or columns (whichever are fewer), times gain.

    A recurrent weight of this kind initially preserves the norm of a state.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: expected at least two axes, got shape {tensor.shape}")
    rows, cols = tensor.shape[0], math.prod(tensor.shape[1:])
    flat = backend.to_numpy(randn(max(rows, cols), min(rows, cols), dtype=np.float64).data)
    q, r = np.linalg.qr(flat)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the distribution uniform (Mezzadri 2007)
    return _fill(tensor, (gain * (q if rows >= cols else q.T)).reshape(tensor.shape).astype(tensor.dtype))


def orthogonal_blocks_(tensor: Tensor, blocks: int, gain: float = 1.0) -> Tensor:
    """`orthogonal_` for each of the stacked matrices of a recurrent weight (4H, H): one for each gate."""
    if tensor.ndim != 2 or blocks < 1 or tensor.shape[0] % blocks:
        raise ValueError(f"orthogonal_blocks_: {tensor.shape} does not divide into {blocks} blocks of rows")
    size = tensor.shape[0] // blocks
    for k in range(blocks):
        orthogonal_(Tensor(tensor.data[k * size : (k + 1) * size]), gain)
    return tensor


def forget_gate_bias_(module: Any, value: float = 1.0) -> Any:
    """Set the forget gates' bias of every LSTMCell in a module: bias_ih to `value`, bias_hh to 0, so that it remembers
    from the start.

    (The gates are stacked in the order i, f, g, o; in a coupled LSTM, f, g, o.) ValueError if there is no LSTMCell.
    """
    from .cells import LSTMCell

    cells = [m for m in module.modules() if isinstance(m, LSTMCell) and m.bias_ih is not None]
    for cell in cells:
        start = 0 if cell.coupled else cell.hidden_size
        for bias, number in ((cell.bias_ih, value), (cell.bias_hh, 0.0)):
            _fill(Tensor(bias.data[start : start + cell.hidden_size]), number)
    if not cells:
        raise ValueError(f"forget_gate_bias_: {type(module).__name__} has no biases to set")
    return module
