"""Vectors for ids."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg

from .. import init
from ..modules import Module, Parameter


class Embedding(Module):
    """A row of numbers for each id: weight (num_embeddings, embedding_dim), N(0, 1) at first.

    padding_idx  an id whose row is zero and stays so, since it gets no gradient
    sparse       give the weight's gradient as `mg.RowSparse`: for large vocabularies
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, sparse: bool = False,
        *, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"Embedding: padding_idx {padding_idx} is not one of {num_embeddings} ids")
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.sparse = sparse
        self.weight = Parameter(init.normal_(mg.zeros((num_embeddings, embedding_dim), device=device, dtype=dtype)))
        if padding_idx is not None:
            init.zeros_(mg.Tensor(self.weight.data[padding_idx : padding_idx + 1]))

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None, sparse: bool = False
    ) -> Embedding:
        """An Embedding whose weight is a copy of a matrix (V, D), frozen or not."""
        array = (embeddings if isinstance(embeddings, mg.Tensor) else mg.tensor(embeddings)).data
        if array.ndim != 2:
            raise ValueError(f"Embedding.from_pretrained: expected a matrix (V, D), got shape {array.shape}")
        made = cls(array.shape[0], array.shape[1], padding_idx, sparse, dtype=array.dtype)
        made.weight = Parameter(array.copy(), requires_grad=not freeze)
        return made

    def forward(self, ids: Any) -> mg.Tensor:
        """Integer ids of any shape (...) to (..., embedding_dim)."""
        if isinstance(ids, list | tuple) and not np.size(ids):  # an empty list has no numbers that tell a dtype
            ids = np.zeros(np.shape(ids), np.intp)
        return mg.embedding(self.weight, ids, padding_idx=self.padding_idx, sparse=self.sparse)  # type: ignore

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")
