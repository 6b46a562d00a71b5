"""A graph's data in columns: all that the records say, in a small part of the room."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.pictures import html, packing


def unpacked(table: dict[str, Any]) -> list[Any]:
    """The steps of viewer/unpacking.js, in Python."""

    def cells(column: dict[str, Any], count: int) -> list[Any]:
        if "all" in column:
            return [column["all"]] * count
        if "of" in column:
            return [column["of"][k] for k in column["is"]]
        if "each" in column:
            return list(column["each"])
        found = unpacked(column["table"])
        if "lists" not in column:
            return found
        starts = np.cumsum([0, *column["lists"]])
        return [found[a:b] for a, b in itertools.pairwise(starts)]

    at = table.get("at", range(table["rows"]))
    columns = {name: cells(column, len(at)) for name, column in table["columns"].items()}
    rows: list[Any] = [None] * table["rows"]
    for k, row in enumerate(at):
        rows[row] = {name: column[k] for name, column in columns.items()}
    return rows


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


@pytest.mark.parametrize("layer", [nn.LSTM(3, 4), nn.GRU(3, 4, num_layers=2), nn.Linear(3, 2)])
def test_columns_hold_what_the_data_says(layer: Any) -> None:
    data = mg.graph(lambda xs: [layer(xs)], mg.randn(3, 2, 3)).data()
    packed = json.loads(json.dumps(packing.packed(data)))
    assert unpacked(packed["nodes"]) == json.loads(json.dumps(rounded(data["nodes"])))
    assert unpacked(packed["edges"]) == json.loads(json.dumps(rounded(data["edges"])))


def test_columns_know_what_is_not_finite_and_the_range_of_gradients() -> None:
    w = mg.tensor(np.array([1.0, 0.0]), requires_grad=True)
    with np.errstate(all="ignore"):
        data = mg.graph(lambda: (np.array([0.0, 1.0]) / w).sum()).data()
    packed = packing.packed(data)
    assert [data["nodes"][k]["op"] for k in packed["broken"]["value"]] == ["divide", "sum"]
    assert [data["nodes"][k]["op"] for k in packed["broken"]["grad"]] == [""]
    assert packed["norms"] == [1.0, pytest.approx(np.sqrt(2))]
    assert packing.packed({"nodes": [], "edges": []})["norms"] == []


def test_a_long_loop_makes_a_small_page() -> None:
    w = mg.randn(2, 2, requires_grad=True)

    def f(xs: Any) -> Any:
        s = mg.zeros((1, 2))
        for _, x in mg.steps(xs):
            s = np.tanh(x + s @ w)
        return s.sum()

    sizes = [len(html.page(mg.graph(f, mg.randn(T, 1, 2), view="full").data())) for T in (100, 500)]
    assert sizes[1] - sizes[0] < 400 * 4 * 250  # characters for each of the nodes: a fifth of the records'
