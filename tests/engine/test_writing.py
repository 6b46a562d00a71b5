"""Writing in place: where it is allowed, and that backward notices."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg


def test_adding_to_a_result_rebinds_the_name() -> None:
    x = mg.tensor(np.ones(3), requires_grad=True)
    y = x * 2
    kept = y
    y += x
    y *= 3
    y -= 1
    y /= 2
    np.testing.assert_array_equal(kept.numpy(), [2, 2, 2])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4.5, 4.5, 4.5])


def test_a_constant_can_collect_what_requires_grad() -> None:
    x = mg.tensor(np.ones(3), requires_grad=True)
    total = mg.zeros(3, dtype=np.float64)
    for _ in range(3):
        total += x
    total.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 3, 3])


def test_a_leaf_is_written_under_no_grad_only() -> None:
    w = mg.tensor(np.ones(3), requires_grad=True)
    array = w.data
    for write in ("w += 1", "w -= 1", "w *= 2", "w /= 2", "w[0] = 5"):
        with pytest.raises(RuntimeError, match=r"leaf that requires grad.*no_grad"):
            exec(write, {"w": w})
    with mg.no_grad():
        w -= 0.5 * mg.ones(3)
        w[1] = 7
        w[np.array([True, False, False])] = -1
    assert w.data is array
    np.testing.assert_array_equal(w.numpy(), [-1, 7, 0.5])


def test_a_result_is_not_written() -> None:
    x = mg.tensor(np.ones(3), requires_grad=True)
    y = x * 2
    with pytest.raises(RuntimeError, match="a result on the tape"):
        y[0] = 5
    with pytest.raises(RuntimeError, match=r"lose the gradient of value"):
        mg.zeros(3)[0] = y[0]


def test_out_is_refused() -> None:
    x = mg.tensor(np.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match="out="):
        np.add(x, x, out=x)
    with pytest.raises(TypeError, match="out="):
        np.sum(x, out=np.zeros(()))


def test_backward_refuses_an_array_that_was_overwritten_and_names_both_lines() -> None:
    w = mg.tensor(np.ones((2, 2)), requires_grad=True)
    x = mg.tensor(np.ones((2, 2)), requires_grad=True)
    y = (x @ w).sum()
    with mg.no_grad():
        w -= 1.0
    with pytest.raises(RuntimeError, match=r"matmul.*y = \(x @ w\)(?s:.*)overwritten in place(?s:.*)w -= 1.0"):
        y.backward()


def test_a_write_into_a_view_or_its_base_is_noticed() -> None:
    for write in ("base", "view"):
        base = mg.tensor(np.ones((4, 2)))
        view = base[1]
        x = mg.tensor(np.ones(2), requires_grad=True)
        y = (x * (view if write == "base" else base)).sum()
        with mg.no_grad():
            (base if write == "base" else view)[0] = 5.0
        with pytest.raises(RuntimeError, match="overwritten in place"):
            y.backward()


def test_a_write_before_recording_or_into_what_no_rule_names_is_no_error() -> None:
    w = mg.tensor(np.ones(3), requires_grad=True)
    with mg.no_grad():
        w += 1
    y = (w * w).sum()
    z = (w + 1).sum()  # addition keeps nothing
    y.backward()
    with mg.no_grad():
        w += 1
    z.backward()
    np.testing.assert_array_equal(w.grad.numpy(), [5, 5, 5])


def test_a_training_loop_may_write_after_each_backward() -> None:
    w = mg.tensor(np.ones(3), requires_grad=True)
    for _ in range(3):
        (w * w).sum().backward()
        with mg.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
    np.testing.assert_allclose(w.numpy(), 0.8**3)


def test_numpy_and_asarray_do_not_open_a_way_around() -> None:
    x = mg.tensor(np.ones(3))
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 5
    own = x.numpy()
    own[0] = 5
    assert x[0].item() == 1


def test_writes_are_forgotten_with_their_array() -> None:
    from minigrad.tape import WRITES

    before = len(WRITES.log)
    for _ in range(10):
        t = mg.ones(3)
        t[0] = 2
    del t
    assert len(WRITES.log) == before
