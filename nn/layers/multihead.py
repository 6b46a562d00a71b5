"""Attention with several heads (Vaswani et al. 2017), with PyTorch's names, layouts and masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from .. import init
from ..losses.elementwise import array_beside
from ..modules import Module, Parameter, beside
from ..sequences.packing import checked_lengths
from .attention import masked_softmax
from .dropout import check_probability, dropout_mask
from .linear import Linear, check_features

Array = Any


class MultiheadAttention(Module):
    """Concat(head₁, ..., head_h) W_o, head_i = softmax(Q W_i (K U_i)ᵀ / √d) V Z_i (Vaswani et al. 2017, section 3.2.2).

    embed_dim      E, of queries and outputs
    num_heads      h, which divides E; d = E / h
    dropout        the probability that an attention weight is zero
    bias           of all maps
    add_bias_kv    a learned key and value in addition to the given ones
    add_zero_attn  a key and value of zeros in addition to the given ones
    kdim, vdim     of keys and values; E, if None
    batch_first    the batch is axis 0 of queries, keys, values and output, else axis 1

    `in_proj_weight` (3E, E) holds the maps of queries, keys and values, one below the other; if kdim or vdim differs
    from E, they are `q_proj_weight`, `k_proj_weight` and `v_proj_weight`. All are initialized as in PyTorch.

    Masks are PyTorch's: **True means not to look there**, unlike in the other attention classes here. As in those, a
    query that may look nowhere gets zeros (PyTorch gives NaN), and hidden positions have no influence, NaN included.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: {num_heads} heads do not divide embed_dim {embed_dim}")
        self.embed_dim = E = embed_dim
        self.num_heads = num_heads
        self.dropout = check_probability("MultiheadAttention", dropout)
        self.add_zero_attn = add_zero_attn
        self.kdim = E if kdim is None else kdim
        self.vdim = E if vdim is None else vdim
        self.batch_first = batch_first
        made = {"device": device, "dtype": dtype}
        self.in_proj_weight = self.q_proj_weight = self.k_proj_weight = self.v_proj_weight = None
        if self.kdim == self.vdim == E:
            self.in_proj_weight = Parameter(init.xavier_uniform_(mg.zeros((3 * E, E), **made)))
        else:
            self.q_proj_weight = Parameter(init.xavier_uniform_(mg.zeros((E, E), **made)))
            self.k_proj_weight = Parameter(init.xavier_uniform_(mg.zeros((E, self.kdim), **made)))
            self.v_proj_weight = Parameter(init.xavier_uniform_(mg.zeros((E, self.vdim), **made)))
        self.in_proj_bias = Parameter(mg.zeros(3 * E, **made)) if bias else None
        self.bias_k = self.bias_v = None
        if add_bias_kv:
            self.bias_k = Parameter(init.xavier_normal_(mg.zeros((1, 1, E), **made)))
            self.bias_v = Parameter(init.xavier_normal_(mg.zeros((1, 1, E), **made)))
        self.out_proj = Linear(E, E, bias, **made)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
        attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False, *, lengths: Any = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """(output, weights).

        query, key, value  (L, N, E), (S, N, kdim), (S, N, vdim), with batch_first (N, L, E) and so on; without a
                           batch (L, E), (S, kdim), (S, vdim)
        key_padding_mask   (N, S), or (S,): booleans, True where a key is not real; or numbers to add to the scores
        attn_mask          (L, S), or (N·h, L, S): booleans, True where query l may not look at key s; or such numbers
        is_causal          query l looks at keys 0 to l only
        lengths            (N,) the number of real keys of each sequence, instead of key_padding_mask
        output             with the query's shape
        weights            (N, L, S), the mean of all heads; (N, h, L, S) without average_attn_weights; no N without a
                           batch; None without need_weights

        Raises ValueError if shapes do not fit, TypeError for a mask of integers.
        """
        same_kv, same = key is value, query is key
        query, key, value = (beside(self, x) for x in (query, key, value))
        alone = query.ndim == 2
        if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
            raise ValueError(
                f"MultiheadAttention: queries, keys and values must have two axes each, or three with a batch, not "
                f"{query.shape}, {key.shape} and {value.shape}{here()}"
            )
        batch_axis = 0 if self.batch_first or alone else 1
        query, key, value = (_batch_first(x, alone, batch_axis) for x in (query, key, value))  # (N, L or S, ·)
        N, L, S = query.shape[0], query.shape[1], key.shape[1]
        if key.shape[0] != N or value.shape[:2] != key.shape[:2]:
            raise ValueError(
                f"MultiheadAttention: {N} sequences of {L} queries, {key.shape[0]} of {S} keys, {value.shape[0]} of "
                f"{value.shape[1]} values do not fit{here()}"
            )
        check_features(self, query, self.embed_dim, "embed_dim")
        check_features(self, key, self.kdim, "kdim")
        check_features(self, value, self.vdim, "vdim")
        if lengths is not None:
            if key_padding_mask is not None:
                raise ValueError(f"MultiheadAttention: give lengths or a key_padding_mask, not both{here()}")
            n = checked_lengths("MultiheadAttention", np.reshape(lengths, -1), S, N)
            key_padding_mask = backend.from_numpy(np.arange(S) >= (n if alone else n[:, None]), query.device)
        allowed, added = self._masks(query, (N, L, S), key_padding_mask, attn_mask, is_causal, alone)
        if allowed is not None:
            seen = np.expand_dims(np.any(allowed, axis=(1, 2)), -1)  # (N, S, 1): by any query
            hidden_key = np.where(seen, key, 0.0)
            value = hidden_key if same_kv else np.where(seen, value, 0.0)
            key, same = hidden_key, False
        q, k, v = (self._heads(x) for x in self._projected(query, key, value, same and same_kv))
        k, v, allowed, added = self._with_learned(k, v, allowed, added)
        scores = (q / math.sqrt(q.shape[-1])) @ np.swapaxes(k, -1, -2)  # (N, h, L, S)
        weights = masked_softmax(scores if added is None else scores + added, allowed)
        if self.training and self.dropout:
            weights = weights * dropout_mask(weights.shape, self.dropout, weights)
        heads = np.swapaxes(weights @ v, 1, 2)  # (N, L, h, d)
        output = self.out_proj(heads.reshape(N, L, self.embed_dim))
        if alone:
            output = output[0]
        elif not self.batch_first:
            output = np.swapaxes(output, 0, 1)
        if not need_weights:
            return output, None
        weights = np.mean(weights, axis=1) if average_attn_weights else weights
        return output, weights[0] if alone else weights

    def _projected(self, query: Any, key: Any, value: Any, one: bool) -> list[Any]:
        """Queries, keys and values (N, ·, E) of all heads; in one product, if all are the same tensor."""
        W, b, E = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        if one and W is not None:
            return np.split(mg.linear(query, W, b), 3, axis=-1)  # type: ignore[no-any-return, call-overload]
        maps: Any = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight] if W is None else np.split(W, 3)  # type: ignore
        biases: Any = [None] * 3 if b is None else [b[:E], b[E : 2 * E], b[2 * E :]]
        return [mg.linear(x, w, c) for x, w, c in zip((query, key, value), maps, biases, strict=True)]

    def _heads(self, x: Any) -> Any:
        """(N, S, E) to (N, h, S, d)."""
        return np.swapaxes(x.reshape(*x.shape[:2], self.num_heads, self.embed_dim // self.num_heads), 1, 2)

    def _with_learned(self, k: Any, v: Any, allowed: Any, added: Any) -> tuple[Any, Any, Any, Any]:
        """Append the learned and zero keys and values, which all queries may see."""
        N, h, _, d = k.shape
        more: list[tuple[Any, Any]] = []
        if self.bias_k is not None and self.bias_v is not None:
            more.append(tuple(np.broadcast_to(b.reshape(1, h, 1, d), (N, h, 1, d)) for b in (self.bias_k, self.bias_v)))  # type: ignore
        if self.add_zero_attn:
            more.append((np.zeros_like(k.data, shape=(N, h, 1, d)),) * 2)
        if more:
            k, v = (np.concatenate([x, *(pair[i] for pair in more)], axis=2) for i, x in enumerate((k, v)))
            ends = [(0, 0), (0, 0), (0, 0), (0, len(more))]
            allowed = None if allowed is None else np.pad(allowed, ends, constant_values=True)
            added = None if added is None else np.pad(added, ends)
        return k, v, allowed, added

    # ---- masks ---------------------------------------------------------------------------------------------------

    def _masks(
        self, query: Any, sizes: tuple[int, int, int], padding: Any, attention: Any, causal: bool, alone: bool
    ) -> tuple[Array | None, Any]:
        """The positions where queries may look, booleans (N, h or 1, L, S), and numbers to add to the scores; None if
        there are none."""
        N, L, S = sizes
        allowed, added = None, None
        shapes = {
            "key_padding_mask": {(S,): (1, 1, 1, S)} if alone else {(N, S): (N, 1, 1, S)},
            "attn_mask": {(L, S): (1, 1, L, S), (N * self.num_heads, L, S): (N, self.num_heads, L, S)},
        }
        masks = {"key_padding_mask": padding, "attn_mask": attention}
        for name, mask in masks.items():
            if mask is None:
                continue
            numbers = array_beside(mask, query)
            if numbers.dtype.kind not in "bf":
                raise TypeError(
                    f"MultiheadAttention: {name} must be of booleans, True where not to look, or of floats to add to "
                    f"the scores, not {numbers.dtype}{here()}"
                )
            if numbers.shape not in shapes[name]:
                expected = " or ".join(map(str, shapes[name]))
                raise ValueError(f"MultiheadAttention: {name} must be {expected}, not {numbers.shape}{here()}")
            shape = shapes[name][numbers.shape]
            if numbers.dtype.kind == "b":
                mine = ~numbers.reshape(shape)
            else:
                mine = numbers.reshape(shape) != -np.inf
                bias = mask.reshape(*shape) if isinstance(mask, mg.Tensor) else numbers.reshape(shape)
                bias = np.where(mine, bias, 0.0).astype(query.dtype)
                added = bias if added is None else added + bias
            allowed = mine if allowed is None else allowed & mine
        if causal:
            below = backend.from_numpy(np.tri(L, S, dtype=bool)[None, None], query.device)
            allowed = below if allowed is None else allowed & below
        if allowed is not None:
            allowed = np.broadcast_to(allowed, (N, allowed.shape[1], L, S))
        return allowed, added

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, num_heads={self.num_heads}"


def _batch_first(x: Any, alone: bool, axis: int) -> Any:
    """(N, S, D) from any layout of the caller's."""
    if alone:
        return np.expand_dims(x, 0)
    return x if axis == 0 else np.swapaxes(x, 0, 1)
