"""Stochastic gradient descent over windows, in NumPy. A window is one mini-batch, with matrix products.

All inputs of a window share the same random words (Ji, Satish, Li & Dubey 2016, Parallelizing Word2Vec in shared and
distributed memory). The objective is that of `objective.py`; a test compares the gradients. A window uses the weights
updated by the one before, which would not hold with many threads or stale weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .windows import Windows

Array = Any
SCORES = 2**22  # limit of a softmax's scores in memory
quiet = np.errstate(over="ignore", invalid="ignore")  # 1 / (1 + e^800) = 0 is correct; otherwise the loss will tell


@quiet
def train(W: Array, U: Array, windows: Windows, together: bool) -> tuple[float, int]:
    """Process the windows, one after the other; W and U are updated.

    W         (V, D) the vectors of words, as inputs
    U         (O, D) the vectors of outputs: words, or nodes of a tree
    together  True if a window has one input, the sum of its context (CBOW), False for one of each word (skip-gram)

    Returns the sum of the losses, and the number of predictions, each made before learning from it.
    """
    ids, outputs, signs = windows.ids, windows.outputs, windows.signs
    whole = np.all(signs != 0, axis=1)
    predictions, found = 0, []  # found: their margins
    for i, (a, b) in enumerate(zip(windows.first.tolist(), windows.last.tolist(), strict=True)):
        if b - a == 1:
            continue
        context = np.concatenate([ids[a:i], ids[i + 1 : b]])  # (M,)
        rows, sign = outputs[i], signs[i]  # (L,)
        if not whole[i]:
            rows, sign = rows[sign != 0], sign[sign != 0]
        A, B = W[context], U[rows]  # (M, D), (L, D)
        if together:
            A = A.sum(axis=0, keepdims=True)  # (1, D)
        margins = sign * (A @ B.T)  # (M, L)
        G = windows.rates[i] * sign / (1 + np.exp(margins))  # −rate · ∂loss/∂score: loss −log σ(m), slope −σ(−m)
        _add_rows(U, rows, G.T @ A)
        _add_rows(W, context, G @ B)
        predictions += len(A)
        found.append(margins.ravel())
    return float(np.sum(np.logaddexp(0, -np.concatenate(found)), dtype=np.float64)) if found else 0.0, predictions


def _add_rows(W: Array, rows: Array, values: Array) -> None:
    """W[rows] += values, or one value, with repeated rows."""
    if len(set(rows.tolist())) == len(rows):
        W[rows] += values
    else:
        np.add.at(W, rows, values)


@quiet
def train_softmax(W: Array, U: Array, windows: Windows, together: bool) -> tuple[float, int]:
    """`train` with a softmax over all words. Its products are large, so several windows form one mini-batch; but not so
    many that it often predicts the same word, whose gradients add up."""
    total, predictions = 0.0, 0
    widest = len(U) * np.max(windows.last - windows.first, initial=1)  # scores of a window
    for inputs, starts, targets, rates in _batches(windows, together, min(64, len(U) // 32, SCORES // widest)):
        H = np.add.reduceat(W[inputs], starts)  # (N, D)
        scores = H @ U.T  # (N, V)
        scores -= scores.max(axis=1, keepdims=True)
        right = scores[np.arange(len(H)), targets]  # (N,)
        np.exp(scores, out=scores)
        sums = scores.sum(axis=1)  # (N,)
        total += float(np.sum(np.log(sums) - right, dtype=np.float64))
        G = scores
        G *= (-rates / sums)[:, None]
        G[np.arange(len(H)), targets] += rates  # rate · (one-hot − softmax)
        dH = G @ U  # (N, D)
        U += G.T @ H
        _add_rows(W, inputs, np.repeat(dH, np.diff(starts, append=len(inputs)), axis=0))
        predictions += len(H)
    return total, predictions


def _batches(windows: Windows, together: bool, size: int) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Groups of windows (at least one): the input words, the start of those of each prediction, the words to be
    predicted, and the learning rates."""
    ids, size = windows.ids, max(1, size)
    for k in range(0, len(ids), size):
        first, lengths = windows.first[k : k + size], (windows.last - windows.first)[k : k + size]
        word = np.repeat(np.arange(k, k + len(first)), lengths)  # the owner of each window
        at = np.arange(len(word)) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)  # all words of the windows
        at, word = at[at != word], word[at != word]
        if len(at):
            starts = np.flatnonzero(np.diff(word, prepend=-1)) if together else np.arange(len(at))
            yield ids[at], starts, ids[word[starts]], windows.rates[word[starts]]
