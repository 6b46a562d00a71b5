"""Optimizers and clipping against PyTorch: 200 steps on a small nonlinear problem, dense and row-sparse."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import minigrad as mg
import nn
from nn.clipping import clip_grad_norm_, clip_grad_value_
from nn.modules import Parameter
from nn.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, NAdam, RAdam, RMSprop

pytestmark = pytest.mark.parity

STEPS = 200


class Case(NamedTuple):
    ours: Any
    options: dict[str, Any]

    @property
    def theirs(self) -> Any:
        return getattr(torch.optim, self.ours.__name__)

    def __str__(self) -> str:
        return "_".join([self.ours.__name__, *[f"{k}={v}" for k, v in self.options.items()]])


CASES = [
    Case(SGD, {}),
    Case(SGD, {"lr": 0.05}),
    Case(SGD, {"lr": 0.05, "weight_decay": 0.1, "maximize": True}),
    Case(SGD, {"lr": 0.02, "momentum": 0.9}),
    Case(SGD, {"lr": 0.02, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}),
    Case(SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    Case(Adam, {}),
    Case(Adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05}),
    Case(Adam, {"lr": 0.02, "amsgrad": True}),
    Case(Adam, {"lr": 0.002, "amsgrad": True, "weight_decay": 0.05, "maximize": True}),
    Case(AdamW, {}),
    Case(AdamW, {"lr": 0.02, "weight_decay": 0.2, "amsgrad": True}),
    Case(AdamW, {"lr": 0.002, "weight_decay": 0.0, "maximize": True}),
    Case(Adagrad, {}),
    Case(Adagrad, {"lr": 0.05, "lr_decay": 0.01, "weight_decay": 0.05, "initial_accumulator_value": 0.3, "eps": 1e-3}),
    Case(Adagrad, {"lr": 0.005, "maximize": True}),
    Case(RMSprop, {}),
    Case(RMSprop, {"lr": 0.005, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.05, "maximize": True}),
    Case(RMSprop, {"lr": 0.003, "momentum": 0.8, "eps": 1e-2}),
    Case(RMSprop, {"lr": 0.003, "momentum": 0.8, "centered": True, "eps": 1e-2}),
    Case(RMSprop, {"lr": 0.003, "centered": True, "eps": 1e-2}),
    Case(Adadelta, {}),
    Case(Adadelta, {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.05}),
    Case(Adadelta, {"lr": 0.1, "maximize": True}),
    Case(NAdam, {}),
    Case(NAdam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05, "momentum_decay": 0.02}),
    Case(NAdam, {"lr": 0.003, "weight_decay": 0.05, "decoupled_weight_decay": True, "maximize": True}),
    Case(RAdam, {}),
    Case(RAdam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05}),
    Case(RAdam, {"lr": 0.003, "weight_decay": 0.05, "decoupled_weight_decay": True, "maximize": True}),
]

SHAPES = {"W": (7, 5), "b": (7,), "V": (3, 7), "scale": ()}


def start(dtype: Any) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {name: np.asarray(rng.standard_normal(shape)).astype(dtype) for name, shape in SHAPES.items()}


def batch(t: int, dtype: Any) -> tuple[Any, Any]:
    """Other data at each step: at a minimum, g / √v would be rounding errors by rounding errors."""
    rng = np.random.default_rng(t)
    return rng.standard_normal((5, 11)).astype(dtype), rng.standard_normal((3, 11)).astype(dtype)


def loss_of(xp: Any, p: dict[str, Any], x: Any, y: Any) -> Any:
    """Bounded, so that it can be maximized, too."""
    return (xp.tanh(p["V"] @ xp.tanh(p["W"] @ x + p["b"].reshape(7, 1)) * p["scale"] - y) ** 2).mean()


class Run(NamedTuple):
    """The same training by us and by PyTorch."""

    ours: dict[str, Parameter]
    theirs: dict[str, Any]
    our_optimizer: Any
    their_optimizer: Any
    dtype: Any


def run(case: Case, dtype: Any, groups: bool = False, **clipping: Any) -> Run:
    weights = start(dtype)
    ours = {name: Parameter(w.copy()) for name, w in weights.items()}
    theirs = {name: torch.nn.Parameter(torch.tensor(w)) for name, w in weights.items()}

    def split(p: dict[str, Any]) -> Any:
        if not groups:
            return [*p.items()]
        return [{"params": [p["W"], p["b"]]}, {"params": [p["V"], p["scale"]], "lr": 0.01, "weight_decay": 0.02}]

    a, b = case.ours(split(ours), **case.options, **clipping), case.theirs(split(theirs), **case.options, foreach=False)
    return Run(ours, theirs, a, b, dtype)


def train(r: Run, steps: int, clip: Callable[[Any], Any] = len) -> None:
    for t in range(steps):
        x, y = batch(t, r.dtype)
        r.our_optimizer.zero_grad()
        loss_of(np, r.ours, x, y).backward()
        r.our_optimizer.step()
        r.their_optimizer.zero_grad()
        loss_of(torch, r.theirs, torch.tensor(x), torch.tensor(y)).backward()
        clip(r.theirs.values())
        r.their_optimizer.step()


def compare(r: Run, rtol: float) -> None:
    for name, p in r.ours.items():
        q = r.theirs[name].detach().numpy()
        assert p.dtype == q.dtype
        np.testing.assert_allclose(p.numpy(), q, rtol=rtol, atol=rtol * np.abs(q).max(), err_msg=name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_200_steps_in_float64(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    nadam = importlib.import_module("torch.optim.nadam")
    monkeypatch.setattr(nadam, "_get_scalar_dtype", lambda: torch.float64)  # its product of momenta is of float32
    r = run(case, np.float64)
    train(r, STEPS)
    compare(r, 1e-12)
    weights = start(np.float64)
    assert all(np.abs(p.numpy() - weights[name]).max() > 1e-4 for name, p in r.ours.items())  # they have moved
    for name, entry in r.our_optimizer.state.items():  # the state is PyTorch's, too
        theirs = r.their_optimizer.state[r.theirs[name]]
        for slot, value in entry.items():
            if slot != "step":
                q = theirs[slot].numpy()
                value = value.numpy() if isinstance(value, mg.Tensor) else value
                np.testing.assert_allclose(value, q, rtol=1e-11, atol=1e-11 * np.abs(q).max(), err_msg=slot)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_200_steps_in_float32(case: Case) -> None:
    """Each step may round a weight by one part in 2²³ differently."""
    r = run(case, np.float32)
    train(r, STEPS)
    compare(r, STEPS * 2.0**-23)


@pytest.mark.parametrize("case", [CASES[4], CASES[7], CASES[11], CASES[14], CASES[19], CASES[22]], ids=str)
def test_groups_with_options_of_their_own(case: Case) -> None:
    r = run(case, np.float64, groups=True)
    train(r, 50)
    compare(r, 1e-10)


@pytest.mark.parametrize("norm_type", [1, 2.0, 3.5, float("inf"), "inf"])
@pytest.mark.parametrize("case", [CASES[3], CASES[7]], ids=str)
def test_clipping_inside_is_clipping_before(case: Case, norm_type: Any) -> None:
    r = run(case, np.float64, clip_norm=0.5, norm_type=norm_type)
    train(r, 50, lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5, norm_type))
    compare(r, 1e-10)
    r = run(case, np.float64, clip_value=0.1)
    train(r, 50, lambda p: torch.nn.utils.clip_grad_value_(p, 0.1))
    compare(r, 1e-10)


# ---- row-sparse --------------------------------------------------------------------------------------------------

SPARSE = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "maximize": True}),
    (Adagrad, torch.optim.Adagrad, {"lr": 0.1, "lr_decay": 0.02, "initial_accumulator_value": 0.1}),
    (Adam, torch.optim.SparseAdam, {"lr": 0.03}),
    (Adam, torch.optim.SparseAdam, {"lr": 0.03, "betas": (0.7, 0.9), "eps": 1e-2, "maximize": True}),
]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize(("ours", "theirs", "options"), SPARSE, ids=lambda v: getattr(v, "__name__", ""))
def test_row_sparse_gradients(ours: Any, theirs: Any, options: dict[str, Any], rng: np.random.Generator) -> None:
    start = rng.standard_normal((20, 3))
    weight = Parameter(start.copy())
    twin = torch.nn.Embedding.from_pretrained(torch.tensor(start), freeze=False, sparse=True)
    a, b = ours([weight], **options), theirs(twin.parameters(), **options)
    for _ in range(STEPS):
        ids = rng.integers(0, 12, 7)  # repeated ones, and 8 rows that nobody touches
        target = rng.standard_normal((7, 3))
        weight.grad = None
        (np.tanh(mg.embedding(weight, ids, sparse=True) - target) ** 2).sum().backward()
        assert isinstance(weight.grad, mg.RowSparse)
        a.step()
        b.zero_grad()
        (torch.tanh(twin(torch.tensor(ids)) - torch.tensor(target)) ** 2).sum().backward()
        b.step()
    np.testing.assert_allclose(weight.numpy(), twin.weight.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(weight.numpy()[12:], start[12:])
    assert np.abs(weight.numpy()[:12] - start[:12]).min() > 1e-4


# ---- the free functions ------------------------------------------------------------------------------------------


def gradients(rng: np.random.Generator, scale: float, dtypes: list[Any]) -> tuple[list[Any], list[Any]]:
    ours, theirs = [], []
    for shape, dtype in zip([(3, 4), (5,), (), (2, 1, 3)], dtypes, strict=True):
        g = np.asarray(scale * rng.standard_normal(shape)).astype(dtype)
        p = Parameter(np.zeros(shape, dtype))
        p.grad = mg.Tensor(g.copy())
        q = torch.nn.Parameter(torch.zeros(shape, dtype=getattr(torch, np.dtype(dtype).name)))
        q.grad = torch.tensor(g)
        ours.append(p)
        theirs.append(q)
    return ours, theirs


@pytest.mark.parametrize("scale", [0.01, 100.0])
@pytest.mark.parametrize("norm_type", [0.5, 1, 2.0, 3, float("inf"), "inf"])
@pytest.mark.parametrize("dtypes", [["f8"] * 4, ["f4"] * 4, ["f4", "f8", "f4", "f8"]], ids=["f8", "f4", "mixed"])
def test_clip_grad_norm(scale: float, norm_type: Any, dtypes: list[Any], rng: np.random.Generator) -> None:
    ours, theirs = gradients(rng, scale, [np.dtype(d) for d in dtypes])
    norm = clip_grad_norm_(ours, 1.5, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 1.5, norm_type)
    rtol = 1e-12 if dtypes == ["f8"] * 4 else 5e-6
    assert norm.shape == ()
    assert norm.dtype == expected.numpy().dtype
    np.testing.assert_allclose(norm.numpy(), expected.numpy(), rtol=rtol)
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad.dtype, p.grad.shape) == (p.dtype, p.shape)
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=rtol)


@pytest.mark.parametrize("limit", [0.5, 0, 3])
def test_clip_grad_value(limit: float, rng: np.random.Generator) -> None:
    ours, theirs = gradients(rng, 1.0, [np.dtype(d) for d in ("f4", "f8", "f4", "f8")])
    clip_grad_value_(ours, limit)
    torch.nn.utils.clip_grad_value_(theirs, limit)
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad.dtype, p.grad.shape) == (p.dtype, p.shape)
        np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_goes_through_as_in_pytorch(bad: float, rng: np.random.Generator) -> None:
    ours, theirs = gradients(rng, 1.0, [np.dtype("f8")] * 4)
    ours[0].grad.data[1, 1] = bad
    theirs[0].grad[1, 1] = bad
    np.testing.assert_array_equal(
        clip_grad_norm_(ours, 1.0).numpy(), torch.nn.utils.clip_grad_norm_(theirs, 1.0).numpy()
    )
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())


# ---- L-BFGS ------------------------------------------------------------------------------------------------------


class Sines(torch.nn.Module):
    """Two LSTM cells and a linear map that predict the next number of a wave, as PyTorch's tutorial on time series."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lstm1 = torch.nn.LSTMCell(1, hidden)
        self.lstm2 = torch.nn.LSTMCell(hidden, hidden)
        self.linear = torch.nn.Linear(hidden, 1)

    def forward(self, waves: Any) -> Any:
        states: Any = [None, None]
        outputs = []
        for x in waves.split(1, dim=1):
            states[0] = self.lstm1(x, states[0])
            states[1] = self.lstm2(states[0][0], states[1])
            outputs.append(self.linear(states[1][0]))
        return torch.cat(outputs, dim=1)


class OurSines(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lstm1 = nn.LSTMCell(1, hidden, dtype=np.float64)
        self.lstm2 = nn.LSTMCell(hidden, hidden, dtype=np.float64)
        self.linear = nn.Linear(hidden, 1, dtype=np.float64)

    def forward(self, waves: Any) -> Any:
        states: Any = [None, None]
        outputs = []
        for _, x in mg.steps(waves.T):
            states[0] = self.lstm1(x[:, None], states[0])
            states[1] = self.lstm2(states[0][0], states[1])
            outputs.append(self.linear(states[1][0]))
        return np.concatenate(outputs, axis=1)


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_lbfgs_predicts_sines(line_search_fn: Any) -> None:
    """The tutorial's setting, smaller: waves of period 40 with random phases, lr 0.8, a few steps of 20 iterations."""
    rng = np.random.default_rng(2)
    waves = np.sin((np.arange(40) + rng.integers(-80, 80, (5, 1))) / 20 * np.pi)
    theirs, ours = Sines(4).double(), OurSines(4)
    ours.load_state_dict({name: mg.Tensor(w.detach().numpy().copy()) for name, w in theirs.state_dict().items()})
    a = nn.LBFGS(ours.named_parameters(), lr=0.8, line_search_fn=line_search_fn)
    b = torch.optim.LBFGS(theirs.parameters(), lr=0.8, line_search_fn=line_search_fn)
    x, y = torch.tensor(waves[:, :-1]), torch.tensor(waves[:, 1:])
    called = [0, 0]

    def our_closure() -> Any:
        called[0] += 1
        a.zero_grad()
        loss = nn.MSELoss()(ours(mg.Tensor(waves[:, :-1])), waves[:, 1:])
        loss.backward()
        return loss

    def their_closure() -> Any:
        called[1] += 1
        b.zero_grad()
        loss = torch.nn.functional.mse_loss(theirs(x), y)
        loss.backward()
        return loss

    losses = []
    for _ in range(2):
        losses.append((a.step(our_closure).item(), b.step(their_closure).item()))
    losses.append((our_closure().item(), their_closure().item()))
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-6)
    assert losses[-1][0] < 0.5 * losses[0][0]
    assert called[0] == called[1] > 40
    state = b.state[b._params[0]]
    assert (a.state["n_iter"], a.state["func_evals"]) == (state["n_iter"], state["func_evals"])
    for name, w in ours.named_parameters():
        np.testing.assert_allclose(w.numpy(), theirs.get_parameter(name).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
@pytest.mark.parametrize(
    "options", [{}, {"lr": 0.3, "history_size": 2, "max_iter": 7}, {"max_eval": 3}, {"tolerance_grad": 0.5}], ids=str
)
def test_lbfgs(options: dict[str, Any], line_search_fn: Any) -> None:
    """A valley that bends (Rosenbrock 1960), in which a search has to grow and to shrink its steps."""
    start = np.array([-1.2, 1.0, 0.7])
    ours, theirs = Parameter(start.copy()), torch.nn.Parameter(torch.tensor(start))
    scale = 100 if line_search_fn else 2
    a = nn.LBFGS([ours], line_search_fn=line_search_fn, **options)
    b = torch.optim.LBFGS([theirs], line_search_fn=line_search_fn, **options)

    def closure(w: Any) -> Any:
        def call() -> Any:
            w.grad = None
            loss = (scale * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()
            loss.backward()
            return loss

        return call

    for _ in range(4):
        first, second = a.step(closure(ours)), b.step(closure(theirs))
        np.testing.assert_allclose(first.item(), second.item(), rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-7, atol=1e-9)
    state = b.state[b._params[0]]
    assert (a.state["n_iter"], a.state["func_evals"]) == (state["n_iter"], state["func_evals"])
    assert len(a.state["old_dirs"]) == len(state.get("old_dirs") or [])
