"""Attention: a mean of values, weighted by the similarity of their keys to a query.

All four classes have one interface. They differ in the score of a query q and a key k:

    AdditiveAttention   vᵀ tanh(W q + U k)      Bahdanau, Cho & Bengio 2015
    DotAttention        qᵀ k                    Luong, Pham & Manning 2015
    GeneralAttention    qᵀ W k                  Luong, Pham & Manning 2015
    ConcatAttention     vᵀ tanh(W [q; k])       Luong, Pham & Manning 2015

    context, weights = attention(query, keys, values, mask)

    query    (N, Q), or (N, L, Q) for L queries
    keys     (N, S, K)
    values   (N, S, V); the keys, if None
    mask     (N, S), or (N, L, S): True where a query may look; everywhere, if None
    context  (N, V), or (N, L, V)
    weights  (N, S), or (N, L, S): non-negative, with sum 1 over S

A query that may look nowhere has weights and context of zeros. Values at a position that no query may look at have no
influence on anything, NaN included.

A decoder queries the same keys at every step. `prepare` does the work that all steps share:

    memory = attention.prepare(keys, values, mask)
    context, weights = attention(query, prepared=memory)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad.scopes import here

from .. import init
from ..losses.elementwise import array_beside
from ..modules import Module, Parameter, beside
from .linear import Linear, check_features

Array = Any


class Prepared(NamedTuple):
    """The result of `Attention.prepare`: projected keys (N, S, ·), values (N, S, V), and the mask, (N, 1 or L, S)."""

    keys: Any
    values: Any
    mask: Array | None


class Attention(Module):
    """Base class: a subclass defines `score`, and `project` for the part of a score that all queries share.

    query_size, key_size  Q and K, for error messages; None: any
    """

    query_size: int | None = None
    key_size: int | None = None

    def project(self, keys: Any) -> Any:
        """Keys (N, S, K) to the form for `score`, (N, S, ·)."""
        return keys

    def score(self, query: Any, projected: Any) -> Any:
        """Queries (N, L, Q) and projected keys (N, S, ·) to scores (N, L, S)."""
        raise NotImplementedError(f"{type(self).__name__} does not define score()")

    def prepare(self, keys: Any, values: Any = None, mask: Any = None) -> Prepared:
        """Do the work that all queries share; pass the result to the calls as `prepared=`.

        keys (N, S, K), values (N, S, V) or None, mask (N, S), (N, L, S) or None.
        """
        keys = beside(self, keys)
        if keys.ndim != 3:
            raise self._misfit("keys", keys, "(N, S, K)")
        if self.key_size is not None:
            check_features(self, keys, self.key_size, "key_size")
        values = keys if values is None else beside(self, values)
        if values.ndim != 3 or values.shape[:2] != keys.shape[:2]:
            raise self._misfit("values", values, f"({keys.shape[0]}, {keys.shape[1]}, V), as the keys {keys.shape}")
        if mask is not None:
            n, s = keys.shape[:2]
            mask = array_beside(mask, keys)
            if mask.ndim == 2:
                mask = np.expand_dims(mask, 1)  # (N, 1, S)
            if mask.dtype != bool or mask.ndim != 3 or (mask.shape[0], mask.shape[2]) != (n, s):
                raise self._misfit("mask", mask, f"boolean, ({n}, {s}) or ({n}, L, {s}), as the keys {keys.shape}")
            seen = np.expand_dims(np.any(mask, axis=1), -1)  # (N, S, 1): by any query
            same = values is keys
            keys = np.where(seen, keys, 0.0)
            values = keys if same else np.where(seen, values, 0.0)
        return Prepared(self.project(keys), values, mask)

    def forward(
        self, query: Any, keys: Any = None, values: Any = None, mask: Any = None, *, prepared: Prepared | None = None
    ) -> tuple[Any, Any]:
        """(context, weights); see the module's docstring for all shapes.

        prepared  a result of `prepare`, in place of keys, values and mask
        """
        if (prepared is None) == (keys is None) or (prepared and not (values is None and mask is None)):
            raise ValueError(
                f"{type(self).__name__}: give keys, and perhaps values and mask, or else prepared=, which holds them"
                f"{here()}"
            )
        if prepared is None:
            prepared = self.prepare(keys, values, mask)
        keys, values, mask = prepared
        query = beside(self, query)
        if query.ndim not in (2, 3) or query.shape[0] != values.shape[0]:
            raise self._misfit("query", query, f"(N, Q) or (N, L, Q) with N = {values.shape[0]}, as the keys")
        if self.query_size is not None:
            check_features(self, query, self.query_size, "query_size")
        queries: Any = query if query.ndim == 3 else np.expand_dims(query, 1)  # (N, L, Q)
        if mask is not None and mask.shape[1] not in (1, queries.shape[1]):
            raise self._misfit("mask", mask, f"for the {queries.shape[1]} queries of {query.shape}")
        weights = masked_softmax(self.score(queries, keys), mask)  # (N, L, S)
        context = weights @ values  # (N, L, V)
        return (context, weights) if query.ndim == 3 else (context[:, 0], weights[:, 0])

    def _misfit(self, name: str, given: Any, expected: str) -> ValueError:
        kind = f"{given.dtype} " * (name == "mask")
        return ValueError(f"{type(self).__name__}: {name} must be {expected}, not {kind}{given.shape}{here()}")


def masked_softmax(scores: Any, mask: Array | None) -> Any:
    """The softmax along the last axis over positions allowed by the mask; zeros elsewhere, and for rows without any."""
    if not scores.shape[-1]:  # there are no keys
        return scores
    if mask is None:
        return mg.softmax(scores)
    lowest = float(np.finfo(scores.dtype).min) / 2  # finite, so that a row of it has a softmax
    return np.where(mask, mg.softmax(np.where(mask, scores, lowest)), 0.0)


class AdditiveAttention(Attention):
    """score(q, k) = vᵀ tanh(W q + U k) (Bahdanau, Cho & Bengio 2015, appendix A.1.2).

    query_size, key_size  Q and K
    hidden_size           H: W is (H, Q), U is (H, K), v is (1, H), as `query.weight`, `key.weight`, `v.weight`
    """

    def __init__(
        self, query_size: int, key_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None
    ) -> None:
        super().__init__()
        self.query_size = query_size
        self.key_size = key_size
        self.query = Linear(query_size, hidden_size, bias=False, device=device, dtype=dtype)
        self.key = Linear(key_size, hidden_size, bias=False, device=device, dtype=dtype)
        self.v = Linear(hidden_size, 1, bias=False, device=device, dtype=dtype)

    def project(self, keys: Any) -> Any:
        """U k."""
        return self.key(keys)

    def score(self, query: Any, projected: Any) -> Any:
        """vᵀ tanh(W q + U k)."""
        return _tanh_score(self.query(query), projected, self.v.weight)


class ConcatAttention(Attention):
    """score(q, k) = vᵀ tanh(W [q; k]) (Luong, Pham & Manning 2015, eq. 8).

    query_size, key_size  Q and K
    hidden_size           H: `weight`, W, is (H, Q + K), `v` is (1, H)
    """

    def __init__(
        self, query_size: int, key_size: int, hidden_size: int, *, device: str = "cpu", dtype: Any = None
    ) -> None:
        super().__init__()
        self.query_size = query_size
        self.key_size = key_size
        made = {"device": device, "dtype": dtype}
        self.weight = Parameter(_uniform(mg.zeros((hidden_size, query_size + key_size), **made)))
        self.v = Parameter(_uniform(mg.zeros((1, hidden_size), **made)))

    def project(self, keys: Any) -> Any:
        """The part of W [q; k] that depends on k."""
        return mg.linear(keys, self.weight[:, self.query_size :])

    def score(self, query: Any, projected: Any) -> Any:
        """vᵀ tanh(W [q; k])."""
        return _tanh_score(mg.linear(query, self.weight[:, : self.query_size]), projected, self.v)


def _uniform(weight: mg.Tensor) -> mg.Tensor:
    """Initialize from U(±1/√n) for a weight with n inputs, as in Linear."""
    bound = 1 / math.sqrt(max(weight.shape[1], 1))
    return init.uniform_(weight, -bound, bound)


@mg.fuse
def additive_score(query: Any, keys: Any, v: Any) -> Any:
    """vᵀ tanh(q + k) for arrays (..., H)."""
    return np.sum(np.tanh(query + keys) * v, axis=-1)


def _tanh_score(query: Any, keys: Any, v: mg.Tensor) -> Any:
    """vᵀ tanh(q + k) for each pair of a query (N, L, H) and a key (N, S, H): (N, L, S)."""
    query, keys = np.expand_dims(query, 2), np.expand_dims(keys, 1)
    if query.shape[1] == 1:
        return additive_score(query, keys, v)
    z = np.tanh(query + keys)  # (N, L, S, H)
    return mg.linear(z, v)[..., 0]


class DotAttention(Attention):
    """score(q, k) = qᵀ k (Luong, Pham & Manning 2015, eq. 8), for queries and keys of the same size.

    scale  divide by √K (Vaswani et al. 2017, eq. 1)
    """

    def __init__(self, scale: bool = False) -> None:
        super().__init__()
        self.scale = scale

    def score(self, query: Any, projected: Any) -> Any:
        """qᵀ k."""
        check_features(self, query, projected.shape[-1], "the size of the keys")
        scores = query @ np.swapaxes(projected, 1, 2)
        return scores / math.sqrt(projected.shape[-1]) if self.scale else scores

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class GeneralAttention(Attention):
    """score(q, k) = qᵀ W k (Luong, Pham & Manning 2015, eq. 8).

    query_size, key_size  Q and K; W is (Q, K), as `key.weight`
    """

    def __init__(self, query_size: int, key_size: int, *, device: str = "cpu", dtype: Any = None) -> None:
        super().__init__()
        self.query_size = query_size
        self.key_size = key_size
        self.key = Linear(key_size, query_size, bias=False, device=device, dtype=dtype)

    def project(self, keys: Any) -> Any:
        """W k."""
        return self.key(keys)

    def score(self, query: Any, projected: Any) -> Any:
        """qᵀ W k."""
        return query @ np.swapaxes(projected, 1, 2)
