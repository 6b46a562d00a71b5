"""Vectors for ids, and for bags of ids."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.modes import current_mode
from minigrad.scopes import here

from .. import init
from ..losses.elementwise import array_beside
from ..modules import Module, Parameter, beside
from .lookup import Lookup, distinct, worth

Array = Any


class _Vectors(Module):
    """The base of embeddings: a weight, and the look-up of its rows."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None,
        norm_type: float, scale_grad_by_freq: bool, sparse: bool, device: str, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        title = type(self).__name__
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"{title}: padding_idx {padding_idx} is not one of {num_embeddings} ids")
            padding_idx %= num_embeddings
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"{title}: max_norm must be positive, or None, not {max_norm!r}")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = float(norm_type)
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        self.weight = Parameter(init.normal_(mg.zeros((num_embeddings, embedding_dim), device=device, dtype=dtype)))
        if padding_idx is not None:
            init.zeros_(mg.Tensor(self.weight.data[padding_idx : padding_idx + 1]))

    def _ids(self, ids: Any) -> Array:
        """Integer ids as an array on the weight's device."""
        if isinstance(ids, list | tuple) and not np.size(ids):  # an empty list has no dtype
            ids = np.zeros(np.shape(ids), np.intp)
        return array_beside(ids, self.weight)

    def _rows(self, ids: Array) -> Any:
        """The rows of ids (...), (..., D), with bounded norms and scaled gradients."""
        if self.max_norm is not None and ids.size:
            self._bound(ids)
        rows = mg.embedding(self.weight, ids, padding_idx=self.padding_idx, sparse=self.sparse)
        if self.scale_grad_by_freq and ids.size:
            how_often = np.bincount(ids.reshape(-1), minlength=self.num_embeddings)[ids]
            rows = scale_gradient(rows, np.expand_dims(1 / how_often, -1).astype(self.weight.dtype))
        return rows

    def _bound(self, ids: Array) -> None:
        """Scale rows longer than max_norm down to it, in the weight itself."""
        if ids.dtype.kind not in "iu":
            return  # the lookup raises
        backend.check_indices(type(self).__name__, ids, self.num_embeddings)
        assert self.max_norm is not None
        ids = ids.reshape(-1)
        rows = self.weight.data[ids]
        norms = np.linalg.norm(rows, self.norm_type, axis=-1, keepdims=True)
        rows = np.where(norms > self.max_norm, rows * (self.max_norm / (norms + 1e-7)), rows)
        with mg.no_grad():
            self.weight[ids] = rows.astype(self.weight.dtype)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        plain = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False}
        return text + "".join(f", {k}={getattr(self, k)}" for k, value in plain.items() if getattr(self, k) != value)


def _same(x: Array, factor: Array) -> Array:
    return x.copy()


scale_gradient: Any = mg.primitive(_same, x=lambda g, factor: g * factor)
scale_gradient.name = "scale_gradient"


class Embedding(_Vectors):
    """A vector for each id: weight (num_embeddings, embedding_dim), initialized from N(0, 1).

    padding_idx         an id whose row is zero and stays so, since it gets no gradient
    max_norm            rows of a larger norm are scaled down to it before use, in the weight itself
    norm_type           p of this norm, (Σ |x|ᵖ)^(1/p)
    scale_grad_by_freq  divide each row's gradient by the number of its uses in the call
    sparse              give the weight's gradient as `mg.RowSparse`: for large vocabularies
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
        *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, device, dtype
        )

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Embedding:  # fmt: skip
        """An Embedding whose weight is a copy of a matrix (V, D), frozen or not."""
        array = (embeddings if isinstance(embeddings, mg.Tensor) else mg.tensor(embeddings)).data
        if array.ndim != 2:
            raise ValueError(f"Embedding.from_pretrained: expected a matrix (V, D), got shape {array.shape}")
        V, D = array.shape
        made = cls(V, D, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, dtype=array.dtype)
        made.weight = Parameter(array.copy(), requires_grad=not freeze)
        return made

    def forward(self, ids: Any, *, for_layer: bool = False) -> Any:
        """Integer ids of any shape (...) to (..., embedding_dim).

        for_layer  see `lookup`
        """
        ids = self._ids(ids)
        return self._rows(ids) if not for_layer else self._lookup(ids) or self._rows(ids)

    def lookup(self, ids: Any) -> Any:
        """The vectors of ids (T, N) as the input of a layer over time alone: `lstm(embedding.lookup(ids))`.

        Where ids repeat, this is a `Lookup`: the layer maps each different row once. Otherwise, it is the result of a
        call.
        """
        return self(ids, for_layer=not self._hooks)

    def _lookup(self, ids: Array) -> Lookup | None:
        """A Lookup, if rows repeat often enough, and nothing watches or changes them."""
        watched = any(observer.inside for observer in current_mode().observers)
        if self.max_norm is not None or self.scale_grad_by_freq or watched or ids.dtype.kind not in "iu":
            return None
        V, D = self.weight.shape
        if self.padding_idx is None and not self.sparse and worth(min(2 * V, ids.size), ids.size, D):
            return Lookup(self.weight, ids)
        found = distinct(ids) if worth(0, ids.size, D) else None
        if found is None or not worth(len(found[0]), ids.size, D):
            return None
        table = mg.embedding(self.weight, found[0], padding_idx=self.padding_idx, sparse=self.sparse)
        return Lookup(table, found[1])


class EmbeddingBag(_Vectors):
    """The sum, mean or maximum of the rows of each bag of ids, for example of a text without its order.

    mode                 "sum", "mean" or "max"; of an empty bag, zeros
    include_last_offset  the last offset is the end of the last bag
    padding_idx          an id that does not count in bags

    The other arguments are those of `Embedding`.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, include_last_offset: bool = False,
        padding_idx: int | None = None, *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, device, dtype
        )
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f"EmbeddingBag: mode is 'sum', 'mean' or 'max', not {mode!r}")
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, ids: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        """Bags of ids to (B, embedding_dim).

        ids                 (B, n): bags of n ids; or (n,): all bags, one after the other
        offsets             (B,) the start of each bag in ids (n,); the first is 0
        per_sample_weights  factors of the rows, in the shape of ids, for mode "sum"

        Raises ValueError if shapes or offsets do not fit, IndexError for an id out of range.
        """
        ids = self._ids(ids)
        weights = None
        if per_sample_weights is not None:
            weights = beside(self, per_sample_weights)
            if self.mode != "sum" or weights.shape != ids.shape:
                raise ValueError(
                    f"EmbeddingBag: per_sample_weights {weights.shape} need ids of that shape and mode 'sum', not "
                    f"{ids.shape} and {self.mode!r}{here()}"
                )
        starts = self._starts(ids, offsets)  # (B,)
        ids = ids.reshape(-1)  # (n,)
        rows = self._rows(ids)  # (n, D)
        counts = np.diff(starts, append=len(ids))
        bags = np.repeat(np.arange(len(starts)), counts)  # of each id
        if self.padding_idx is not None:
            counted = np.flatnonzero(backend.to_numpy(ids) != self.padding_idx)
            bags, there = bags[counted], backend.from_numpy(counted, rows.device)
            rows, weights = rows[there], None if weights is None else weights.reshape(-1)[there]
            counts = np.bincount(bags, minlength=len(starts))
        if self.mode == "max":
            return _largest(rows, counts)
        if weights is not None:
            rows = rows * weights.reshape(-1, 1)
        sums = _sums(rows, backend.from_numpy(bags, self.weight.device), len(starts))  # (B, D)
        if self.mode == "sum":
            return sums
        divisor = np.maximum(counts, 1)[:, None].astype(self.weight.dtype)
        return sums / backend.from_numpy(divisor, self.weight.device)

    def _starts(self, ids: Array, offsets: Any) -> np.ndarray[Any, Any]:
        """The index among all ids at which each bag begins."""
        if ids.ndim == 2 and offsets is None:
            return np.arange(ids.shape[0]) * int(ids.shape[1])
        if ids.ndim != 1 or offsets is None:
            given = "no offsets" if offsets is None else "offsets"
            raise ValueError(
                f"EmbeddingBag: give ids (B, n), or (n,) with offsets (B,), not {ids.shape} and {given}{here()}"
            )
        starts = backend.to_numpy(array_beside(offsets, self.weight))
        if self.include_last_offset and starts.size:
            if starts[-1] != len(ids):
                raise ValueError(f"EmbeddingBag: the last offset must be the end, {len(ids)}, not {starts[-1]}{here()}")
            starts = starts[:-1]
        if starts.ndim != 1 or starts.dtype.kind not in "iu":
            raise ValueError(f"EmbeddingBag: offsets must be integers (B,), not {starts.dtype} {starts.shape}{here()}")
        if starts.size and (starts[0] != 0 or np.any(np.diff(starts) < 0) or starts[-1] > len(ids)):
            found = f"{starts.tolist()!s:.80}"
            raise ValueError(f"EmbeddingBag: offsets must rise from 0 to {len(ids)} at most, they are {found}{here()}")
        return np.asarray(starts, np.intp)

    def extra_repr(self) -> str:
        return super().extra_repr() + f", mode={self.mode!r}"


def _add_up(rows: Array, bags: Array, count: int) -> Array:
    total = np.zeros_like(rows, shape=(count, rows.shape[1]))
    backend.add_at(total, bags, rows)
    return total


_sums: Any = mg.primitive(_add_up, rows=lambda g, bags: g[bags])


def _largest(rows: Any, counts: Array) -> Any:
    """The maximum of each column in each bag, (B, D); the first of equal numbers gets the gradient."""
    if not len(rows):
        return mg.Tensor(np.zeros_like(rows.data, shape=(len(counts), rows.shape[1])))
    begin, each = np.cumsum(counts) - counts, np.arange(counts.max())
    table, real = np.minimum(begin[:, None] + each, len(rows) - 1), each < counts[:, None]  # (B, n): rows of each bag
    begin, table, real = (backend.from_numpy(array, rows.device) for array in (begin, table, real))
    values = np.where(np.expand_dims(real, -1), rows.data[table], -np.inf)  # (B, n, D)
    places = np.minimum(np.expand_dims(begin, -1) + np.argmax(values, axis=1), len(rows) - 1)  # (B, D)
    return np.where(real[:, :1], np.take_along_axis(rows, places, axis=0), 0.0)
