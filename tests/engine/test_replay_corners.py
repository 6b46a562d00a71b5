"""Compiled functions in the corners: rare operations, results of rare kinds, and refused functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad.trees import flatten


class Pair(NamedTuple):
    first: Any
    second: Any


class Several(list):  # type: ignore[type-arg]
    """A list of a kind of its own."""


def _divided(x: Any, k: float) -> Any:
    y = np.exp(x).data  # arrays, on which rules compute
    y /= k + 1.0
    y *= 2.0
    y -= x.data
    return mg.Tensor(y)


def _filled(x: Any, k: float) -> Any:
    y = np.zeros_like(x.data)
    y.fill(3.0)
    y[:, 1:] += x.data[:, 1:]
    return mg.Tensor(y * k)


def _by_columns(x: Any, k: float) -> Any:
    return mg.Tensor(np.sin(x.data.T).T) * k, np.tanh(np.swapaxes(x, 0, 1)).T


FUNCTIONS: dict[str, Callable[[Any, float], Any]] = {
    "in place": _divided, "filled": _filled, "by columns": _by_columns,
    "fields": lambda x, k: np.linalg.slogdet(x @ x.T + k),
    "full_like": lambda x, k: mg.Tensor(np.full_like(x.data, 2.5) + x.data) * k,
    "full_like by name": lambda x, k: mg.Tensor(np.full_like(x.data, fill_value=0.5)) - x * k,
    "sizes": lambda x, k: x * k / (x.data.nbytes * x.data.itemsize * x.nbytes),
    "a pair": lambda x, k: Pair(x * k, {"more": (x - k,)}), "several": lambda x, k: Several([x * k, x - k]),
    "a remainder": lambda x, k: (x * divmod(7.0, k)[0], x * divmod(7.0, k)[1], x * divmod(k, 0.4)[1]),
    "beside an array": lambda x, k: mg.Tensor(np.ones((2, 3)) * k / (k - np.full(3, 9.0))) + x,
}  # fmt: skip


def parts(result: Any) -> list[Any]:
    return [leaf.numpy() for leaf in flatten(result)[0]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_compiled_function_gives_what_the_function_gives(name: str, rng: np.random.Generator) -> None:
    function, compiled = FUNCTIONS[name], mg.compile(FUNCTIONS[name])
    for k in (0.5, 1.25, 2.0, 0.75):
        x = mg.tensor(rng.standard_normal((2, 3)))
        found, expected = compiled(x, k), function(x, k)
        assert type(found) is type(expected)
        for a, b in zip(parts(found), parts(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
    assert compiled.replays


def test_arguments_in_a_dict_whose_keys_are_no_strings(rng: np.random.Generator) -> None:
    compiled = mg.compile(lambda parts: parts[0] * 2 + parts["x"])
    for _ in range(4):
        given = {0: mg.tensor(rng.standard_normal(3)), "x": mg.tensor(rng.standard_normal(3))}
        np.testing.assert_allclose(compiled(given).data, given[0].data * 2 + given["x"].data)


def test_a_number_of_the_call_is_not_returned() -> None:
    compiled = mg.compile(lambda x, k: (x * k, k + 1))
    compiled(mg.ones(2), 1.0)
    with pytest.raises(mg.RecordingError, match="it returns a number that was an argument, or is made of one"):
        compiled(mg.ones(2), 2.0)


def test_names_tell_what_is_compiled_or_fused() -> None:
    def double(x: Any) -> Any:
        return x * 2

    assert repr(mg.compile(double)) == "<compiled double>"
    assert repr(mg.fuse(double)) == "<fused double>"
