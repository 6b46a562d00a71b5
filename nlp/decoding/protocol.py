"""The interface between decoding and models: a `start`, and a `step` that training may share; and further settings."""

from __future__ import annotations

import numbers
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import minigrad as mg
import nn

Array = Any
Eos = int | Literal["model"] | None


class Start(NamedTuple):
    """The start of decoding, for N sources.

    ids     (N,) the first inputs: the token that begins a sequence, or the last one of a prompt
    state   nested tuples, lists and dicts of Tensors (N, ...), or None: it changes from step to step
    memory  the same for constants, such as the encoder's outputs; or None. It is never repeated for beams
    """

    ids: Array
    state: Any
    memory: Any = None


class Step(NamedTuple):
    """The result of one step, `model.step(ids, state, memory)`, for R rows: R/N of each source, one source after the
    other.

    log_p      (R, V) log-probabilities of the next token
    state      as in `Start`, (R, ...)
    attention  (R, S) the weights of the source's positions, or None
    """

    log_p: Any
    state: Any
    attention: Any = None


@dataclass(frozen=True)
class Limits:
    """The tokens that are allowed at each length.

    max_length  the most tokens of a sequence, including its end
    min_length  the fewest, without it: before, `eos` is not allowed
    eos         the token that ends a sequence; None: it ends at `max_length`
    forbidden   tokens that never occur, each once
    """

    max_length: int
    min_length: int
    eos: int | None
    forbidden: tuple[int, ...]

    def banned(self, t: int) -> tuple[int, ...]:
        """The ids that are not allowed after t tokens."""
        return self.forbidden if self.eos is None or t >= self.min_length else (*self.forbidden, self.eos)

    def check_size(self, title: str, V: int) -> None:
        """Raise ValueError for ids beyond a model's V tokens."""
        for name, ids in (("eos", () if self.eos is None else (self.eos,)), ("forbidden", self.forbidden)):
            if wrong := [i for i in ids if not 0 <= i < V]:
                raise ValueError(f"{title}: {name} has the id {wrong[0]}, but the model has {V} tokens")


def limits_of(
    title: str, model: Any, max_length: int, min_length: int, eos: Eos, forbidden: Collection[int | None]
) -> Limits:  # fmt: skip
    """The limits of sequences, checked: ValueError, or TypeError, for invalid ones."""
    check_integer(title, "max_length", max_length, 1)
    check_integer(title, "min_length", min_length, 0)
    if min_length > max_length:
        raise ValueError(f"{title}: min_length={min_length} is more than max_length={max_length}")
    end = getattr(model, "eos_id", None) if eos == "model" else eos
    out = tuple(dict.fromkeys([i for i in forbidden if i is not None]))
    for name, i in (("eos", end), *(("forbidden", i) for i in out)):
        if i is not None and (isinstance(i, bool) or not isinstance(i, numbers.Integral)):
            raise TypeError(f"{title}: {name} takes ids, which are integers, not {i!r}")
    if end in out:
        raise ValueError(f"{title}: the token {end}, which ends a sequence, is forbidden; eos=None leaves it out")
    return Limits(int(max_length), int(min_length), None if end is None else int(end), tuple(map(int, out)))


def check_integer(title: str, name: str, value: Any, least: int) -> None:
    """Raise ValueError unless it is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:  # type: ignore[operator]
        raise ValueError(f"{title}: {name} must be an integer of at least {least}, not {value!r}")


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Switch off recording, and put the model in evaluation mode; afterwards all modes are restored."""
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    try:
        for module, _ in modes:
            module.training = False
        with mg.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
