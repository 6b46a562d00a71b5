"""detect_anomaly: the first NaN or Inf, and arrays changed behind backward's back."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg


def test_a_nan_in_forward_names_operation_scope_line_and_range() -> None:
    x = mg.tensor(np.array([1.0, -4.0]), requires_grad=True)
    with mg.detect_anomaly(), mg.scope("encoder"), pytest.raises(mg.AnomalyError) as caught:
        for t, _ in mg.steps(range(9)):
            if t == 7:
                np.log(x)  # this line
    message = str(caught.value)
    for part in ("log gave NaN in encoder t=7", "test_anomaly.py", "np.log(x)  # this line", "[-4, 1]"):
        assert part in message
    assert isinstance(caught.value, FloatingPointError)


def test_an_infinite_gradient_names_the_forward_line() -> None:
    with mg.detect_anomaly():
        x = mg.tensor(np.array([0.0, 1.0]), requires_grad=True)
        y = mg.name(np.sqrt(x), "root")
        with pytest.raises(mg.AnomalyError, match=r"the gradient of sqrt 'root', made at.*np.sqrt\(x\)(?s:.*)is Inf"):
            y.sum().backward()
    assert x.grad is None


def test_inputs_that_require_no_grad_are_watched_too() -> None:
    with mg.detect_anomaly(), pytest.raises(mg.AnomalyError, match="divide gave"):
        mg.tensor([0.0]) / 0.0


def test_a_write_through_data_is_found() -> None:
    w = mg.tensor(np.ones(3), requires_grad=True)
    with mg.detect_anomaly():
        y = (w * w).sum()
        w.data[0] = 5.0
        with pytest.raises(mg.AnomalyError, match=r"multiply(?s:.*)changed after it was recorded"):
            y.backward()


def test_fused_functions_run_unfused_so_that_the_line_inside_is_named() -> None:
    @mg.fuse
    def gate(x: mg.Tensor) -> mg.Tensor:
        y = np.log(x)
        return y * 2

    x = mg.tensor(np.array([-1.0]), requires_grad=True)
    with mg.detect_anomaly(), pytest.raises(mg.AnomalyError, match=r"log gave NaN.*y = np.log\(x\)"):
        gate(x)


def test_nothing_is_said_of_finite_numbers_and_nothing_stays_behind() -> None:
    x = mg.tensor(np.ones((2, 2)), requires_grad=True)
    with mg.detect_anomaly():
        np.split(np.tanh(x @ x), 2)[0].sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    with pytest.warns(RuntimeWarning, match="invalid value"):
        np.log(-x)


def test_embedding_indices_are_looked_at() -> None:
    import strict  # noqa: F401

    from minigrad import backend

    weight = mg.Tensor(backend.from_numpy(np.ones((3, 2)), "strict:0"), requires_grad=True)
    ids = backend.from_numpy(np.array([7]), "strict:0")
    with mg.detect_anomaly(), pytest.raises(IndexError, match="index 7 is out of range for 3 rows"):
        mg.embedding(weight, ids)


EXTREMES = {
    "max": lambda x: np.max(x, axis=1, where=SOME, initial=-9.0), "min": lambda x: np.min(x, where=SOME, initial=9.0),
    "max from -inf": lambda x: np.max(x, axis=1, where=SOME, initial=-np.inf),
    "max of nothing": lambda x: np.max(x[:0], axis=0, initial=0.5), "nanmax": lambda x: np.nanmax(x, axis=1),
    "nanmin": lambda x: np.nanmin(x, axis=1), "nanmin of some": lambda x: np.nanmin(x, where=SOME, initial=9.0),
}  # fmt: skip
SOME = np.array([True, False, True])


@pytest.mark.parametrize("name", EXTREMES)
def test_nothing_is_said_of_elements_that_do_not_count(name: str) -> None:
    data = np.array([[1.0, 2.0, 3.0], [6.0, np.nan if "nan" in name else 5.0, 4.0]])
    x = mg.tensor(data, requires_grad=True)
    with mg.detect_anomaly():
        found = EXTREMES[name](x)
        if found.requires_grad:
            found.sum().backward()
    np.testing.assert_array_equal(found.numpy(), EXTREMES[name](data))


def test_the_stand_in_of_elements_that_do_not_count_never_wins() -> None:
    inf, last = np.inf, np.finfo(float).max
    rows = np.array([[-inf, 1, 2], [-inf] * 3, [inf, inf, 0], [1, 0, 0], [-last] * 3, [last, last, -last]])
    some = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0], [1, 0, 1]], bool)
    for extreme in (np.max, np.min, np.nanmax, np.nanmin):
        for initial in (-inf, -last, -3.0, 0.5, last, inf):
            for axis in (0, 1, None):
                found = extreme(mg.tensor(rows), axis=axis, where=some, initial=initial)
                np.testing.assert_array_equal(found.data, extreme(rows, axis=axis, where=some, initial=initial))
    with pytest.raises(ValueError, match="initial="):
        np.nanmax(mg.tensor(rows), where=some)
