"""What decoding asks of a model: `start`, and a `step` that training may share; and what it is told besides."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
import nn
from minigrad import backend, trees

Array = Any


class Start(NamedTuple):
    """Where decoding begins, for N sources.

    ids     (N,) the first inputs: the token that begins a sequence, or the last one of a prompt
    state   nested tuples, lists and dicts of Tensors (N, ...): what changes from step to step
    memory  the same, of what stays as it is, such as the encoder's outputs; or None. It is never repeated for beams
    """

    ids: Array
    state: Any
    memory: Any = None


class Step(NamedTuple):
    """What a model says after one step, for R rows: R/N of each source, one source after the other.

    log_p      (R, V) log-probabilities of the next token
    state      as in `Start`, (R, ...)
    attention  (R, S) the weights of the source's positions, or None
    """

    log_p: Any
    state: Any
    attention: Any = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which tokens may come when.

    max_length  the most tokens of a sequence, without `eos`
    min_length  the fewest; before, `eos` cannot come
    eos         the token that ends a sequence; None: it ends with `max_length`
    forbidden   tokens that never come
    """

    max_length: int
    min_length: int = 0
    eos: int | None = None
    forbidden: Collection[int] = field(default=())

    def check(self, title: str) -> None:
        """ValueError for what cannot be."""
        for name, value, least in (("max_length", self.max_length, 1), ("min_length", self.min_length, 0)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{title}: {name} must be an integer of at least {least}, not {value!r}")
        if self.min_length > self.max_length:
            raise ValueError(f"{title}: min_length={self.min_length} is more than max_length={self.max_length}")
        if self.eos is not None and self.eos in self.forbidden:
            raise ValueError(f"{title}: the token {self.eos}, which ends a sequence, is forbidden")

    def apply(self, scores: Array, t: int) -> None:
        """Make what may not come after t tokens impossible: scores (..., V), in place."""
        if self.forbidden:
            scores[..., list(self.forbidden)] = -np.inf
        if self.eos is not None and t < self.min_length:
            scores[..., self.eos] = -np.inf


def limits_of(
    title: str, model: Any, start: Start, max_length: int, min_length: int, forbidden: Collection[int | None]
) -> Limits:  # fmt: skip
    """The limits of a model's sequences. Raises ValueError for what cannot be, or if there is nothing to begin with."""
    if not len(start.ids):
        raise ValueError(f"{title}: there is no source")
    limits = Limits(
        max_length=max_length, min_length=min_length, eos=getattr(model, "eos_id", None),
        forbidden=tuple(i for i in forbidden if i is not None),
    )  # fmt: skip
    limits.check(title)
    return limits


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Without recording, and with the model in evaluation mode; afterwards all modes are as they were."""
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    try:
        for module, _ in modes:
            module.training = False
        with mg.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def rows_of(tree: Any, rows: Array) -> Any:
    """The rows of every array of a nested structure; itself, if they are all rows in their order."""
    leaves, rebuild = trees.flatten(tree)
    count = next((len(leaf) for leaf in leaves if leaf is not None), 0)
    if len(rows) == count and np.array_equal(rows, np.arange(count)):
        return tree
    found = []
    for leaf in leaves:
        array = leaf.data if isinstance(leaf, mg.Tensor) else leaf
        if array is not None:
            array = array[backend.transfer(rows, backend.device_of(array))]
        found.append(mg.Tensor(array) if isinstance(leaf, mg.Tensor) else array)
    return rebuild(found)


def like(ids: Array, first: Array) -> Array:
    """Tokens (R,) beside the first ones, for the next step."""
    return backend.transfer(ids.astype(np.int64), backend.device_of(first))


def spoken(title: str, step: Step, t: int, sources: Array) -> Array:
    """The log-probabilities (R, V) on the CPU. Raises FloatingPointError, with step and source, for NaN.

    sources  (N,) the numbers of the sources that the rows belong to
    """
    log_p = backend.to_numpy(step.log_p.data if isinstance(step.log_p, mg.Tensor) else step.log_p)
    if np.isnan(log_p[:, 0].sum()) and np.isnan(log_p).any():  # a softmax with a NaN has nothing but NaN
        row = int(np.isnan(log_p).any(axis=1).argmax())
        raise FloatingPointError(
            f"{title}: the model gives NaN at step {t} of source {int(sources[row * len(sources) // len(log_p)])}"
        )
    return log_p


def looked_at(step: Step) -> Array | None:
    """The weights of attention (R, S) on the CPU, or None."""
    if step.attention is None:
        return None
    return backend.to_numpy(step.attention.data if isinstance(step.attention, mg.Tensor) else step.attention)
