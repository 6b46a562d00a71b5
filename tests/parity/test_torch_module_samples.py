"""Every module of PyTorch's that is here by the same name, on all samples that PyTorch tests it with.

Each is made with the sample's arguments, loads the other's state dict, and is compared in outputs and gradients, in
training and in evaluation.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch_samples import MODULES, Tensors, compare

import minigrad as mg
import nn

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings(
        "ignore::UserWarning:torch",
        "ignore:torch",
    ),
]
NAMES = [name for name in MODULES if hasattr(nn, name)]


def classes_last(loss: Any, input: Any, target: Any) -> Any:
    """Losses of classes have them on the last axis here; PyTorch's on the second."""
    moved = input.ndim > 2
    if isinstance(target, mg.Tensor) and moved:  # a distribution
        target = np.moveaxis(target, 1, -1)
    return loss(np.moveaxis(input, 1, -1) if moved else input, target)


CALLS: dict[str, Callable[..., Any]] = {
    "NLLLoss": classes_last, "CrossEntropyLoss": classes_last, "Linear": lambda layer, input: layer(input),
    "CTCLoss": lambda loss, x, *rest: loss(mg.log_softmax(x), *rest),
}  # fmt: skip
THEIRS: dict[str, Callable[..., Any]] = {  # whose gradient is by the logits
    "CTCLoss": lambda loss, x, *rest: loss(torch.log_softmax(x, -1), *rest)
}
BOUNDS = {"CTCLoss": 1e-10}

# Samples that have no equal here, and why.
WITHOUT: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "BatchNorm1d": ("a batch of nothing has no mean: an error in training", lambda made, x: x.args[0].numel() == 0),
    "KLDivLoss": (
        "a number is no batch: an error",
        lambda made, x: made.kwargs.get("reduction") == "batchmean" and x.args[0].ndim == 0,
    ),
    "MarginRankingLoss": (
        "targets other than 1 and -1 are an error", lambda made, x: bool((x.args[2].abs() != 1).any()),
    ),
}  # fmt: skip


def samples(name: str, training: bool) -> Any:
    info = MODULES[name]
    with torch.random.fork_rng():  # the samples are random; a mean over no targets at all is NaN there, and 0 here
        torch.manual_seed(1)
        made = info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=True, training=training)
        return [each for each in made if each.forward_input is not None]


def check(name: str, sample: Any, training: bool) -> None:
    made, given = sample.constructor_input, sample.forward_input
    with torch.random.fork_rng():
        theirs = MODULES[name].module_cls(*made.args, **made.kwargs).double().train(training)
    tensors = Tensors()
    args, kwargs = tensors(made.args), tensors(made.kwargs)
    kwargs = {key: value.data if isinstance(value, mg.Tensor) else value for key, value in kwargs.items()}
    ours = getattr(nn, name)(*args, **kwargs).to(np.float64).train(training)
    state = {key: value.numpy().copy() for key, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    call, their_call = CALLS.get(name), THEIRS.get(name)
    arguments = types.SimpleNamespace(input=given.args[0] if given.args else None, args=given.args[1:],
                                      kwargs=given.kwargs)  # fmt: skip
    if not given.args:
        arguments.input, arguments.kwargs = given.kwargs["input"], {}
    compare(
        ours if call is None else lambda *a, **k: call(ours, *a, **k),
        theirs if their_call is None else lambda *a, **k: their_call(theirs, *a, **k),
        arguments, BOUNDS.get(name, 1e-12), [*zip(ours.parameters(), theirs.parameters(), strict=True)],
    )  # fmt: skip


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NAMES)
def test_all_samples(name: str, training: bool) -> None:
    _, excepted = WITHOUT.get(name, ("", None))
    for k, sample in enumerate(samples(name, training)):
        if excepted is not None and excepted(sample.constructor_input, sample.forward_input):
            continue
        try:
            check(name, sample, training)
        except Exception as error:
            error.add_note(f"sample {k} of {name}: {sample.constructor_input} {sample.forward_input}")
            raise


@pytest.mark.parametrize("name", WITHOUT)
def test_exceptions_are_errors_with_a_sentence(name: str) -> None:
    found = [s for s in samples(name, True) if WITHOUT[name][1](s.constructor_input, s.forward_input)]
    assert found
    for sample in found:
        with pytest.raises(ValueError, match=rf"^{name}: "):
            check(name, sample, True)
