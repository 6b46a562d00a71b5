"""Fast paths of backward: gathered products, shared buffers, row-sparse gradients; each against the plain path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import gradients
from minigrad.gradients import Products, Scattered


def rnn(p: dict[str, mg.Tensor], x: mg.Tensor, form: str) -> mg.Tensor:
    h = mg.zeros((x.shape[1], p["W_s"].shape[0]), dtype=x.dtype)
    for _, x_t in mg.steps(x):
        if form == "plain":
            h = np.tanh(x_t @ p["W_in"] + h @ p["W_s"] + p["b"])
        elif form == "transposed":  # PyTorch's layout: x @ W.T, a new transpose at each step
            h = np.tanh(x_t @ p["W_in"].T.T + h @ p["W_s"].mT.swapaxes(0, 1) + p["b"])
        elif form == "left":  # column states: W h
            h = np.tanh(p["W_in"].T @ x_t.T + p["W_s"].T @ h.T + p["b"].reshape(-1, 1)).T
        elif form == "shared":  # the weight itself is a result, as with a dropped-out weight
            h = np.tanh(x_t @ p["W_in"] + h @ (p["W_shared"]) + p["b"])
    return (h * h).sum()


def parameters(dtype: type) -> dict[str, mg.Tensor]:
    p = {"W_in": mg.randn(3, 4), "W_s": mg.randn(4, 4), "b": mg.randn(4)}
    return {name: mg.tensor(w.numpy() * 0.5, dtype=dtype, requires_grad=True) for name, w in p.items()}


@pytest.mark.parametrize("form", ["plain", "transposed", "left", "shared"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gathered_weight_gradients_equal_the_plain_ones(form: str, dtype: type) -> None:
    p, x = parameters(dtype), mg.randn(7, 2, 3, dtype=dtype)
    steps = len(x)

    def gradient(fast: bool, p: dict[str, mg.Tensor]) -> dict[str, Any]:
        full = dict(p)
        if form == "shared":
            full["W_shared"] = p["W_s"] * 0.7
        loss = rnn(full, mg.tensor(x.numpy().astype(p["b"].dtype)), form)
        if fast:
            loss.backward()
        else:
            with mg.plain_path():
                loss.backward()
        found = {name: w.grad.numpy() for name, w in p.items()}
        for w in p.values():
            w.grad = None
        return found

    fast, plain = gradient(True, p), gradient(False, p)
    exact = gradient(
        False, {name: mg.tensor(w.numpy().astype(np.float64), requires_grad=True) for name, w in p.items()}
    )
    for name in p:
        scale = np.abs(exact[name]).max()
        if dtype is np.float64:
            np.testing.assert_allclose(fast[name], plain[name], rtol=0, atol=1e-12 * scale)
        else:
            assert np.abs(fast[name] - exact[name]).max() <= 4e-7 * steps * scale


def test_a_shared_weight_is_done_as_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    sums: list[int] = []
    dense = Products.dense

    def counting(self: Products) -> Any:
        sums.append(len(self.pairs))
        return dense(self)

    monkeypatch.setattr(Products, "dense", counting)
    p, x = parameters(np.float64), mg.randn(7, 2, 3, dtype=np.float64)
    rnn(p, x, "transposed").backward()
    assert sums.count(7) == 2  # one for W_in, one for W_s; the rest are the states' own
    assert max(sums) == 7


def test_gathering_needs_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Products, "LIMIT", 30)
    p, x = parameters(np.float64), mg.randn(9, 2, 3, dtype=np.float64)
    rnn(p, x, "plain").backward()
    limited = {name: w.grad.numpy() for name, w in p.items()}
    for w in p.values():
        w.grad = None
    with mg.plain_path():
        rnn(p, x, "plain").backward()
    for name, w in p.items():
        np.testing.assert_allclose(limited[name], w.grad.numpy(), rtol=1e-12, atol=1e-14)


ATTENTION = {
    "values": lambda q, m: np.tanh(q @ m.swapaxes(1, 2)) @ m,
    "permuted": lambda q, m: q @ m.transpose(0, 2, 1) @ m.transpose(0, 2, 1).transpose(0, 2, 1),
    "heads": lambda q, m: (q[:, None] @ m[:, None].swapaxes(-1, -2) @ m[:, None])[:, 0],
    "turned": lambda q, m: q @ m.transpose(1, 2, 0).transpose(2, 1, 0) @ m,
    "one for all": lambda q, m: q @ m[:1].swapaxes(1, 2) @ m[:1],
}


@pytest.mark.parametrize("form", ATTENTION)
@pytest.mark.parametrize("limit", [0, 60, 1 << 26])
def test_gathered_gradients_of_stacks_equal_the_plain_ones(
    form: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory (N, S, D) that every step attends to, also where it was transposed, and where one serves the batch."""
    monkeypatch.setattr(Products, "LIMIT", limit)
    memory, query = (mg.randn(*s, dtype=np.float64, requires_grad=True) for s in ((3, 5, 4), (3, 1, 4)))

    def gradient() -> list[Any]:
        q, total = query, mg.zeros((), dtype=np.float64)
        for _ in range(6):
            q = np.tanh(ATTENTION[form](q, memory))
            total = total + (q * q).sum()
        total.backward()
        found = [v.grad.numpy() for v in (memory, query)]
        memory.grad = query.grad = None
        return found

    fast = gradient()
    with mg.plain_path():
        plain = gradient()
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert mg.gradgradcheck(lambda q, m: ATTENTION[form](q, m), (query, memory))


def test_what_is_attended_to_gets_one_product_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = mg.randn(3, 5, 4, requires_grad=True)
    joined: list[int] = []
    plain = Products._of_stacks

    def noted(self: Products) -> Any:
        joined.append(len(self.pairs))
        return plain(self)

    monkeypatch.setattr(Products, "_of_stacks", noted)
    q = mg.randn(3, 1, 4)
    for _ in range(6):
        q = np.tanh(q @ memory.swapaxes(1, 2)) @ memory
    q.sum().backward()
    assert joined == [12]  # two products a step


def test_a_transpose_of_what_was_summed_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transpose that all steps share gets its gradient as a sum, if so many rows waited that they were summed."""
    monkeypatch.setattr(Products, "LIMIT", 0)
    w, x = mg.randn(4, 3, dtype=np.float64, requires_grad=True), mg.randn(2, 3, dtype=np.float64)
    turned = w.T
    (x @ turned + 2 * x @ turned).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), np.ones((4, 2)) @ (3 * x.numpy()), rtol=1e-12)


def test_gathered_products_are_differentiable_again() -> None:
    x = mg.tensor(np.random.default_rng(0).standard_normal((3, 2, 3)))
    p = parameters(np.float64)
    assert mg.gradgradcheck(
        lambda a, b, c: rnn({"W_in": a, "W_s": b, "b": c}, x, "transposed"), (p["W_in"], p["W_s"], p["b"])
    )


def test_a_weight_used_in_a_product_and_otherwise() -> None:
    w = mg.tensor(np.random.default_rng(0).standard_normal((3, 3)), requires_grad=True)
    assert mg.gradcheck(lambda w: (w @ w @ w.T)[1] * w[0] + w.sum() + np.tanh(w) @ w, w)


# ---- slices ------------------------------------------------------------------------------------------------------


def test_slices_of_one_tensor_share_one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    dense = Scattered.dense

    def counting(self: Scattered) -> Any:
        made.append(self.shape)
        return dense(self)

    monkeypatch.setattr(Scattered, "dense", counting)
    x = mg.tensor(np.random.default_rng(0).standard_normal((50, 2, 3)), requires_grad=True)
    sum(((t + 1) * x[t] ** 2).sum() for t in range(50)).backward()
    assert made == [(50, 2, 3)]
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy() * np.arange(1, 51)[:, None, None])


@pytest.mark.parametrize(
    "index",
    [3, -1, slice(1, 7, 2), (slice(None), 1), (..., 0), None, [0, 0, 3], np.array([[1, 1], [1, 2]]),
     (np.array([0, 0, 2]), np.array([1, 1, 3])), (slice(None), [0, 0, 1]), np.arange(20).reshape(5, 4) % 3 == 0],
)  # fmt: skip
def test_an_index_used_twice_and_overlapping_adds_up(index: Any) -> None:
    x = mg.tensor(np.random.default_rng(0).standard_normal((5, 4)), requires_grad=True)
    y = x[index] * 2 + x[index]
    (y.sum() + (x[1:3] * 5).sum()).backward()
    expected = np.zeros((5, 4))
    np.add.at(expected, index, 3.0)
    expected[1:3] += 5
    np.testing.assert_array_equal(x.grad.numpy(), expected)


# ---- row-sparse gradients ----------------------------------------------------------------------------------------


def test_sparse_embedding_gradients_equal_dense_ones() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 6, (5, 4))
    weight = mg.tensor(rng.standard_normal((6, 3)), requires_grad=True)
    factor = rng.standard_normal((5, 4, 3))
    (mg.embedding(weight, ids, padding_idx=2) * factor).sum().backward()
    dense, weight.grad = weight.grad.numpy(), None
    (mg.embedding(weight, ids, padding_idx=2, sparse=True) * factor).sum().backward()
    sparse = weight.grad
    assert isinstance(sparse, mg.RowSparse)
    assert sparse.shape == (6, 3)
    np.testing.assert_allclose(sparse.dense(), dense, rtol=1e-14)
    assert not dense[2].any()
    distinct = sparse.coalesce()
    assert list(distinct.indices) == sorted(set(ids.ravel()))
    np.testing.assert_allclose(distinct.dense(), dense, rtol=1e-14)
    onehot = np.eye(6)[ids] * (ids != 2)[..., None]
    np.testing.assert_allclose(dense, np.einsum("tnv,tnd->vd", onehot, factor), rtol=1e-13, atol=1e-14)


def test_row_sparse_gradients_accumulate_over_steps_and_backwards() -> None:
    weight = mg.tensor(np.zeros((4, 2)), requires_grad=True)
    for _ in range(2):
        loss = sum((mg.embedding(weight, [k, k + 1], sparse=True) * (k + 1)).sum() for k in range(3))
        loss.backward()
    assert isinstance(weight.grad, mg.RowSparse)
    np.testing.assert_array_equal(weight.grad.dense()[:, 0], [2, 6, 10, 6])
    (weight * 1).sum().backward()  # a dense one makes it dense
    np.testing.assert_array_equal(weight.grad.numpy()[:, 0], [3, 7, 11, 7])


def test_row_sparse_and_dense_use_of_one_weight() -> None:
    weight = mg.tensor(np.ones((4, 2)), requires_grad=True)
    (mg.embedding(weight, [1, 1], sparse=True).sum() + (weight * 5).sum()).backward()
    np.testing.assert_array_equal(weight.grad.numpy()[:, 0], [5, 7, 5, 5])


def test_second_order_through_a_sparse_embedding_is_dense() -> None:
    weight = mg.tensor(np.random.default_rng(0).standard_normal((4, 2)), requires_grad=True)
    assert mg.gradgradcheck(lambda w: np.tanh(mg.embedding(w, [0, 3, 3], sparse=True)), weight)


def test_row_sparse_checks_what_it_is_given() -> None:
    rows = np.ones((2, 3))
    with pytest.raises(IndexError, match="RowSparse: index 4 is out of range for 4 rows"):
        mg.RowSparse(np.array([0, 4]), rows, (4, 3))
    with pytest.raises(TypeError, match="indices must be integers"):
        mg.RowSparse(np.array([0.0, 1.0]), rows, (4, 3))
    with pytest.raises(ValueError, match=r"rows of shape \(2, 3\) do not fit 2 indices into \(4, 2\)"):
        mg.RowSparse(np.array([0, 1]), rows, (4, 2))
    total = mg.RowSparse(np.array([1, 1]), rows, (4, 3)) * 2.0
    np.testing.assert_array_equal((total + total).dense()[1], [8, 8, 8])
    assert "2 rows of shape (3,)" in repr(total)


def test_every_kind_of_gradient_adds_to_every_other() -> None:
    def kinds() -> dict[str, Any]:
        one = np.ones((3, 2))
        return {
            "array": one.copy(),
            "products": Products([(np.ones((4, 3)), np.ones((4, 2)))]),
            "placed": Scattered((3, 2), 1, np.ones(2)),
            "rows": mg.RowSparse(np.array([0, 0]), np.ones((2, 2)), (3, 2)),
        }

    def dense(g: Any) -> Any:
        return g if isinstance(g, np.ndarray) else g.dense()

    for first in kinds():
        for second in kinds():
            expected = dense(kinds()[first]) + dense(kinds()[second])
            total = gradients.add(kinds()[first], kinds()[second])
            np.testing.assert_array_equal(dense(total), expected, err_msg=f"{first} + {second}")
            np.testing.assert_array_equal(
                dense(gradients.add(total, kinds()[second])), expected + dense(kinds()[second])
            )
