"""Indexing, and functions that are indexing by another name."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.rules.indexing import place

from .cases import apart, case, integers, mask, real

INDICES = [
    0, -1, (), ..., None, slice(None), slice(1, None), slice(None, None, -1), slice(4, 0, -2), slice(1, 1),
    (1, 2), (slice(None), 1), (..., 0), (0, ...), (None, 1), (slice(None), None, ..., None),
    (slice(None, None, -1), slice(2, None, -1)), (1, ..., slice(None, None, 2)), np.int64(1), True, False,
    [0, 2], [2, 0, 2, 2], [-1, 0], ([0, 1], [1, 1]), ((0, 0), (1, 1)), (slice(None), [0, 0, 1]), ([0, 2], slice(1, 3)),
    ([0, 2], ..., [1, 1]), (0, slice(None), [1, 0]), ([[0, 1], [2, 2]], 1), (slice(None), [1], None, [0]),
    [True, False, True], [],
]  # fmt: skip

for index in INDICES:
    case("getitem", lambda x, i=index: x[i], real(3, 4, 2))
case("getitem", lambda x: x[()], real())
case("getitem", lambda x: x[...], real())
case("getitem", lambda x: x[None], real())
case("getitem", lambda x: x[:, 1:], real(0, 3))
case("getitem", lambda m, x: x[m], mask(3, 4), real(3, 4))
case("getitem", lambda m, x: x[m], mask(3), real(3, 4))
case("getitem", lambda m, x: x[:, m], mask(4), real(3, 4))
case("getitem", lambda m, i, x: x[m, :, i], mask(3), integers(2, 1), real(3, 4, 2))
case("getitem", lambda i, x: x[i], integers(3, 2, 5), real(3, 4))
case("getitem", lambda i, x: x[-i - 1], integers(3, 4), real(3, 4))
case("getitem", lambda i, j, x: x[i, j], integers(3, 5), integers(4, 2, 1), real(3, 4))
case("getitem", lambda i, j, x: x[i, :, j], integers(3, 5), integers(2, 5), real(3, 4, 2))
case("getitem", lambda i, x: x[..., i], integers(2, 3), real(3, 4, 2))
case("place", lambda g: place(g, (slice(None), 1), (2, 3)), real(2),
     expected=lambda g: np.stack([0 * g, g, 0 * g], axis=1))  # fmt: skip

# ---- by other names ----------------------------------------------------------------------------------------------

case("take", np.take, real(3, 4), indices=[0, 5, 5])
case("take", np.take, real(3, 4), indices=2, axis=1)
case("take", np.take, real(3, 4), indices=-1, axis=-2)
case("take", np.take, real(3, 4), indices=[[0, 1], [2, 0]], axis=0)
case("take", lambda i, x: np.take(x, i, axis=1), integers(4, 2, 2), real(3, 4))
case("take", lambda i, x: x.take(i), integers(12, 3), real(3, 4))
case("compress", lambda m, x: np.compress(m, x), mask(4), real(2, 3))
case("compress", lambda x: np.compress([True, False, True], x, axis=1), real(2, 3))
case("extract", lambda m, x: np.extract(m, x), mask(2, 3), real(2, 3))
case("take_along_axis", lambda i, x: np.take_along_axis(x, i, 1), integers(4, 3, 2), real(3, 4))
case("take_along_axis", lambda i, x: np.take_along_axis(x, i, -2), integers(3, 5, 4), real(3, 4))
case("take_along_axis", lambda i, x: np.take_along_axis(x, i, None), integers(12, 5), real(3, 4))
case("take_along_axis", lambda i, x: np.take_along_axis(x, i, 1), integers(4, 3, 2), real(1, 4))
for axis in (-1, 0, None):
    case("sort", np.sort, apart(3, 4), axis=axis)
case("sort", np.sort, apart(2, 3, 2), axis=1)
case("sort", np.sort, apart(0, 3))
for offset in (-1, 0, 1, 5):
    case("diagonal", np.diagonal, real(3, 4), offset=offset)
    case("trace", np.trace, real(3, 4), offset=offset)
    case("diag", np.diag, real(3, 4), k=offset)
    case("diag", np.diag, real(3), k=offset)
    case("tril", np.tril, real(3, 4), k=offset)
    case("triu", np.triu, real(3, 4), k=offset)
case("diagonal", np.diagonal, real(2, 3, 4), axis1=-1, axis2=0)
case("trace", np.trace, real(2, 3, 3), axis1=1, axis2=2)
case("tril", np.tril, real(2, 3, 3))
case("triu", np.triu, real(2, 0, 3))
case("tril", np.tril, real(3))

# ---- embedding ---------------------------------------------------------------------------------------------------

for ids in (integers(5, 4), integers(5, 2, 3), integers(5), integers(5, 0)):
    case("embedding", lambda i, w: mg.embedding(w, i), ids, real(5, 2), expected=lambda i, w: w[i])
case("embedding", lambda w: mg.embedding(w, [[1, 0], [1, 1]]), real(3, 2), expected=lambda w: w[[[1, 0], [1, 1]]])
case("embedding", lambda i, w: mg.embedding(w, i), integers(5, 4), real(5), expected=lambda i, w: w[i])
