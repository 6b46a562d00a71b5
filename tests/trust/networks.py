"""Layers, losses, optimizers, fused and compiled functions as functions of a few tensors, for `extremes.py`.

Each has a name, the function, the function to agree with (None: itself on the plain path), and the inputs' shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
import nn

Entry = tuple[Callable[..., Any], Callable[..., Any] | None, list[tuple[int, ...]]]
NETWORKS: dict[str, Entry] = {}
T, N, D, H = 5, 3, 4, 70  # wide enough for the kernels of products


def layer(name: str, make: Callable[[], Any], **options: Any) -> None:
    """Add a layer: its outputs and state, with the gradients of its weights as further results."""

    def call(xs: Any) -> Any:
        mg.manual_seed(2)
        module = make().to(xs.dtype)
        results = module(xs, **options)
        first = results[0] if isinstance(results, tuple) else results
        weights = np.linspace(0.5, 1.5, first.size).reshape(first.shape).astype(first.dtype)
        (first * weights).sum().backward(retain_graph=True)
        return results, [mg.Tensor(p.grad.data) for p in module.parameters() if p.grad is not None]

    NETWORKS[name] = (call, None, [(T, N, D)])


for kind in (nn.RNN, nn.LSTM, nn.GRU):
    layer(kind.__name__, lambda kind=kind: kind(D, H))
    layer(f"{kind.__name__}, both directions, unequal lengths", lambda kind=kind: kind(D, H, bidirectional=True),
          lengths=[5, 1, 3])  # fmt: skip
layer("LSTM, every option", lambda: nn.Recurrent(nn.LSTMCell(D, 6, peephole=True, proj_size=3, layer_norm=True)))
layer("GRU, reset before", lambda: nn.Recurrent(nn.GRUCell(D, 6, reset_after=False)))
layer("RNN, relu", lambda: nn.RNN(D, H, nonlinearity="relu"))
layer("Linear", lambda: nn.Linear(D, H))
layer("LayerNorm", lambda: nn.LayerNorm(D))
layer("LSTM, state of no step", lambda: nn.LSTM(D, H), lengths=[0, 0, 0])


# ---- losses ------------------------------------------------------------------------------------------------------


def loss(name: str, made: Any, target: Callable[[Any], Any], *shapes: tuple[int, ...]) -> None:
    def call(*given: Any) -> Any:
        made.to(given[0].dtype)
        return made(*given, *([target(given[0])] if target is not None else []))

    NETWORKS[name] = (call, None, list(shapes))


def classes(logits: Any) -> Any:
    return np.arange(logits.size // logits.shape[-1]).reshape(logits.shape[:-1]) % logits.shape[-1]


loss("CrossEntropyLoss", nn.CrossEntropyLoss(label_smoothing=0.1), classes, (T, N, 7))
loss("CrossEntropyLoss, sum", nn.CrossEntropyLoss(reduction="sum", ignore_index=3), classes, (T, N, 7))
loss("NLLLoss", nn.NLLLoss(), classes, (T, N, 7))
for kind in (nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.KLDivLoss, nn.BCELoss, nn.BCEWithLogitsLoss):
    loss(kind.__name__, kind(), lambda x: np.full(x.shape, 0.3, x.dtype), (N, 6))

# ---- fused functions ---------------------------------------------------------------------------------------------

FORMULAS: dict[str, Callable[..., Any]] = {
    "tanh, exp, log": lambda x, y: (np.tanh(x) * np.exp(y), np.log(x) + np.sqrt(y)),
    "sigmoid, softplus": lambda x, y: mg.sigmoid(x) * mg.softplus(y) + mg.silu(x),
    "maximum, minimum": lambda x, y: np.maximum(x, y) * np.minimum(x, 0.3),
    "where, clip": lambda x, y: np.where(np.asarray([True, False, True, True]), x, y) + np.clip(x, 0.2, 0.6),
    "abs, sign, power": lambda x, y: np.abs(x) + np.sign(y) + x**3 - y**0.5,
    "division, hypot": lambda x, y: x / y + np.hypot(x, y),
    "relu and its kin": lambda x, y: mg.relu(x - 0.5) + mg.leaky_relu(y - 0.5) + mg.elu(x) + mg.gelu(y),
    "hard and other waves": lambda x, y: mg.hard_tanh(x) + mg.hard_sigmoid(y) + np.sin(x) * np.cos(y) + mg.erf(x),
    "logaddexp, square": lambda x, y: np.logaddexp(x, y) + np.square(x) - np.expm1(y) + np.log1p(x),
}
for title, formula in FORMULAS.items():
    NETWORKS[f"fused {title}"] = (mg.fuse(formula), formula, [(9, 4), (9, 4)])


# ---- optimizers --------------------------------------------------------------------------------------------------


def optimizer(name: str, make: Callable[[Any], Any]) -> None:
    """Three updates with these gradients; compiled and uncompiled."""

    def run(gradients: Any, wrap: Callable[[Any], Any]) -> Any:
        start = np.linspace(-1, 1, gradients.size // 5).reshape(gradients.shape[1:])
        weight = nn.Parameter(mg.tensor(start, gradients.dtype))
        made = make([("weight", weight)])

        def step(g: Any) -> Any:
            made.zero_grad()
            (weight * g).sum().backward()
            made.step()

        wrapped = wrap(step)
        for k in range(5):
            wrapped(gradients.detach()[k])
        return mg.Tensor(weight.data)

    NETWORKS[f"{name}, compiled"] = (lambda g: run(g, mg.compile), lambda g: run(g, lambda f: f), [(5, 3, 4)])


optimizer("SGD", lambda p: nn.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01))
optimizer("Adam", lambda p: nn.Adam(p, lr=0.1, amsgrad=True, weight_decay=0.01))
optimizer("AdamW, clipped", lambda p: nn.AdamW(p, lr=0.1, clip_norm=1.0))
optimizer("Adagrad, clipped by value", lambda p: nn.Adagrad(p, lr=0.1, clip_value=(-0.5, 0.5)))
optimizer("RMSprop", lambda p: nn.RMSprop(p, lr=0.1, momentum=0.5, centered=True))
optimizer("Adadelta", lambda p: nn.Adadelta(p, lr=0.1))
optimizer("NAdam", lambda p: nn.NAdam(p, lr=0.1, weight_decay=0.01))
optimizer("RAdam", lambda p: nn.RAdam(p, lr=0.1, weight_decay=0.01, decoupled_weight_decay=True))
optimizer("Lion", lambda p: nn.Lion(p, lr=0.01, weight_decay=0.01))

# ---- compiled layers ---------------------------------------------------------------------------------------------


def compiled(name: str, make: Callable[[], Any]) -> None:
    """Recorded on ordinary numbers, replayed on these."""

    def run(xs: Any, wrap: Callable[[Any], Any]) -> Any:
        mg.manual_seed(2)
        module = make().to(xs.dtype)

        def step(x: Any) -> Any:
            for p in module.parameters():
                p.grad = None
            output, _ = module(x)
            output.sum().backward()
            return output.detach(), [p.grad for p in module.parameters()]

        wrapped = wrap(step)
        for _ in range(3):
            wrapped(mg.Tensor(np.full_like(xs.data, 0.5)))
        output, gradients = wrapped(xs.detach())
        return output, [mg.Tensor(g.data.copy()) for g in gradients]

    NETWORKS[name] = (lambda xs: run(xs, mg.compile), lambda xs: run(xs, lambda f: f), [(T, N, D)])


for kind in (nn.RNN, nn.LSTM, nn.GRU):
    compiled(f"{kind.__name__}, compiled", lambda kind=kind: kind(D, H))
