"""Modes and scopes: restored on every exit, private to each thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad.modes import current_mode


@pytest.fixture
def x() -> mg.Tensor:
    return mg.tensor(np.ones(3), requires_grad=True)


# ---- recording ---------------------------------------------------------------------------------------------------


def test_no_grad_enable_grad_and_set_grad_enabled(x: mg.Tensor) -> None:
    with mg.no_grad():
        assert not (x * 2).requires_grad
        with mg.enable_grad():
            assert (x * 2).requires_grad
        with mg.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    mg.set_grad_enabled(False)
    assert not mg.is_grad_enabled()
    mg.set_grad_enabled(True)


def test_as_decorators(x: mg.Tensor) -> None:
    @mg.no_grad()
    def plain(t: mg.Tensor) -> mg.Tensor:
        """Doc."""
        return t * 2

    @mg.no_grad
    def bare(t: mg.Tensor) -> mg.Tensor:
        return t * 2

    @mg.set_grad_enabled(False)
    def switched(t: mg.Tensor) -> mg.Tensor:
        return t * 2

    assert mg.is_grad_enabled()
    assert not plain(x).requires_grad
    assert not bare(x).requires_grad
    assert not switched(x).requires_grad
    assert plain.__doc__ == "Doc."
    assert mg.is_grad_enabled()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_leaves_no_mode_or_scope_behind(x: mg.Tensor, error: type[BaseException]) -> None:
    before = current_mode()
    for mode in (mg.no_grad(), mg.set_grad_enabled(False), mg.scope("a"), mg.detect_anomaly(), mg.plain_path()):
        mg.set_grad_enabled(True)
        with pytest.raises(error), mode:
            raise error
    for leave in ("raise", "break"):
        try:
            for t, _ in mg.steps(range(5)):
                assert str(current_mode().scope) == f"t={t}"
                if t == 2:
                    if leave == "break":
                        break
                    raise error
        except error:
            pass
        assert current_mode().scope is None
    assert (current_mode().grad, current_mode().fast, current_mode().observers) == (before.grad, before.fast, ())


def test_an_exception_inside_backward_leaves_the_mode_as_it_was(x: mg.Tensor) -> None:
    def stop(g: mg.Tensor) -> None:
        raise KeyboardInterrupt

    y = x * 2
    y.register_hook(stop)
    settings = np.geterr()
    with pytest.raises(KeyboardInterrupt):
        y.sum().backward()
    assert mg.is_grad_enabled()
    assert np.geterr() == settings


# ---- scopes ------------------------------------------------------------------------------------------------------


def test_scopes_nest_and_say_where(x: mg.Tensor) -> None:
    with mg.scope("encoder"), mg.scope("lstm[1]"):
        for _, step in mg.steps(np.ones((3, 3))):
            y = x * step
    assert str(y.edge.scope) == "encoder.lstm[1] t=2"
    assert (x * 2).edge.scope is None
    assert current_mode().scope is None


def test_what_makes_the_next_step_belongs_to_no_step(x: mg.Tensor) -> None:
    scopes = []

    def source():  # type: ignore[no-untyped-def]
        for _ in range(3):
            yield x * 2

    for _, y in mg.steps(source()):
        scopes.append(y.edge.scope)
    assert scopes == [None, None, None]


def test_steps_over_a_tensor_gives_its_slices() -> None:
    xs = mg.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    total = sum((t + 1) * x.sum() for t, x in mg.steps(xs))
    total.backward()
    np.testing.assert_array_equal(xs.grad.numpy(), [[1, 1], [2, 2], [3, 3]])


def test_a_steps_iterator_that_is_closed_late_disturbs_nobody() -> None:
    loop = mg.steps(range(3))
    with mg.scope("outer"):
        next(loop)
        with mg.scope("inner"):
            loop.close()
            assert str(current_mode().scope) == "outer t=0 inner"
    assert current_mode().scope is None


def test_name_labels_a_value_and_its_node(x: mg.Tensor) -> None:
    y = mg.name(x * 2, "double")
    assert y.name == "double"
    with pytest.raises(RuntimeError, match="multiply 'double'"):
        y.sum().backward()
        y.sum().backward()
    with pytest.raises(TypeError, match="expected a Tensor"):
        mg.name(np.ones(2), "no")  # type: ignore[arg-type]


def test_scope_wants_a_string() -> None:
    with pytest.raises(TypeError, match="label must be a string"):
        mg.scope(3)  # type: ignore[arg-type]


# ---- threads -----------------------------------------------------------------------------------------------------


def test_two_threads_record_and_differentiate_at_once() -> None:
    results: dict[int, float] = {}
    errors: list[BaseException] = []
    barrier = threading.Barrier(2)

    @mg.fuse
    def gate(a: mg.Tensor, b: mg.Tensor) -> mg.Tensor:
        return np.tanh(a) * mg.sigmoid(b)

    def work(number: int) -> None:
        try:
            barrier.wait()
            with mg.no_grad() if number else mg.enable_grad(), mg.scope(f"thread {number}"):
                for k in range(60):
                    x = mg.tensor(np.full((4, 4), 0.1 * (number + 1)), requires_grad=True)
                    with mg.enable_grad():
                        y = x
                        for _ in range(20):
                            y = gate(y, x) + x @ y * 0.1
                        y.sum().backward()
                    assert mg.is_grad_enabled() == (number == 0)
                    assert str(y.edge.scope) == f"thread {number}"
                    value = float(x.grad.numpy().sum())
                    assert results.setdefault(number, value) == value, f"run {k} differs"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    for number in range(2):
        x = mg.tensor(np.full((4, 4), 0.1 * (number + 1)), requires_grad=True)
        y = x
        for _ in range(20):
            y = gate.plain(y, x) + x @ y * 0.1
        y.sum().backward()
        assert results[number] == pytest.approx(float(x.grad.numpy().sum()), rel=1e-12)
