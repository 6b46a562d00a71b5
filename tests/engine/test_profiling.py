"""The counts of a profile, and the operations and scopes to which it assigns them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.native import machine


@mg.primitive(x=lambda g, x: _slow(g))
def _sleeping(x: Any) -> Any:
    time.sleep(0.02)
    return x * 1.0


def _slow(g: Any) -> Any:
    time.sleep(0.03)
    return g


def test_operations_are_counted_timed_and_weighed() -> None:
    w = mg.ones((50, 20), requires_grad=True)

    def work() -> mg.Tensor:
        with mg.scope("layer"):
            h = np.tanh(mg.ones((8, 50)) @ w)
        y = _sleeping(h)
        time.sleep(0.05)  # not an operation
        (y + y).sum().backward()
        return h

    work()  # kernels are compiled at their first use
    with mg.profile() as p:
        h = work()
    rows = p.rows()
    assert {name: row.calls for name, row in rows.items()} == {
        "matmul": 1, "tanh": 1, "sleeping": 1, "add": 1, "sum": 1, "gathered gradients": 0
    }  # fmt: skip
    assert next(iter(rows)) == "sleeping"
    assert 0.02 <= rows["sleeping"].forward < rows["sleeping"].forward + rows["sleeping"].backward <= p.seconds
    assert rows["sleeping"].backward >= 0.03
    assert rows["tanh"].bytes == 2 * h.data.nbytes  # the result, and the gradient that it passed on
    assert sum(row.seconds for row in rows.values()) <= p.seconds - 0.05
    by_scope = p.rows(by="scope")
    assert by_scope["layer"].calls == 2
    assert by_scope[""].calls == 3
    assert p.rows(by="both")["layer: tanh"].calls == 1


def test_a_rolled_loop_is_one_operation_and_any_other_says_why_it_is_not() -> None:
    layer = nn.Stacked([nn.GRUCell(3, 4), nn.Recurrent(nn.GRUCell(4, 4), rolled=False)])
    with mg.profile() as p:
        layer(mg.ones((5, 2, 3)))[0].sum().backward()
    rolled = machine.available() and not machine.switched_off()
    assert ("loop" in p.rows()) == rolled
    assert p.notes[-1] == "Stacked[1]: not rolled: the layer was made with rolled=False"
    assert len(p.notes) == 2 - rolled
    assert str(p).splitlines()[-1] == p.notes[-1]


def test_time_steps_are_put_together_or_told_apart() -> None:
    lstm = nn.LSTM(3, 4, num_layers=2)
    for recurrent in lstm.layers:
        recurrent._rolls = False
    with mg.profile() as p:
        output, _ = lstm(mg.ones((5, 2, 3)))
        output.sum().backward()
    assert p.rows(by="scope")["LSTM[0]"].calls > 5
    told_apart = p.rows(by="scope", steps=True)
    assert {"LSTM[0].t=4", "LSTM[1].t=0"} <= set(told_apart)
    assert sum(row.calls for row in told_apart.values()) == sum(row.calls for row in p.rows().values())
    assert set(p.rows(by="scope", depth=1)) <= {"LSTM", "", "weight_ih", "weight_hh"}  # gathered gradients
    assert p.rows()["gathered gradients"].backward > 0


def test_what_an_operation_calls_is_not_counted_twice() -> None:
    @mg.primitive(x=lambda g, y: g * y)  # type: ignore[untyped-decorator]
    def outer(x: Any) -> Any:
        return np.exp(mg.Tensor(x)).data

    with mg.profile() as p:
        outer(mg.ones((3, 4), requires_grad=True)).sum().backward()
    spans = {e.operation: e for e in p.events if e.phase == "forward"}
    whole, inner = spans["outer"], spans["exp"]
    assert whole.start <= inner.start
    assert inner.start + inner.span <= whole.start + whole.span
    np.testing.assert_allclose(whole.seconds, whole.span - inner.span, rtol=1e-9)
    assert sum(e.seconds for e in p.events) <= p.seconds


def test_an_operation_that_fails_leaves_no_trace() -> None:
    with mg.profile() as p:
        with pytest.raises(ValueError, match="matmul"):
            mg.ones((2, 3)) @ mg.ones((2, 3))
        np.exp(mg.ones(3))
    assert [e.operation for e in p.events] == ["exp"]


def test_the_numbers_are_those_without_a_profile() -> None:
    def gradient() -> Any:
        mg.manual_seed(1)
        lstm = nn.LSTM(3, 4)
        output, _ = lstm(mg.randn(6, 2, 3))
        (output**2).sum().backward()
        return [w.grad.numpy() for w in lstm.parameters()]

    plain = gradient()
    with mg.profile():
        watched = gradient()
    assert all(np.array_equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_tables_and_traces(tmp_path: Path) -> None:
    with mg.profile() as p, mg.scope("model"):
        for _ in range(3):
            np.exp(mg.ones(4, requires_grad=True)).sum().backward()
    text = str(p)
    assert text.splitlines()[0].split() == ["operation", "calls", "forward", "ms", "backward", "ms", "MiB", "share"]
    assert "between operations" in text
    assert "1 others" in p.table(most=1)
    assert p.table(by="scope").splitlines()[1].startswith("model")
    all_of_them = json.loads(p.trace(tmp_path / "trace.json").read_text())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in all_of_them if e["ph"] == "M" and e["name"] == "thread_name"}
    events = [e for e in all_of_them if e["ph"] != "M"]
    assert len(events) == len(p.events) == 12
    assert {e["cat"] for e in events} == {"forward", "backward"}
    assert all(type(e["tid"]) is int and names[e["tid"]] == e["cat"] for e in events)
    assert all(e["ph"] == "X" and e["dur"] >= 0 and e["args"]["scope"] in ("model", "") for e in events)
    with pytest.raises(ValueError, match='by must be "operation", "scope" or "both"'):
        p.rows(by="line")  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [1, 25])
def test_the_columns_of_a_table_add_up(most: int) -> None:
    with mg.profile() as p:
        for _ in range(30):
            np.exp(np.tanh(mg.ones(4, requires_grad=True))).sum().backward()
    *rows, between, whole = [line.split() for line in p.table(most=most).splitlines()[1:]]
    assert len(rows) == min(most + 1, 3)
    assert sum(int(row[-5]) for row in rows) == int(whole[1]) == 90
    sums = sum(float(row[-4]) + float(row[-3]) for row in rows) + float(between[2])
    np.testing.assert_allclose(sums, float(whole[2]), atol=0.05)


def test_a_table_inside_of_the_block_is_that_up_to_now() -> None:
    with mg.profile() as p:
        _sleeping(mg.ones(3))
        time.sleep(0.02)
        shares = [float(line.split()[-1].rstrip("%")) for line in str(p).splitlines()[1:-1]]
        assert len(shares) == 2
        assert 99 < sum(shares) < 101
        assert min(shares) > 1
        now = p.seconds
        assert now >= 0.04
    assert now < p.seconds == p.seconds


def test_second_order_and_compiled_functions_are_seen() -> None:
    x = mg.tensor(2.0, requires_grad=True)
    step = mg.compile(lambda x: (x.detach() ** 3).sum())
    for _ in range(3):
        step(x)
    with mg.profile() as p:
        mg.grad(mg.grad(lambda x: x**3))(x)
        step(x)
    assert p.rows()["power"].calls >= 2
    assert sum(e.seconds for e in p.events) <= p.seconds


def test_it_runs_everywhere(backend: Any) -> None:
    with mg.profile() as p:
        np.tanh(backend.tensor(np.ones((3, 4)), requires_grad=True)).sum().backward()
    assert p.rows()["tanh"].bytes == 2 * 3 * 4 * 8
