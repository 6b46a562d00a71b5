"""Complex numbers, and arrays of Python's objects: refused by name wherever they would enter a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn

C = np.exp(1j * np.eye(2))
ENTRIES: dict[str, Callable[[Any], Any]] = {
    "multiply": lambda x: x * (1 + 2j),
    "multiply, a scalar of NumPy's": lambda x: np.complex64(1j) * x,
    "add, on the left": lambda x: 1j + x,
    "add, an array": lambda x: C + x,
    "add, a list": lambda x: np.add(x, [1j, 2.0]),
    "subtract": lambda x: np.subtract(x, C),
    "power": lambda x: x ** (0.5 + 1j),
    "divide, two Tensors later": lambda x: (x / 2) / np.array(1j),
    "matmul": lambda x: x @ C,
    "matmul, on the left": lambda x: C @ x,
    "dot": lambda x: np.dot(x, C),
    "linear": lambda x: mg.linear(C, x),
    "einsum": lambda x: np.einsum("ij,jk", x, C),
    "where": lambda x: np.where(C.real > 0, x, C),
    "where, a number": lambda x: np.where(C.real > 0, x, 1j),
    "concatenate": lambda x: np.concatenate([x, C]),
    "stack": lambda x: np.stack([x, C]),
    "astype": lambda x: x.astype(complex),
    "sum": lambda x: np.sum(x, dtype=complex),
    "tensor": lambda x: mg.tensor(1j) * x,
    "full": lambda x: mg.full(2, 1j) * x,
    "linear, a layer": lambda x: nn.Linear(2, 2)(C),
    "gru": lambda x: nn.GRU(2, 2)(C[None]),
    "fused": lambda x: FUSED(x, C),
    "fused, a number": lambda x: mg.fuse(lambda a: a * 2j)(x),
    "backward": lambda x: (x * 2).backward(C),
    "hook": lambda x: hooked(x),
    "rule": lambda x: ROTATED(x).sum().backward(),
    "x[...] = value": lambda x: x.detach().__setitem__(0, C[0]),
    "eigenvalues": lambda x: np.linalg.eigvals(x),
    "objects": lambda x: x * np.array([1, 2], dtype=object),
    "objects, joined": lambda x: np.stack([x, np.array([[1, 2], [3, 4]], dtype=object)]),
    "a mask": lambda x: x * MASKED,
    "a mask, on the left": lambda x: MASKED + x,
    "a mask, in a product": lambda x: x @ MASKED,
    "a mask, joined": lambda x: np.concatenate([x, MASKED]),
    "a mask, chosen": lambda x: np.where(C.real > 0, x, MASKED),
    "a mask, fused": lambda x: FUSED(x, MASKED),
    "a mask, of a tensor": lambda x: mg.tensor(MASKED) * x,
    "dates": lambda x: np.array(["2026-11-30"], dtype="datetime64[D]") * x,
}
MASKED = np.ma.array(np.ones((2, 2)), mask=[[True, False], [False, False]])
FUSED = mg.fuse(lambda a, b: np.tanh(a) * b)
ROTATED = mg.primitive(lambda x: x * 2, x=lambda g: g * 1j)


def hooked(x: Any) -> None:
    x.register_hook(lambda g: g.data * 1j)
    (x * 2).sum().backward()


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("name", ENTRIES)
def test_they_are_refused(name: str, requires_grad: bool) -> None:
    if name in ("backward", "hook", "rule", "eigenvalues", "a mask, on the left") and not requires_grad:
        return
    x = mg.tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=requires_grad)
    with pytest.raises(TypeError):
        ENTRIES[name](x)


def test_the_message_names_the_operation_and_the_way_out() -> None:
    x = mg.ones(2, requires_grad=True)
    with mg.scope("encoder"), pytest.raises(TypeError, match=r"^multiply: .*complex128.*encoder.*imaginary"):
        np.abs(x * (3 + 4j)).sum()
    with pytest.raises(TypeError, match=r"^add: .*object.*astype"):
        x + np.array([1, 2], dtype=object)


def test_comparisons_and_arrays_alone_are_numpys() -> None:
    assert not (mg.ones(2) == np.array([1j, 2j])).any()
    assert np.fft.fft(mg.ones(2)).dtype.kind == "c"


KINDS: dict[str, Callable[[Any], Any]] = {
    "matrix": lambda a: a.view(np.matrix),
    "memory map": lambda a: a.view(np.memmap),
    "big-endian": lambda a: a.astype(">f8"),
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_arrays_compute_as_arrays(kind: str, compiled: bool, rng: Any) -> None:
    a, b = rng.standard_normal((2, 3, 3))

    def step(x: Any, other: Any) -> Any:
        y = (x * other + other @ x + x / np.square(other)).sum() + np.concatenate([x, other]).sum() ** 2
        y = y + FUSED(x, other).sum() + mg.linear(x, other).sum() + np.einsum("ij,ij->j", x, other).sum()
        y.backward()
        return y.detach()

    run = mg.compile(step) if compiled else step
    for _ in range(4):
        x, plain = (mg.tensor(KINDS[kind](a), requires_grad=True) for _ in range(2))
        found, expected = run(x, KINDS[kind](b)), step(plain, b)
        assert type(found.data) is type(x.data) is np.ndarray
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)
        np.testing.assert_allclose(x.grad.numpy(), plain.grad.numpy(), rtol=1e-12)


def test_tensors_are_of_this_machines_byte_order() -> None:
    """Kernels read native numbers, and a compiled layer looks at nothing but sizes."""
    x = np.random.default_rng(0).random((3, 2, 5))
    layer = nn.RNN(5, 70).to(np.dtype(">f8"))
    assert layer.weight_hh_l0.dtype.isnative
    assert mg.Tensor(x.astype(">f8")).dtype.isnative
    assert mg.tensor(x).astype(">f4").dtype == np.float32
    run = mg.compile(lambda x: layer(x)[0].detach())
    for _ in range(4):
        np.testing.assert_allclose(run(mg.Tensor(x.astype(">f8"))).data, layer(x)[0].data, rtol=1e-12)
