"""The updates of `updates.py` as loops, compiled by Numba (extra `fast`). Without Numba they are slow Python.

A window's rows are so few and short that NumPy calls cost more than their arithmetic. Here products use small tiles,
whose sums stay in registers, and e^x is a polynomial, so that all inner loops are vectorized.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
try:
    import numba

    INSTALLED = True
except ImportError:
    INSTALLED = False


def compiled(function: Callable[..., Any]) -> Any:
    """The function as machine code that releases the GIL; cached on disk, if there is a folder for it."""
    if not INSTALLED:
        return function
    # all of fastmath except ignoring NaN and infinity; Python's check for division by zero would prevent vectorization
    options: dict[str, Any] = {
        "fastmath": {"contract", "arcp", "reassoc", "nsz", "afn"},
        "error_model": "numpy",
        "nogil": True,
    }
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to write to
        return numba.njit(**options)(function)


ZERO, ONE = np.float32(0), np.float32(1)
LOG2_E = np.float32(math.log2(math.e))
C1, C2, C3, C4, C5, C6 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(1, 7))
FAR = 100.0  # a margin with loss 0


@compiled
def scores(A: Array, m: int, U: Array, rows: Array, n: int, out: Array) -> None:
    """out = A U[rows]ᵀ for m rows of A and n of U, in tiles of two and three, so A and rows need padding."""
    for i in range(0, m, 2):
        for o in range(0, n, 3):
            p, q, r = rows[o], rows[o + 1], rows[o + 2]
            s00 = s01 = s02 = s10 = s11 = s12 = ZERO
            for k in range(A.shape[1]):
                a, b = A[i, k], A[i + 1, k]
                s00 += a * U[p, k]
                s01 += a * U[q, k]
                s02 += a * U[r, k]
                s10 += b * U[p, k]
                s11 += b * U[q, k]
                s12 += b * U[r, k]
            out[i, o], out[i, o + 1], out[i, o + 2] = s00, s01, s02
            out[i + 1, o], out[i + 1, o + 1], out[i + 1, o + 2] = s10, s11, s12


@compiled
def add_products(W: Array, rows: Array, m: int, G: Array, X: Array, others: Array, n: int) -> None:
    """W[rows] += G X[others] for m rows of W and an even number n of X. Rows may repeat."""
    for i in range(m):
        w = rows[i]
        o = 0
        while o + 6 <= n:
            p, q, r = others[o], others[o + 1], others[o + 2]
            s, t, u = others[o + 3], others[o + 4], others[o + 5]
            a, b, c, d, e, f = G[i, o], G[i, o + 1], G[i, o + 2], G[i, o + 3], G[i, o + 4], G[i, o + 5]
            for k in range(W.shape[1]):
                W[w, k] += a * X[p, k] + b * X[q, k] + c * X[r, k] + d * X[s, k] + e * X[t, k] + f * X[u, k]
            o += 6
        while o < n:
            p, q = others[o], others[o + 1]
            a, b = G[i, o], G[i, o + 1]
            for k in range(W.shape[1]):
                W[w, k] += a * X[p, k] + b * X[q, k]
            o += 2


@compiled
def exp_minus_abs(x: Array, count: int, out: Array, bits: Array) -> None:
    """out = e^−|x|. In float32 as 2ⁿ·2^f with |f| ≤ ½, where 2ⁿ is assembled from bits and 2^f = Σ (f log 2)^k / k!
    The relative error is that of rounding |x|, at most (2 + |x|)·10⁻⁷, and 0 becomes 10⁻³⁸."""
    if x.itemsize != 4:
        for k in range(count):
            out[k] = np.exp(-abs(x[k]))
        return
    for k in range(count):
        z = max(-abs(x[k]) * LOG2_E, np.float32(-126))
        n = np.rint(z)
        f = z - n
        bits[k] = (np.int32(n) + np.int32(127)) << np.int32(23)
        out[k] = ONE + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6)))))
    powers = bits.view(np.float32)
    for k in range(count):
        out[k] *= powers[k]


@compiled
def pull(x: Array, count: int, e: Array, bits: Array) -> float:
    """Replace margins x by σ(−x); returns the sum of their losses log(1 + e^−x)."""
    exp_minus_abs(x, count, e, bits)
    loss = np.float64(0)  # Σ log(1 + e^−x) = Σ max(−x, 0) + log Π (1 + e^−|x|), and 2^1000 does not overflow
    for start in range(0, count, 1000):
        product = np.float64(1)
        for k in range(start, min(start + 1000, count)):
            loss += max(-x[k], ZERO)
            product *= np.float64(1) + e[k]
            r = ONE / (ONE + e[k])
            x[k] = e[k] * r if x[k] > ZERO else r
        loss += math.log(product)
    return loss


@compiled
def train(
    W: Array, U: Array, ids: Array, first: Array, last: Array, outputs: Array, signs: Array, rates: Array,
    together: bool,
) -> tuple[float, int]:  # fmt: skip
    """`updates.train`: one window after the other."""
    D = W.shape[1]
    if ids.shape[0] == 0:
        return 0.0, 0
    most, L = np.max(last - first) + 1, (outputs.shape[1] + 5) // 6 * 6
    A = np.zeros((most, D), W.dtype)  # copies of input rows
    dA = np.zeros((1, D), W.dtype)
    x = np.zeros((most, L), W.dtype)  # margins, then σ(−margin)
    flat = x.reshape(-1)
    e, bits = np.zeros(most * L, W.dtype), np.zeros(most * L, np.int32)
    G, GT = np.zeros((most, L), W.dtype), np.zeros((L, most), W.dtype)  # − rate · ∂loss/∂score, and its transpose
    rows, sign = np.zeros(L, np.int32), np.zeros(L, W.dtype)
    context, itself = np.zeros(most, np.int32), np.arange(most)
    total, predictions = 0.0, 0
    for i in range(ids.shape[0]):
        n = 0
        for o in range(outputs.shape[1]):
            if signs[i, o] != 0:
                rows[n], sign[n] = outputs[i, o], signs[i, o]
                n += 1
        for o in range(n, L):
            rows[o], sign[o] = rows[0], 0
        m = 0
        for j in range(first[i], last[i]):
            if j != i:
                context[m] = ids[j]
                m += 1
        if m == 0:
            continue

        inputs = 1 if together else m
        for a in range(m):
            c = context[a]
            if together and a > 0:
                for k in range(D):
                    A[0, k] += W[c, k]
            else:
                for k in range(D):
                    A[a, k] = W[c, k]
        scores(A, inputs, U, rows, n, x)
        for a in range(inputs):
            for o in range(n):
                x[a, o] *= sign[o]
            for o in range(n, L):
                x[a, o] = FAR
        total += pull(flat, inputs * L, e, bits)
        for a in range(inputs):
            for o in range(L):
                G[a, o] = GT[o, a] = rates[i] * sign[o] * x[a, o]
        if inputs % 2:
            for o in range(n):
                GT[o, inputs] = 0

        even = n + n % 2
        if together:
            for k in range(D):
                dA[0, k] = 0
            add_products(dA, itself, 1, G, U, rows, even)
            for a in range(m):
                c = context[a]
                for k in range(D):
                    W[c, k] += dA[0, k]
        else:
            add_products(W, context, m, G, U, rows, even)
        add_products(U, rows, n, GT, A, itself, inputs + inputs % 2)
        predictions += inputs
    return total, predictions
