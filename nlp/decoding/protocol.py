"""What decoding asks of a model: `start`, and a `step` that training may share."""

from __future__ import annotations

from typing import Any, NamedTuple

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
