"""Names of PyTorch's that are not here: the errors that say NumPy's way, and that the way is one."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.hints import FUNCTIONS, METHODS

X = np.array([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]])
WAYS = {  # of methods: names in the sentence's expression, and its value
    "view": ({"shape": (3, 2)}, X.reshape(3, 2)), "view_as": ({"y": X.T}, X.reshape(3, 2)), "numel": ({}, 6),
    "dim": ({}, 2), "t": ({}, X.T), "unsqueeze": ({"axis": 0}, X[None]), "clone": ({}, X), "double": ({}, X),
    "float": ({}, X.astype(np.float32)), "long": ({}, X.astype(int)), "cpu": ({}, X), "type_as": ({"y": X}, X),
    "clamp": ({"min": 2, "max": 5}, np.clip(X, 2, 5)), "clamp_min": ({"min": 2}, np.maximum(X, 2)),
    "norm": ({"ord": None, "axis": 1}, np.sqrt((X**2).sum(1))), "rsqrt": ({}, 1 / np.sqrt(X)),
    "gather": ({"index": np.array([[0], [2]]), "axis": 1}, X[[0, 1], [0, 2]][:, None]),
    "index_select": ({"index": [1], "axis": 1}, X[:, [1]]), "masked_select": ({"mask": X > 2}, X[X > 2]),

    "masked_fill": ({"mask": X > 2, "value": 0.0}, np.where(X > 2, 0, X)),
    "expand": ({"shape": (4, 2, 3)}, np.stack([X] * 4)),
    "unbind": ({"axis": 0}, list(X)), "chunk": ({"n": 2, "axis": 1}, np.array_split(X, 2, 1)),
    "mm": ({"y": X.T}, X @ X.T), "repeat_interleave": ({"repeats": 2, "axis": 1}, np.repeat(X, 2, 1)),
    "lerp": ({"y": X + 1, "w": 0.5}, X + 0.5), "exp": ({}, np.exp(X)), "sigmoid": ({}, 1 / (1 + np.exp(-X))),
    "det": ({"x": mg.tensor(X[:, :2])}, 3.0 * 6 - 1 * 4), "new_zeros": ({"shape": (2,)}, np.zeros(2)),
}  # fmt: skip


def way(error: Any) -> str:
    return str(error.value).rpartition("here it is ")[2]


@pytest.mark.parametrize("name", WAYS)
def test_the_way_is_an_expression_that_does_it(name: str) -> None:
    x = mg.tensor(X, requires_grad=True)
    with pytest.raises(AttributeError, match=f"^'Tensor' object has no attribute '{name}': here it is ") as error:
        getattr(x, name)
    variables, expected = WAYS[name]
    found = eval(way(error), {"x": x, "np": np, "mg": mg, **variables})
    for a, b in zip(found, expected, strict=True) if isinstance(expected, list) else [(found, expected)]:
        a = a.numpy() if isinstance(a, mg.Tensor) else a
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b)


def test_the_size_is_an_exact_int() -> None:
    """A subclass of int, whose call could say the way, would turn float32 into float64: NumPy would not take it for a
    Python number."""
    x = mg.tensor(X, dtype=np.float32)
    assert type(x.size) is int
    assert (x / x.size).dtype == np.float32


@pytest.mark.parametrize("name", "cat stack matmul topk from_numpy float32 einsum unsqueeze size".split())
def test_functions_of_the_package(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'minigrad' has no attribute '{name}': here it is ") as error:
        getattr(mg, name)
    if name not in FUNCTIONS:
        assert eval(way(error)) is getattr(np, name)


def test_no_name_of_the_tables_is_there_and_each_way_names_what_is() -> None:
    x = mg.tensor(X)
    for name in METHODS:
        assert not hasattr(x, name), name
    here = {"sigmoid", "relu", "softmax", "log_softmax", "logsumexp", "erf", "softplus", "cuda"}  # functions, a folder
    for name in FUNCTIONS:
        assert not hasattr(mg, name) or name in here, name
    for table in (METHODS, FUNCTIONS):
        for name, text in table.items():
            for module, path in re.findall(r"\b(np|mg|nn)\.([a-z_.A-Z0-9]+[a-zA-Z0-9])", text):
                found: Any = {"np": np, "mg": mg, "nn": nn}[module]
                for part in path.split("."):
                    assert hasattr(found, part), (name, text)
                    found = getattr(found, part)


KEYWORDS = {
    "dim": lambda x: x.sum(dim=1), "keepdim": lambda x: x.mean(1, keepdim=True),
    "unbiased": lambda x: x.var(unbiased=True), "dim ": lambda x: x.squeeze(dim=0),
    " dim": lambda x: mg.softmax(x, dim=1), "dim  ": lambda x: x.argmax(dim=0),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYWORDS)
def test_keywords(name: str) -> None:
    way = {"dim": "axis=", "keepdim": "keepdims=", "unbiased": "ddof="}[name.strip()]
    with pytest.raises(TypeError, match=f"got an unexpected keyword argument '{name.strip()}': here it is {way}"):
        KEYWORDS[name](mg.tensor(X, requires_grad=True))


def test_values_may_be_added_at_places() -> None:
    x, values = mg.tensor([1.0, 2.0, 3.0]), mg.tensor([5.0, 7.0])
    np.testing.assert_array_equal((x + np.bincount([2, 2], values, x.size)).numpy(), [1.0, 2.0, 15.0])  # type: ignore


def test_a_missing_name_stays_missing() -> None:
    x = mg.tensor(X)
    assert not hasattr(x, "view")
    assert getattr(x, "permute", None) is None
    for name in ("nothing_like_it", "_private", "__array_interface__"):
        with pytest.raises(AttributeError, match=f"^'Tensor' object has no attribute '{name}'$"):
            getattr(x, name)
    with pytest.raises(AttributeError, match=r"^'Parameter' object has no attribute 'add_': here it is a write under"):
        nn.Parameter(X).add_(1)
    with pytest.raises(AttributeError, match=r"^module 'minigrad' has no attribute 'nothing_like_it'$"):
        mg.nothing_like_it  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'cat'"):
        from minigrad import cat  # type: ignore[attr-defined]  # noqa: F401
    np.testing.assert_array_equal(copy.copy(x).data, X)
    np.testing.assert_array_equal(np.asarray(copy.deepcopy(x)), X)
