"""The sum over windows of a convolution along time, and its two adjoints.

    correlate   y[n, o, m] = bias[o] + Σ_c Σ_k weight[o, c, k] · x[n, c, m·stride + k·dilation − before]
    spread      the adjoint by x: numbers g (N, O, M) back to the steps that they came from, (N, C, L)
    weigh       the adjoint by the weight: Σ over all windows of g times x, (O, C / groups, K)

All three are linear in each of their two operands, and the derivatives of each are the other two; so derivatives of any
order are these again. Each is one product of matrices: the windows of all sequences side by side, (C·K, N·M), are
gathered anew where they are needed, which takes a small part of the product's time, and are not kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

import minigrad as mg
from minigrad import backend

Array = Any


def _steps(k: int, stride: int, dilation: int, count: int) -> slice:
    """The k-th steps of all windows."""
    return slice(k * dilation, k * dilation + (count - 1) * stride + 1, stride)


def _columns(x: Array, size: int, stride: int, dilation: int, count: int, before: int, groups: int) -> Array:
    """Windows (groups, C / groups · K, N·M) of x (N, C, L), with zeros outside of it."""
    N, C, L = x.shape
    reach = (count - 1) * stride + (size - 1) * dilation + 1
    if before or reach > L:
        padded = np.zeros_like(x, shape=(N, C, max(reach, before + L)))
        padded[:, :, before : before + L] = x
        x = padded
    if type(x) is np.ndarray:  # one copy of overlapping windows is faster than a stack of steps
        n, c, step = x.strides
        strides = (c, step * dilation, n, step * stride)
        found = np.ascontiguousarray(as_strided(x, (C, size, N, count), strides, writeable=False))
    else:
        x = np.transpose(x, (1, 0, 2))
        found = np.stack([x[:, :, _steps(k, stride, dilation, count)] for k in range(size)], axis=1)
    return found.reshape(groups, C // groups * size, N * count)


def _rows(g: Array, groups: int) -> Array:
    """(N, O, M) as (groups, O / groups, N·M)."""
    N, O, M = g.shape
    return np.transpose(g, (1, 0, 2)).copy().reshape(groups, O // groups, N * M)


@backend.as_one
def _correlate(
    x: Array, weight: Array, bias: Array | None, stride: int, dilation: int, groups: int, count: int, before: int
) -> Array:
    O, _, K = weight.shape
    columns = _columns(x, K, stride, dilation, count, before, groups)
    y = np.matmul(weight.reshape(groups, O // groups, -1), columns).reshape(O, x.shape[0], count)
    y = np.transpose(y, (1, 0, 2))
    return y.copy() if bias is None else np.add(y, bias[:, None], order="C")


@backend.as_one
def _spread(g: Array, weight: Array, stride: int, dilation: int, groups: int, length: int, before: int) -> Array:
    (N, O, M), (_, width, K) = g.shape, weight.shape
    C, around = width * groups, (K - 1) * dilation - before
    if stride == 1 and around >= 0 and O <= C and groups < C:  # windows over g, by the weights from their ends
        turned = np.swapaxes(weight.reshape(groups, O // groups, width, K)[..., ::-1], 1, 2)
        return _correlate(g, turned.reshape(C, O // groups, K), None, 1, dilation, groups, length, around)
    x = np.zeros_like(g, shape=(N, C, max((M - 1) * stride + (K - 1) * dilation + 1, before + length)))
    if C == O == groups:  # each channel by itself: a product of vectors would be slower than the numbers one by one
        for k in range(K):
            x[:, :, _steps(k, stride, dilation, M)] += g * weight[:, 0, k, None]
    else:
        each = np.matmul(np.swapaxes(weight.reshape(groups, O // groups, -1), 1, 2), _rows(g, groups))
        each = each.reshape(C, K, N, M)
        for k in range(K):
            x[:, :, _steps(k, stride, dilation, M)] += np.transpose(each[:, k], (1, 0, 2))
    return x[:, :, before : before + length]


@backend.as_one
def _weigh(x: Array, g: Array, size: int, stride: int, dilation: int, groups: int, before: int) -> Array:
    columns = _columns(x, size, stride, dilation, g.shape[2], before, groups)
    found = np.matmul(columns, np.swapaxes(_rows(g, groups), 1, 2))  # (groups, C / groups · K, O / groups)
    return np.swapaxes(found, 1, 2).reshape(g.shape[1], -1, size)


# In a rule, `g` is the gradient of the output, and the other names are operands and parameters of the function.


@mg.primitive(  # type: ignore[untyped-decorator]
    fresh=True,
    x=lambda g, weight, x_shape, stride, dilation, groups, before: spread(
        g, weight, stride, dilation, groups, x_shape[2], before
    ),
    weight=lambda g, x, weight_shape, stride, dilation, groups, before: weigh(
        x, g, weight_shape[2], stride, dilation, groups, before
    ),
    bias=lambda g: np.sum(g, axis=(0, 2)),
)
def correlate(
    x: Array, weight: Array, bias: Array | None, stride: int, dilation: int, groups: int, count: int, before: int
) -> Array:
    """x (N, C, L), weight (O, C / groups, K) and bias (O,) or None to `count` windows, (N, O, M)."""
    return _correlate(x, weight, bias, stride, dilation, groups, count, before)


@mg.primitive(  # type: ignore[untyped-decorator]
    fresh=True,
    a=lambda g, weight, a_shape, stride, dilation, groups, before: correlate(
        g, weight, None, stride, dilation, groups, a_shape[2], before
    ),
    weight=lambda g, a, weight_shape, stride, dilation, groups, before: weigh(
        g, a, weight_shape[2], stride, dilation, groups, before
    ),
)
def spread(a: Array, weight: Array, stride: int, dilation: int, groups: int, length: int, before: int) -> Array:
    """a (N, O, M) and weight (O, C / groups, K) to (N, C, length)."""
    return _spread(a, weight, stride, dilation, groups, length, before)


@mg.primitive(  # type: ignore[untyped-decorator]
    fresh=True,
    x=lambda g, a, x_shape, stride, dilation, groups, before: spread(
        a, g, stride, dilation, groups, x_shape[2], before
    ),
    a=lambda g, x, a_shape, stride, dilation, groups, before: correlate(
        x, g, None, stride, dilation, groups, a_shape[2], before
    ),
)
def weigh(x: Array, a: Array, size: int, stride: int, dilation: int, groups: int, before: int) -> Array:
    """x (N, C, L) and a (N, O, M) to (O, C / groups, size)."""
    return _weigh(x, a, size, stride, dilation, groups, before)
