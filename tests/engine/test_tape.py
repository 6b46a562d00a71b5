"""The tape: order, release, memory, accumulation, hooks."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.backward import nodes_below

LONG = 100_000


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def chain(x: mg.Tensor, n: int) -> mg.Tensor:
    y = x
    for k in range(n):
        y = np.tanh(y) if k % 2 else y + 0.01
    return y


# ---- long chains -------------------------------------------------------------------------------------------------


def test_a_long_chain_runs_forward_backward_is_printed_and_freed() -> None:
    x = mg.tensor(np.full((2, 2), 0.3), requires_grad=True)
    y = chain(x, LONG)
    assert "made_by=tanh" in repr(y)
    y.sum().backward(retain_graph=True)
    expected = np.full((2, 2), 0.3)
    slope = np.ones((2, 2))
    for _ in range(LONG // 2):
        expected = np.tanh(expected + 0.01)
        slope = slope * (1 - expected**2)
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-12)
    del y  # frees the unreleased graph: no recursion there either


def test_gradients_of_a_long_chain_can_be_recorded() -> None:
    x = mg.tensor(1.0, dtype=np.float64, requires_grad=True)
    y = x
    for _ in range(3000):
        y = y * 1.001
    y.backward(create_graph=True)
    assert x.grad.item() == pytest.approx(1.001**3000)
    assert x.grad.requires_grad is False  # linear: the gradient does not vary with x


def test_an_intermediate_dies_with_its_last_user_without_the_garbage_collector(no_gc: None) -> None:
    x = mg.tensor(np.ones(3), requires_grad=True)
    y = np.exp(x)
    tensor, node, array = weakref.ref(y), weakref.ref(y.data), None
    z = (y * 2).sum()
    del y
    assert tensor() is None  # nobody holds the Tensor
    assert node() is not None  # its array is kept by exp's own rule
    z.backward()
    assert node() is None  # and released by backward
    del array


def test_memory_is_released_while_the_tape_is_replayed(no_gc: None) -> None:
    x = mg.tensor(np.ones((16, 16), np.float32), requires_grad=True)
    chain(x, 100).sum().backward()  # warm up
    x.grad = None
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = chain(x, 20_000).sum()
        forward = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.reset_peak()
        y.backward()
        held, peak = (m - before for m in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert peak <= 1.2 * forward
    assert held < 0.02 * forward


# ---- order and structure -----------------------------------------------------------------------------------------


def test_a_node_waits_for_all_of_its_gradient() -> None:
    x = mg.tensor(2.0, dtype=np.float64, requires_grad=True)
    a = x * x
    b = a * 3.0  # a is used by an early and a late operation
    c = b * a
    c.backward()
    assert x.grad.item() == pytest.approx(3 * 4 * 2.0**3)


def test_nodes_are_in_the_order_of_recording_and_hold_no_tensor() -> None:
    x = mg.tensor(np.ones(2), requires_grad=True)
    y = (np.sin(x) + x).sum()
    nodes = nodes_below([y.edge])
    assert [n.primitive.name for n in nodes] == ["sin", "add", "sum"]
    referents = [r for n in nodes for r in gc.get_referents(n) if isinstance(r, mg.Tensor)]
    assert referents == []


def test_unused_outputs_of_a_node_arrive_as_no_gradient() -> None:
    x = mg.tensor(np.arange(6.0), requires_grad=True)
    _, middle, _ = np.split(x, 3)
    (middle * np.array([5.0, 7.0])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0, 5, 7, 0, 0])


# ---- accumulation ------------------------------------------------------------------------------------------------


def test_adding_gradients_never_changes_an_array_that_another_holds() -> None:
    """`x + y` hands the same array to both parents; x gets more afterwards."""
    x, y = mg.tensor(np.ones(3), requires_grad=True), mg.tensor(np.ones(3), requires_grad=True)
    z = x + y
    (z + x * 10 + x * 100).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [111, 111, 111])
    np.testing.assert_array_equal(y.grad.numpy(), [1, 1, 1])


def test_every_leaf_gets_an_array_of_its_own() -> None:
    x, y = mg.tensor(np.ones(3), requires_grad=True), mg.tensor(np.ones(3), requires_grad=True)
    seed = np.full(3, 2.0)
    (x + y).backward(seed)
    x.grad.data[:] = 99.0
    np.testing.assert_array_equal(y.grad.numpy(), [2, 2, 2])
    np.testing.assert_array_equal(seed, [2, 2, 2])
    x.backward(seed)
    assert not np.shares_memory(x.grad.data, seed)


def test_grad_accumulates_and_is_replaced_never_changed() -> None:
    x = mg.tensor(np.ones(2), requires_grad=True)
    (x * 3).sum().backward()
    first = x.grad
    (x * 4).sum().backward()
    np.testing.assert_array_equal(first.numpy(), [3, 3])
    np.testing.assert_array_equal(x.grad.numpy(), [7, 7])


def test_broadcast_and_view_gradients_belong_to_the_leaf() -> None:
    x = mg.tensor(np.ones((2, 3)), requires_grad=True)
    x.sum().backward()
    x.grad.data += 1  # a broadcast view would refuse
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 2.0))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_gradient_has_its_tensors_dtype_and_shape(dtype: type) -> None:
    x = mg.tensor(np.ones((3, 1)), dtype=dtype, requires_grad=True)
    y = mg.tensor(np.ones((2, 1, 4)), requires_grad=True)
    (x * y).sum().backward()
    assert (x.grad.dtype, x.grad.shape) == (dtype, (3, 1))
    assert (y.grad.dtype, y.grad.shape) == (np.float64, (2, 1, 4))


# ---- whose array a gradient is -----------------------------------------------------------------------------------


def test_an_array_that_a_rule_of_the_users_gives_stays_as_it_is() -> None:
    """It may be an array that the user has; nobody adds to it, and no gradient is the array itself."""
    constant = np.full(3, 2.0, np.float32)

    @mg.primitive(x=lambda g: constant)
    def doubled(x: Any) -> Any:
        return (x * 2).sum()

    a = mg.ones(3, requires_grad=True)
    (doubled(a) + a.sum() + a.sum()).backward()
    assert a.grad.tolist() == [4.0] * 3
    assert constant.tolist() == [2.0] * 3
    a.grad = None
    doubled(a).backward()
    assert not np.shares_memory(a.grad.data, constant)


def test_one_array_for_several_operands_is_added_to_for_each_alone() -> None:
    @mg.primitive(joint="xs", xs=lambda g, xs: [both := g * np.ones_like(xs[0]), both])
    def total(xs: Any) -> Any:
        return (xs[0] + xs[1]).sum()

    a, b = mg.ones(3, requires_grad=True), mg.ones(3, requires_grad=True)
    ((a * 3).sum() + total((a, b)) + (a * 4).sum()).backward()
    assert a.grad.tolist() == [8.0] * 3
    assert b.grad.tolist() == [1.0] * 3
    assert not np.shares_memory(a.grad.data, b.grad.data)


# ---- arguments of backward ---------------------------------------------------------------------------------------


def test_inputs_limits_who_gets_a_gradient_and_what_is_visited() -> None:
    x, w = mg.tensor(2.0, requires_grad=True), mg.tensor(3.0, requires_grad=True)
    h = x * w
    y = h * h
    y.backward(inputs=[h, x])
    assert h.grad.item() == 12.0
    assert x.grad.item() == 36.0
    assert w.grad is None


def test_inputs_above_a_released_graph_do_not_need_it() -> None:
    x = mg.tensor(2.0, requires_grad=True)
    h = x * x
    h.backward()
    y = h * 3
    y.backward(inputs=[h])
    assert h.grad.item() == 3.0


def test_retain_graph_and_create_graph_keep_the_graph() -> None:
    x = mg.tensor(3.0, requires_grad=True)
    y = x**3
    y.backward(retain_graph=True)
    y.backward(create_graph=True)
    assert x.grad.item() == 54.0
    x.grad.backward()  # 27 + d(3x²)/dx, accumulated on the gradient so far
    y.backward()
    with pytest.raises(RuntimeError, match="released"):
        y.backward()


# ---- hooks -------------------------------------------------------------------------------------------------------


def test_hooks_see_the_whole_gradient_and_may_replace_it() -> None:
    x = mg.tensor(np.ones(2), requires_grad=True)
    h = x * 2
    seen = []
    remove = h.register_hook(lambda g: seen.append(g.numpy()) or g * 10)
    x.register_hook(lambda g: g + 1)
    (h * 3 + h * 4).sum().backward()
    np.testing.assert_array_equal(seen, [[7, 7]])
    np.testing.assert_array_equal(x.grad.numpy(), [141, 141])
    remove()
    x.grad = None
    (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 3])


def test_a_hook_cannot_corrupt_what_others_see() -> None:
    x, y = mg.tensor(np.ones(2), requires_grad=True), mg.tensor(np.ones(2), requires_grad=True)
    z = x + y

    def spoil(g: mg.Tensor) -> None:
        g.data[:] = 99

    z.register_hook(spoil)
    x.register_hook(spoil)
    z.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1])
    np.testing.assert_array_equal(y.grad.numpy(), [1, 1])


def test_a_hook_that_returns_another_shape_is_an_error() -> None:
    x = mg.tensor(np.ones(2), requires_grad=True)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"hook returned shape \(\)"):
        (x * 2).sum().backward()


def test_retain_grad_of_results_and_of_one_of_several_outputs() -> None:
    x = mg.tensor(np.arange(4.0), requires_grad=True)
    a, b = np.split(x, 2)
    b.retain_grad()
    c = a * b
    c.retain_grad()
    (c * 3).sum().backward()
    np.testing.assert_array_equal(c.grad.numpy(), [3, 3])
    np.testing.assert_array_equal(b.grad.numpy(), 3 * a.numpy())
    assert a.grad is None


def test_hooks_work_when_gradients_are_recorded() -> None:
    x = mg.tensor(2.0, dtype=np.float64, requires_grad=True)
    y = x * x
    y.register_hook(lambda g: g * x)
    (y * 1.0).backward(create_graph=True)  # x.grad = x · 2x
    slope = x.grad
    x.grad = None
    slope.backward()
    assert x.grad.item() == 8.0


def test_nothing_is_written_when_backward_fails() -> None:
    x, w = mg.tensor(1.0, requires_grad=True), mg.tensor(1.0, requires_grad=True)
    h = x * 2
    h.backward()
    x.grad = None
    with pytest.raises(RuntimeError, match="released"):
        (h * w).backward()
    assert w.grad is None
    assert x.grad is None


# ---- whose array a gradient is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [True, False])
def test_gradients_are_copied_unless_they_are_promised_to_be_new(fresh: bool) -> None:
    made: list[Any] = []

    def double(g: Any) -> Any:
        made.append(2 * g)
        return made[-1]

    x = mg.randn(3, 4, requires_grad=True)
    mg.primitive(lambda x: 2 * x, fresh=fresh, x=double)(x).sum().backward()
    assert (x.grad.data is made[0]) == fresh
    np.testing.assert_array_equal(x.grad.numpy(), np.full((3, 4), 2))


def test_a_new_gradient_that_two_operands_share_is_copied_and_the_others_are_not() -> None:
    made: list[Any] = []

    def thrice(g: Any, xs: Any) -> Any:
        both, one = 3 * g, 3 * g
        made.extend([both, both, one])
        return [both, both, one]

    a, b, c = (mg.randn(2, requires_grad=True) for _ in range(3))
    summed = mg.primitive(lambda xs: 3 * sum(xs), joint="xs", fresh=True, xs=thrice)
    summed((a, b, c)).sum().backward()
    assert c.grad.data is made[2]
    assert a.grad.data is not b.grad.data
    for leaf in (a, b, c):
        np.testing.assert_array_equal(leaf.grad.numpy(), [3, 3])
    summed((a, a, c)).sum().backward()  # one leaf twice: 3 + 6
    np.testing.assert_array_equal(a.grad.numpy(), [9, 9])
