"""Losses against PyTorch: values, gradients and second derivatives, for all options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import minigrad as mg
import nn

pytestmark = pytest.mark.parity

every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
every_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
TOLERANCE: dict[Any, float] = {np.float64: 1e-11, np.float32: 5e-6}


def close(ours: Any, theirs: Any, tolerance: float) -> None:
    ours, theirs = ours.numpy(), theirs.detach().numpy(force=True)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    scale = float(np.abs(theirs).max(initial=0.0))
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)


def agree(ours: Any, theirs: Any, x: Any, tolerance: float, second: bool = True) -> None:
    """The loss of x, the gradient of a random combination of it, and the gradient of a random combination of that."""
    rng = np.random.default_rng(3)
    a, b = mg.Tensor(x.copy(), requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    for _ in range(2 if second else 1):
        close(y, z, tolerance)
        weights = np.asarray(rng.uniform(0.5, 1.5, tuple(z.shape)) * rng.choice([-1, 1], tuple(z.shape)))
        weights = weights.astype(x.dtype)
        a.grad = None
        if y.requires_grad:
            (y * weights).sum().backward(create_graph=True)
        y = mg.zeros_like(a) if a.grad is None else a.grad
        (z,) = torch.autograd.grad((z * torch.tensor(weights)).sum(), b, create_graph=True, materialize_grads=True)
        if not z.requires_grad:
            break
    close(y, z, tolerance)


def classes_first(x: Any) -> Any:
    return torch.movedim(x, -1, 1) if x.ndim > 1 else x


# ---- element by element ------------------------------------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


# the loss, its options, what inputs and targets are made of, and whether the second derivatives are compared: at a kink
# of the first one there is no right answer
ELEMENTWISE: list[tuple[str, dict[str, Any], Any, Any, bool]] = [
    ("MSELoss", {}, lambda x: x, lambda x: x, True),
    ("L1Loss", {}, lambda x: x, lambda x: x, True),
    ("L1Loss", {}, np.rint, np.rint, True),
    ("HuberLoss", {"delta": 0.7}, lambda x: x, lambda x: x, True),
    ("HuberLoss", {"delta": 1.0}, np.rint, np.rint, False),
    ("SmoothL1Loss", {"beta": 0.7}, lambda x: x, lambda x: x, True),
    ("SmoothL1Loss", {"beta": 0.0}, np.rint, np.rint, True),
    ("SmoothL1Loss", {}, np.rint, np.rint, False),
    ("PoissonNLLLoss", {}, lambda x: x, lambda x: np.rint(np.exp(x)), True),
    ("PoissonNLLLoss", {"full": True}, lambda x: x, lambda x: np.exp(2 * x), True),
    ("PoissonNLLLoss", {"log_input": False, "full": True, "eps": 1e-3}, np.exp, lambda x: np.exp(2 * x), True),
    ("BCELoss", {}, sigmoid, sigmoid, True),
    ("BCELoss", {"weight": 1}, sigmoid, lambda x: (x > 0) * 1.0, True),
    ("BCEWithLogitsLoss", {}, lambda x: 4 * x, sigmoid, True),
    ("BCEWithLogitsLoss", {"weight": 1, "pos_weight": 1}, lambda x: x, lambda x: (x > 0) * 1.0, True),
    ("KLDivLoss", {}, lambda x: x, sigmoid, True),
    ("KLDivLoss", {"log_target": True}, lambda x: x, lambda x: x, True),
]


@every_dtype
@every_reduction
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch's, of its KLDivLoss
@pytest.mark.parametrize("case", ELEMENTWISE, ids=lambda case: f"{case[0]}-{'-'.join(case[1])}")
def test_elementwise(case: Any, reduction: str, dtype: Any) -> None:
    name, options, of_input, of_target, second = case
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((2, 4, 5))
    x, y = of_input(x).astype(dtype), of_target(y).astype(dtype)
    mine, their = dict(options), dict(options)
    for key in ("weight", "pos_weight"):
        if key in options:
            mine[key] = rng.uniform(0.5, 2, 5).astype(dtype)
            their[key] = torch.tensor(mine[key])
    ours = getattr(nn, name)(reduction=reduction, **mine)
    theirs = getattr(torch.nn, name)(reduction=reduction, **their)
    agree(lambda x: ours(x, y), lambda x: theirs(x, torch.tensor(y)), x, TOLERANCE[dtype], second)
    agree(lambda y: ours(mg.Tensor(x), y), lambda y: theirs(torch.tensor(x), y), y, TOLERANCE[dtype], False)


def test_batchmean() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((4, 5)), rng.random((4, 5))
    y[0, 0] = 0
    ours, theirs = nn.KLDivLoss(reduction="batchmean"), torch.nn.KLDivLoss(reduction="batchmean")
    agree(lambda x: ours(x, y), lambda x: theirs(x, torch.tensor(y)), x, 1e-12)


@every_dtype
def test_two_classes_at_zero_and_one(dtype: Any) -> None:
    p, y = np.array([0, 1, 0, 1, 1e-30, 0.5], dtype), np.array([0, 1, 1, 0, 0.3, 0.4], dtype)
    ours, theirs = nn.BCELoss(reduction="none"), torch.nn.BCELoss(reduction="none")
    agree(lambda p: ours(p, y), lambda p: theirs(p, torch.tensor(y)), p, 5e-6, second=False)


# ---- many classes ------------------------------------------------------------------------------------------------


@every_dtype
@every_reduction
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(7,), (6, 7), (3, 4, 7)], ids=str)
def test_cross_entropy(shape: Any, smoothing: float, weighted: bool, reduction: str, dtype: Any) -> None:
    rng = np.random.default_rng(11)
    x, weight = rng.standard_normal(shape).astype(dtype), rng.uniform(0.5, 2, 7).astype(dtype)
    t = np.asarray(rng.integers(0, 7, shape[:-1]))
    if t.ndim:
        t[::2] = np.where(rng.random(t[::2].shape) < 0.5, 3, t[::2])
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": 3}
    ours = nn.CrossEntropyLoss(weight if weighted else None, **options)
    theirs = torch.nn.CrossEntropyLoss(torch.tensor(weight) if weighted else None, **options)
    agree(lambda x: ours(x, t), lambda x: theirs(classes_first(x), torch.tensor(t)), x, TOLERANCE[dtype])
    if not smoothing:
        del options["label_smoothing"]
        nll = nn.NLLLoss(weight if weighted else None, **options)
        torch_nll = torch.nn.NLLLoss(torch.tensor(weight) if weighted else None, **options)
        agree(lambda x: nll(x, t), lambda x: torch_nll(classes_first(x), torch.tensor(t)), x, TOLERANCE[dtype])


@every_dtype
@every_reduction
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_distributions(smoothing: float, weighted: bool, reduction: str, dtype: Any) -> None:
    rng = np.random.default_rng(13)
    x, weight = rng.standard_normal((3, 4, 7)).astype(dtype), rng.uniform(0.5, 2, 7).astype(dtype)
    q = rng.dirichlet(np.ones(7), (3, 4)).astype(dtype)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    ours = nn.CrossEntropyLoss(weight if weighted else None, **options)
    theirs = torch.nn.CrossEntropyLoss(torch.tensor(weight) if weighted else None, **options)
    theirs_of = classes_first(torch.tensor(q))
    agree(lambda x: ours(x, q), lambda x: theirs(classes_first(x), theirs_of), x, TOLERANCE[dtype])
    agree(
        lambda q: ours(mg.Tensor(x), q),
        lambda q: theirs(classes_first(torch.tensor(x)), classes_first(q)),
        q, TOLERANCE[dtype], second=False,
    )  # fmt: skip


@every_dtype
def test_large_vocabulary_in_both_memory_orders(dtype: Any) -> None:
    rng = np.random.default_rng(17)
    x, t = (5 * rng.standard_normal((20, 1000))).astype(dtype), rng.integers(0, 1000, 20)
    ours, theirs = nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss()
    for array in (x, np.asfortranarray(x)):
        agree(lambda x: ours(x, t), lambda x: theirs(x, torch.tensor(t)), array, TOLERANCE[dtype])


# ---- more than two operands --------------------------------------------------------------------------------------


@every_dtype
@every_reduction
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("shape", [(4, 5), (4, 1), (4,)], ids=str)
def test_gaussian(shape: Any, full: bool, reduction: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 4, 5)).astype(dtype)
    var = rng.uniform(0, 1, shape).astype(dtype)  # some are below eps
    ours = nn.GaussianNLLLoss(full=full, eps=0.3, reduction=reduction)
    theirs = torch.nn.GaussianNLLLoss(full=full, eps=0.3, reduction=reduction)
    agree(lambda x: ours(x, y, var), lambda x: theirs(x, torch.tensor(y), torch.tensor(var)), x, TOLERANCE[dtype])
    agree(
        lambda v: ours(x, y, v), lambda v: theirs(torch.tensor(x), torch.tensor(y), v), var, TOLERANCE[dtype],
        second=False,
    )  # fmt: skip


@every_dtype
@every_reduction
@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_margin_ranking(margin: float, reduction: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, z = np.rint(5 * rng.standard_normal((2, 7, 3))).astype(dtype) / 5  # with ties at both margins
    y = rng.choice([-1, 1], (7, 3)).astype(dtype)
    ours = nn.MarginRankingLoss(margin=margin, reduction=reduction)
    theirs = torch.nn.MarginRankingLoss(margin=margin, reduction=reduction)
    agree(lambda x: ours(x, z, y), lambda x: theirs(x, torch.tensor(z), torch.tensor(y)), x, TOLERANCE[dtype])
    agree(lambda z: ours(x, z, y), lambda z: theirs(torch.tensor(x), z, torch.tensor(y)), z, TOLERANCE[dtype])


@every_dtype
@every_reduction
@pytest.mark.parametrize("margin", [0.0, 0.4, -0.3])
def test_cosine_embedding(margin: float, reduction: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2, 7, 3)).astype(dtype)
    y = rng.choice([-1, 1], 7)
    ours = nn.CosineEmbeddingLoss(margin=margin, reduction=reduction)
    theirs = torch.nn.CosineEmbeddingLoss(margin=margin, reduction=reduction)
    tolerance = 10 * TOLERANCE[dtype]
    agree(lambda x: ours(x, z, y), lambda x: theirs(x, torch.tensor(z), torch.tensor(y)), x, tolerance)
    agree(lambda z: ours(x, z, y), lambda z: theirs(torch.tensor(x), z, torch.tensor(y)), z, tolerance)


# ---- CTC ---------------------------------------------------------------------------------------------------------


@every_dtype
@every_reduction
@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("in_a_row", [False, True])
def test_ctc(blank: int, in_a_row: bool, reduction: str, dtype: Any) -> None:
    """Ragged, with repeated labels, an empty labelling, and one that is as long as its sequence allows."""
    rng = np.random.default_rng(1)
    x = 2 * rng.standard_normal((9, 5, 4)).astype(dtype)
    others = np.array([c for c in range(4) if c != blank])
    targets = others[rng.integers(0, 3, (5, 4))]
    targets[1] = others[[0, 0, 1, 2]]
    lengths, counts = np.array([9, 5, 7, 3, 9]), np.array([4, 4, 2, 0, 1])
    if in_a_row:
        targets = np.concatenate([row[:n] for row, n in zip(targets, counts, strict=True)])
    ours, theirs = nn.CTCLoss(blank, reduction), torch.nn.CTCLoss(blank, reduction)
    given = [torch.tensor(a) for a in (targets, lengths, counts)]
    agree(
        lambda x: ours(mg.log_softmax(x), targets, lengths, counts),
        lambda x: theirs(x.log_softmax(-1), *given), x, TOLERANCE[dtype], second=False,  # which PyTorch has not
    )  # fmt: skip
    alone = nn.CTCLoss(blank, reduction)(mg.log_softmax(mg.Tensor(x[:, 0])), targets.reshape(-1)[:4], 9, 4)
    one = theirs(
        torch.tensor(x[:, 0]).log_softmax(-1), torch.tensor(targets.reshape(-1)[:4]), torch.tensor(9), torch.tensor(4)
    )
    close(alone, one, TOLERANCE[dtype])


@every_dtype
@every_reduction
def test_ctc_without_an_alignment(reduction: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((6, 3, 4)).astype(dtype)
    given = [[1, 2, 3], [1, 1, 2], [3, 0, 0]], [6, 3, 4], [3, 3, 1]
    theirs = [torch.tensor(a) for a in given]
    with pytest.warns(RuntimeWarning, match="CTCLoss: sequence 1 has 3 steps, its 3 labels need 4"):
        infinite = nn.CTCLoss(reduction=reduction)(mg.log_softmax(mg.Tensor(x)), *given)
    np.testing.assert_allclose(
        infinite.numpy(), torch.nn.CTCLoss(reduction=reduction)(torch.tensor(x).log_softmax(-1), *theirs), rtol=1e-5
    )
    zero = torch.nn.CTCLoss(reduction=reduction, zero_infinity=True)
    agree(
        lambda x: nn.CTCLoss(reduction=reduction, zero_infinity=True)(mg.log_softmax(x), *given),
        lambda x: zero(x.log_softmax(-1), *theirs), x, TOLERANCE[dtype], second=False,
    )  # fmt: skip
