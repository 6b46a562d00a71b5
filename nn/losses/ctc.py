"""CTC: the loss of a labelling with unknown alignment. The recursion is in `alignments`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.modes import current_mode
from minigrad.scopes import here

from .alignments import (
    alignments,
    log_likelihood,
    log_likelihood_by_steps,
    passed,
    posteriors,
    pulled_back,
)
from .elementwise import Loss, array_beside, as_tensor, reduced

Array = Any


class CTCLoss(Loss):
    """−log p(y | x): the negative log-likelihood of a labelling y, over all of its alignments with the steps of x
    (Graves, Fernández, Gomez & Schmidhuber 2006, Connectionist Temporal Classification).

    blank          the class that means no label
    reduction      over the sequences: "mean" of each loss divided by the length of its labelling (at least 1), "sum",
                   or "none", which gives (N,)
    zero_infinity  0 in place of an infinite loss, with gradient 0

    A labelling needs a step for each label, and one more for each label that equals the one before it. One that is
    longer than its sequence allows has no alignment: the loss is infinite, and its gradient NaN, with a RuntimeWarning
    that names the sequence, unless zero_infinity is set.

    Log-probabilities come from `mg.log_softmax`. The gradient by them is −γ, the posterior of each class at each step,
    hence softmax − γ by the logits. (PyTorch expects a log_softmax before, and already adds the softmax here; by the
    logits both are equal.)

    >>> import minigrad as mg, nn
    >>> log_probs = mg.log_softmax(mg.randn(50, 2, 20))                             # (T, N, C)
    >>> loss = nn.CTCLoss()(log_probs, [[7, 7, 3], [5, 0, 0]], [50, 30], [3, 1])
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        if isinstance(blank, bool) or not isinstance(blank, int | np.integer) or blank < 0:
            raise ValueError(f"CTCLoss: blank must be a class, an integer from 0, not {blank!r}")
        self.blank = int(blank)
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any = None, target_lengths: Any = None) -> Any:
        """The loss of log-probabilities (T, N, C), or (T, C) for one sequence.

        targets         (N, S) integers, with any padding; or all labels of all sequences in a row, (Σ lengths,)
        input_lengths   (N,) the number of steps of each sequence that count; None: all T
        target_lengths  (N,) the number of labels of each that count; None: all S

        Raises IndexError for a label that is not a class, ValueError for a blank among the labels, and for lengths or
        shapes that do not fit.
        """
        x = as_tensor(log_probs)
        targets = array_beside(targets, x)
        alone = x.ndim == 2
        if alone:
            x, targets = x.reshape((x.shape[0], 1, x.shape[1])), targets.reshape((1, -1))
        if x.ndim != 3:
            raise ValueError(f"CTCLoss: log_probs must be (T, N, C), or (T, C) of one sequence, not {x.shape}{here()}")
        T, N, C = x.shape
        if not targets.size and targets.dtype.kind == "f":  # an empty list has no dtype
            targets = targets.astype(np.intp)
        if targets.ndim not in (1, 2) or targets.dtype.kind not in "iu" or (targets.ndim == 2 and len(targets) != N):
            raise ValueError(
                f"CTCLoss: targets must be integers, (N, S) with N = {N}, or (sum of target_lengths,), not "
                f"{targets.dtype} {targets.shape}{here()}"
            )
        if target_lengths is None and targets.ndim == 1:
            raise ValueError(f"CTCLoss: targets in a row, {targets.shape}, need target_lengths {here()}")
        if self.blank >= C:
            raise ValueError(f"CTCLoss: blank is {self.blank}, but there are {C} classes in {x.shape}{here()}")
        input_lengths = _lengths("input_lengths", input_lengths, N, T, x)
        target_lengths = _lengths("target_lengths", target_lengths, N, targets.shape[-1], x)
        given = (targets, input_lengths, target_lengths, self.blank)
        if current_mode().fast:
            wanted = mg.is_grad_enabled() and x.requires_grad
            losses, _ = ctc(x, *given, self.zero_infinity, wanted)
        else:
            labelled = read(x.shape, *given)
            losses = 0.0 - log_likelihood_by_steps(x, *labelled).astype(x.dtype)
            if self.zero_infinity:
                losses = np.where(np.isinf(losses.data), 0.0, losses)
            else:
                warn_of_long(*labelled[:3])
        if self.reduction == "mean":
            losses = losses / (np.maximum(target_lengths, 1) * max(N, 1)).astype(losses.dtype)
            return reduced(losses, "sum")
        return self.reduce(losses[0] if alone and self.reduction == "none" else losses)

    def extra_repr(self) -> str:
        return f"blank={self.blank}, {super().extra_repr()}, zero_infinity={self.zero_infinity}"


def _lengths(name: str, lengths: Any, N: int, most: int, x: mg.Tensor) -> Array:
    """Lengths (N,) as integers on the device of x; ValueError unless there is one for each sequence."""
    found = array_beside(np.full(N, most) if lengths is None else lengths, x)
    found = found.reshape((1,)) if not found.ndim and N == 1 else found
    found = found if found.size else found.astype(np.intp)
    if found.shape != (N,) or found.dtype.kind not in "iu":
        raise ValueError(
            f"CTCLoss: {name} must be {N} integers, one for each sequence of {x.shape}, not {found.dtype} {found.shape}"
            f"{here()}"
        )
    return found


def read(
    shape: tuple[int, ...], targets: Array, input_lengths: Array, target_lengths: Array, blank: int
) -> tuple[Array, Array, Array, int]:
    """Labels (N, S), both lengths (N,), all as NumPy arrays, and the blank; errors for arguments that do not fit."""
    T, N, C = shape
    labels, steps, counts = (backend.to_numpy(a).astype(np.intp) for a in (targets, input_lengths, target_lengths))
    most = labels.shape[1] if labels.ndim == 2 else len(labels)
    for name, lengths, limit, what in (("input_lengths", steps, T, "T"), ("target_lengths", counts, most, "S")):
        if N and not 0 <= lengths.min() <= lengths.max() <= limit:
            wrong = lengths[(lengths < 0) | (lengths > limit)][0]
            raise _told(ValueError, f"{name} must be from 0 to {what} = {limit}, not {wrong}")
    if labels.ndim == 1:
        if counts.sum() != len(labels):
            raise _told(ValueError, f"target_lengths add up to {counts.sum()}, but there are {len(labels)} targets")
        padded = np.full((N, int(counts.max(initial=0))), blank)
        padded[np.arange(padded.shape[1]) < counts[:, None]] = labels
        labels = padded
    real = np.arange(labels.shape[1]) < counts[:, None]
    labels = np.where(real, labels, -1)
    if (labels.size and not -1 <= labels.min() <= labels.max() < C) or np.any((labels < 0) & real):
        n, s = np.argwhere(real & ((labels < 0) | (labels >= C)))[0]
        raise _told(IndexError, f"label {s} of sequence {n} is {labels[n, s]}, not one of {C} classes")
    if (labels == blank).any():
        n, s = np.argwhere(labels == blank)[0]
        raise _told(ValueError, f"label {s} of sequence {n} is {blank}, the blank; leave it out, or set blank=")
    return labels, steps, counts, blank


def warn_of_long(labels: Array, steps: Array, counts: Array) -> None:
    """Name the first labelling that is longer than its sequence allows, if there is one."""
    again = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] >= 0)
    needed = counts + np.sum(again, axis=1)
    wrong = np.flatnonzero(needed > steps)
    if wrong.size:
        n = wrong[0]
        warnings.warn(
            f"CTCLoss: sequence {n} has {steps[n]} steps, its {counts[n]} labels need {needed[n]} (one more for each "
            "that equals the one before it), so its loss is infinite and its gradient NaN; leave such sequences out "
            f"({wrong.size} of {len(steps)} here), or give zero_infinity=True{here()}",
            RuntimeWarning,
            stacklevel=2,
        )


def _told(kind: type[Exception], message: str) -> Exception:
    """An error with a complete message, passed on unchanged."""
    error: Any = kind(f"CTCLoss: {message}{here()}")
    error.complete = True
    return error  # type: ignore[no-any-return]


def _by_log_probs(
    g: list[Any], y: Any, log_probs: Any, targets: Array, input_lengths: Array, target_lengths: Array, blank: int
) -> Any:  # fmt: skip
    (by_loss, by_gamma), (_, gamma) = g, y
    gradient = None if by_loss is None else -np.expand_dims(by_loss, -1) * gamma  # (T, N, C)
    if by_gamma is None:
        return gradient
    given = read(log_probs.shape, targets, input_lengths, target_lengths, blank)
    through = pulled_back(by_gamma, log_probs, *given)
    return through if gradient is None else gradient + through


@mg.primitive(fresh=True, log_probs=_by_log_probs)  # type: ignore[untyped-decorator]
def ctc(
    log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int,
    zero_infinity: bool = False, wanted: bool = True,
) -> tuple[Array, Array]:  # fmt: skip
    """The loss of each sequence (N,) and, if requested, the posteriors γ (T, N, C), which are its derivative."""
    return _ctc(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity, wanted)


@backend.as_one
def _ctc(
    x: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int, zero: bool, wanted: bool
) -> tuple[Array, Array]:  # fmt: skip
    T, N, C = x.shape
    labels, steps, counts, _ = read(x.shape, targets, input_lengths, target_lengths, blank)
    a = alignments(labels, steps, counts, C, blank, x[:0].astype(np.result_type(x.dtype, np.float32)))
    states = passed(x, a, both=wanted)
    log_p = log_likelihood(states)
    never = np.isinf(log_p) & (log_p < 0)
    losses = np.where(never, 0.0 if zero else np.inf, 0.0 - log_p).astype(x.dtype)
    if not zero and never.any():
        warn_of_long(labels, steps, counts)
    if not wanted:
        return losses, np.zeros_like(x, shape=(0, N, C))
    gamma = posteriors(states, a, np.where(never, 0.0, log_p), C)
    if never.any():
        real = backend.from_numpy(np.arange(T)[:, None] < steps, backend.device_of(x))
        gamma[...] = np.where(np.expand_dims(never, -1), 0.0, gamma)
        if not zero:
            gamma[...] = np.where(np.expand_dims(never & real, -1), np.nan, gamma)
    return losses, gamma.astype(x.dtype, copy=False)
