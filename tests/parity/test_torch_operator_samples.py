"""Every operator of PyTorch's that has a counterpart here, on all samples that PyTorch tests it with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch_counterparts import COUNTERPARTS
from torch_samples import OPERATORS, compare

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore:torch")]


def singular(parts: Any) -> Any:
    """U, σ and Vᴴ without signs, and without the vectors of no singular value."""
    U, values, V = parts
    k = values.shape[-1]
    return abs(U[..., :, :k]), values, abs(V[..., :k, :])


# Of both results, as far as they are determined.
DETERMINED: dict[str, Callable[[Any], Any]] = {
    "linalg.eigh": lambda parts: (parts[0], abs(parts[1])), "linalg.svd": singular,
}  # fmt: skip

# In place of 1e-12 of the largest number.
BOUNDS = {
    "logcumsumexp": 1e-11,  # differences of exponentials, in another order
    "nn.functional.hardsigmoid": 1e-7,  # PyTorch's derivative is 1/6 in float32
}


def repeated(matrix: Any) -> bool:
    """True if the largest or smallest singular values coincide."""
    values = torch.linalg.svdvals(matrix.detach())
    return bool(values.numel() > 1 and min(values[0] - values[1], values[-2] - values[-1]) < 1e-9)


def number(sample: Any) -> bool:
    return isinstance(sample.input, torch.Tensor) and sample.input.ndim == 0


# Samples that have no equal here, and why. Each names at least one that indeed differs.
WITHOUT: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        [
            *"mean logsumexp cumsum cumprod cummax cummin logcumsumexp norm".split(),
            *"linalg.vector_norm transpose index_select".split(),
        ],
        ("a number has no axis in NumPy", lambda s: number(s) and bool(s.args or s.kwargs)),
    ),
    "cat": ("an empty vector joins anything only in PyTorch", lambda s: any(x.shape == (0,) for x in s.input)),
    "tensordot": ("axes of size 1 meet others only in PyTorch", lambda s: s.kwargs == {"dims": ([0, 1], [2, 0])}),
    "linalg.matrix_power": ("M⁰ depends on nothing here, so it requires no grad", lambda s: s.args == (0,)),
    "linalg.matrix_rank": ("NumPy takes one tolerance", lambda s: s.kwargs.get("rtol") is not None),
    "cov": ("PyTorch's weights are of float32", lambda s: s.kwargs.get("aweights") is not None),
    "searchsorted": ("NumPy searches one row", lambda s: s.input.ndim != 1),
    "linalg.vander": ("NumPy takes one vector", lambda s: s.input.ndim != 1),
    "linalg.norm": (
        "another subgradient where singular values coincide",
        lambda s: bool(s.args) and s.args[0] in (2, -2) and s.input.ndim > 1 and repeated(s.input),
    ),
}  # fmt: skip


def operators() -> Any:
    for name in COUNTERPARTS:
        for each in OPERATORS[name]:
            variant = each.variant_test_name
            if variant != "complex":
                yield pytest.param(name, each, id=f"{name}{'.' + variant if variant else ''}")


@pytest.fixture(autouse=True)
def fixed() -> None:
    """The samples are random."""
    torch.manual_seed(1)


@pytest.mark.parametrize(("name", "operator"), [*operators()])
def test_all_samples(name: str, operator: Any) -> None:
    dtype = torch.float64 if torch.float64 in operator.supported_dtypes("cpu") else torch.int64
    grad = dtype == torch.float64 and operator.supports_autograd
    ours, theirs, bound = COUNTERPARTS[name], operator.op, BOUNDS.get(name, 1e-12)
    if name in DETERMINED:
        ours, theirs = (lambda *a, f=f, **k: DETERMINED[name](f(*a, **k)) for f in (ours, theirs))
    _, excepted = WITHOUT.get(name, ("", None))
    for k, sample in enumerate(operator.sample_inputs("cpu", dtype, requires_grad=grad)):
        if excepted is not None and excepted(sample):
            continue
        try:
            compare(ours, theirs, sample, bound)
        except Exception as error:
            error.add_note(f"sample {k} of {name}: {sample.summary()}")
            raise


@pytest.mark.parametrize("name", WITHOUT)
def test_exceptions_are_ones(name: str) -> None:
    reason, excepted = WITHOUT[name]
    for operator in OPERATORS[name]:
        for sample in operator.sample_inputs("cpu", torch.float64, requires_grad=True):
            if excepted(sample):
                try:
                    compare(COUNTERPARTS[name], operator.op, sample, 1e-12)
                except Exception:
                    return
    pytest.fail(f"{name}: no sample differs, so do not say that {reason}")
