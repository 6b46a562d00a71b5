"""The sum over all alignments of a labelling with a sequence (Graves, Fernández, Gomez & Schmidhuber 2006).

For a sequence of log-probabilities x_t[c], an alignment names a class at each of the T steps. It belongs to the
labelling y if removing repetitions, and then blanks, gives y. With blanks around its labels, y' = (␣ y_1 ␣ ... ␣) has
L = 2S + 1 states, and an alignment is a path through them: at each step it stays, goes to the next state, or skips a
blank between two different labels. The recursion, in logarithms:

    α_t[s] = x_t[y'_s] + log(exp α_t−1[s] + exp α_t−1[s − 1] + exp α_t−1[s − 2])

(the last term only where a skip is allowed). It starts at the first blank or label, and log p(y | x) is the sum of its
last two states at the last step. β is α of the reversed sequence and labelling. With both, an alignment passes through
state s at step t with probability

    γ_t[s] = exp(α_t[s] + β_t[s] − x_t[y'_s] − log p(y | x)),

and the gradient of log p by x_t[c] is the sum of γ_t[s] over the states s with y'_s = c: the *posterior* of class c.

α is computed from the first step on and β from the last, each as rows of states, one row a labelling. Shorter sequences
and labellings are aligned at their start with the longest, so their β begin at an earlier step and state. A row begins
in a virtual state beside its first one: from there, a step and a skip lead to two states. log 0 is a large finite
number, NEVER, so that no difference is inf − inf. Every few steps a constant is subtracted from each row, so that
numbers stay small.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import backend

Array = Any
NEVER = -1e30  # log 0: other terms vanish beside it, also 10⁸ times in float32
EVERY = 16  # steps after which the largest state is set to 0: small numbers keep more digits


class Alignments(NamedTuple):
    """N labellings as rows of L states, for sequences x (T, ·, C).

    places   (N, L) the index of each state's x[t] among the numbers of a step; 0 beyond the labelling
    beyond   (N, L) True beyond the labelling
    skips    (2, N, L) for α and for β: 0 where a path may skip a blank to get to a state, NEVER elsewhere
    steps    (N,) the number of steps of each, and
    virtual  (N,) the column of the virtual state of its β, both as NumPy arrays
    """

    places: Array
    beyond: Array
    skips: Array
    steps: Array
    virtual: Array


def alignments(
    targets: Array, input_lengths: Array, target_lengths: Array, C: int, blank: int, like: Array,
    owners: Array | None = None,
) -> Alignments:  # fmt: skip
    """The rows of labellings (N, S), of which the first `target_lengths` labels count, in NumPy arrays.

    like    an array with the device and dtype of the result
    owners  (N,) the sequence of each labelling; None: one each
    """
    N, S = targets.shape
    classes = np.full((N, 2 * S + 1), blank)  # (N, L)
    classes[:, 1::2] = targets
    virtual = 2 * target_lengths + 1
    beyond = np.arange(2 * S + 1) >= virtual[:, None]
    owners = np.arange(N) if owners is None else owners
    places = np.where(beyond, 0, classes + C * owners[:, None])
    differ = np.full((N, S + 1), True)  # from the label before, or after
    differ[:, 1:-1] = targets[:, 1:] != targets[:, :-1]
    skips = np.full((2, N, 2 * S + 1), NEVER)
    skips[0, :, 1::2] = np.where(differ[:, :-1], 0.0, NEVER)
    skips[1, :, 1::2] = np.where(differ[:, 1:], 0.0, NEVER)
    device = backend.device_of(like)
    skips = skips.astype(like.dtype, copy=False)
    places, beyond, skips = (backend.from_numpy(a, device) for a in (places, beyond, skips))
    return Alignments(places, beyond, skips, input_lengths, virtual)


@mg.fuse
def onward(skipped: Any, before: Any, same: Any, skip: Any, x: Any) -> Any:
    """α_t[s] from α_t−1[s − 2], α_t−1[s − 1] and α_t−1[s], with 0 or NEVER for a skip, and x_t[y'_s]."""
    skipped = skipped + skip
    most = np.maximum(np.maximum(skipped, before), same)
    return np.log(np.exp(skipped - most) + np.exp(before - most) + np.exp(same - most)) + most + x


@mg.fuse
def passing(alpha: Any, beta: Any, x: Any, rest: Any) -> Any:
    """γ_t[s] from α_t[s], β_t[s] without x_t, x_t[y'_s], and the rest of the exponent."""
    return np.exp(np.minimum(alpha + beta - x + rest, 0.0))


# ---- arrays: the loop used in training ---------------------------------------------------------------------------


class Passed(NamedTuple):
    """α, and β without the x of its step, before and after each step: as (T + 1, N, L + 2) with two columns of padding.

    alpha, beta  the states, less constants: those of α begin at column 2, those of β at column 0
    added        the constants of both, (T + 1, N) in float64
    emitted      (T, N, L) x[t] of each state
    """

    alpha: Array
    beta: Array
    added: tuple[Array, Array]
    emitted: Array


def passed(x: Array, a: Alignments, both: bool = True) -> Passed:
    """The states of log-probabilities x (T, ·, C); those of β alone unless `both` are wanted."""
    emitted = _emitted(x, a)
    T, N, L = emitted.shape
    alpha = np.empty_like(emitted, shape=(T + 1 if both else 1, N, L + 2))
    beta = np.empty_like(emitted, shape=(T + 1, N, L + 2))
    alpha[:, :, :2] = beta[:, :, L:] = alpha[0] = beta[T] = NEVER
    alpha[0, :, 1] = 0.0
    moved = np.zeros_like(emitted, shape=(2, T + 1, N), dtype=np.float64)  # of α and β, after each step of theirs
    rows = {int(t): np.flatnonzero(a.steps == t) for t in np.unique(a.steps)}  # whose β begin after step t
    bounds = sorted({0, T, *range(0, T, EVERY), *[T - t for t in rows]})
    skips = np.broadcast_to(np.expand_dims(a.skips, 1), (2, T, N, L))
    back = beta[::-1]
    calls = [((back[:-1, :, 2:], back[:-1, :, 1:-1], back[:-1, :, :L], skips[1], emitted[::-1]), back[1:, :, :L])]
    if both:
        calls += [((alpha[:-1, :, :L], alpha[:-1, :, 1:-1], alpha[:-1, :, 2:], skips[0], emitted), alpha[1:, :, 2:])]
    run = onward.steps(*calls) if emitted.size else None  # type: ignore[attr-defined]
    with np.errstate(invalid="ignore"):  # an infinite number gives NaN
        for start, stop in pairwise([*bounds, T]):
            if (begin := rows.get(T - start)) is not None:
                beta[T - start][_virtual(a, begin, beta)] = 0.0
            if run is not None:
                run(start, stop)
            if stop % EVERY == 0 and stop > start:
                moved[1, stop] = _moved(back[stop, :, :L])
                if both:
                    moved[0, stop] = _moved(alpha[stop, :, 2:])
    added = np.cumsum(moved, axis=1)
    return Passed(alpha, beta, (added[0], added[1, ::-1]), emitted)


def _emitted(x: Array, a: Alignments) -> Array:
    """x[t] of each state, (T, N, L): at least NEVER, which it is beyond a labelling; 0 after the end of a sequence."""
    T, sequences, C = x.shape
    x = x.astype(np.result_type(x.dtype, np.float32), copy=False)
    emitted = np.take(x.reshape(T, sequences * C), a.places, axis=1)
    np.maximum(emitted, NEVER, out=emitted)
    if a.steps.min(initial=T) < T:
        ended = backend.from_numpy(np.arange(T)[:, None] >= a.steps, backend.device_of(x))
        np.copyto(emitted, 0.0, where=np.expand_dims(ended, -1))
    if (a.virtual < emitted.shape[2]).any():
        np.copyto(emitted, NEVER, where=a.beyond)
    return emitted


def _moved(states: Array) -> Array:
    """The largest states of rows (N, L), which are subtracted from the rows; 0 for rows that have not begun."""
    most = states.max(axis=1)
    most *= most > NEVER / 2
    states -= np.expand_dims(most, 1)
    return most


def log_likelihood(p: Passed) -> Array:
    """log p(y | x) (N,), from the first two states of β; −∞ where there is no alignment. In float64."""
    first = p.beta[0, :, :2].astype(np.float64)
    with np.errstate(invalid="ignore"):
        total = np.logaddexp(first[:, 0], first[:, 1])
    return np.where(total < NEVER / 2, -np.inf, total + p.added[1][0])


def posteriors(p: Passed, a: Alignments, log_p: Array, C: int) -> Array:
    """γ summed over the states of each class, (T, N, C); 0 after a sequence's end. log_p (N,) is finite."""
    T, N, L = p.emitted.shape
    rest = (p.added[0][1:] + p.added[1][:-1] - log_p).astype(p.emitted.dtype, copy=False)  # (T, N)
    each = p.alpha[1:, :, 2:], p.beta[:-1, :, :L], p.emitted, np.expand_dims(rest, -1)
    rows = [array.reshape((T * N, array.shape[2])) for array in each]
    gamma = passing.on_arrays(*rows).reshape(T, N, L)  # type: ignore[attr-defined]
    places, beyond = backend.to_numpy(a.places), backend.to_numpy(a.beyond)
    found, inverse = (None, places % C) if C <= L else np.unique(places % C, return_inverse=True)  # classes that occur
    member = np.zeros((N, L, C if found is None else len(found)), gamma.dtype)
    member[np.arange(N)[:, None], np.arange(L), inverse.reshape(N, L)] = ~beyond
    member = backend.from_numpy(member, backend.device_of(gamma))
    sums = np.swapaxes(np.matmul(np.swapaxes(gamma, 0, 1), member), 0, 1)  # (T, N, classes)
    if found is None:
        return sums
    classes = np.zeros_like(gamma, shape=(T, N, C))
    classes[:, :, backend.from_numpy(found, backend.device_of(gamma))] = sums
    return classes


# ---- Tensors: the recursion as stated above ----------------------------------------------------------------------


def log_likelihood_by_steps(
    x: Any, targets: Array, input_lengths: Array, target_lengths: Array, blank: int
) -> Any:  # fmt: skip
    """log p(y | x) (N,) as a recorded loop over steps of Tensors, with β alone; x (T, N, C)."""
    T, N, C = x.shape
    x = x.astype(np.result_type(x.dtype, np.float32))
    a = alignments(targets, input_lengths, target_lengths, C, blank, x.data)
    real = backend.from_numpy(np.arange(T)[:, None, None] < input_lengths[:, None], x.device)
    x = np.maximum(np.where(real, x, 0.0).reshape((T, N * C)), NEVER)
    emitted = np.where(a.beyond, NEVER, x[:, a.places])  # (T, N, L)
    two = np.full_like(x.data, NEVER, shape=(N, 2))
    state: Any = np.full_like(x.data, NEVER, shape=(N, emitted.shape[2] + 2))
    for t, x_t in mg.steps(emitted, reverse=True):
        s = _started(state, a, t + 1)
        state = np.concatenate([onward(s[:, 2:], s[:, 1:-1], s[:, :-2], a.skips[1], x_t), two], axis=1)
    total = mg.logsumexp(_started(state, a, 0)[:, :2], axis=1)
    return np.where(total.data < NEVER / 2, -np.inf, total)


def _started(state: Any, a: Alignments, steps: int) -> Any:
    """The states (N, L + 2) of β, with 0 in the virtual states of sequences of this many steps."""
    rows = np.flatnonzero(a.steps == steps)
    if not rows.size:
        return state
    begins = np.zeros_like(state.data if isinstance(state, mg.Tensor) else state, dtype=bool)
    begins[_virtual(a, rows, begins)] = True
    return np.where(begins, 0.0, state)


def _virtual(a: Alignments, rows: Array, like: Array) -> tuple[Array, Array]:
    """The index of the virtual states of β of these rows."""
    device = backend.device_of(like)
    return backend.from_numpy(rows, device), backend.from_numpy(a.virtual[rows], device)


def pulled_back(of_posteriors: Any, x: Any, *labelling: Any) -> Any:
    """The gradient at x from one at the posteriors, which are the gradient of log p: the Hessian of log p times it."""
    given = [v if isinstance(v, mg.Tensor) else mg.Tensor(v) for v in (x, of_posteriors)]
    product = mg.hvp(lambda x: np.sum(log_likelihood_by_steps(x, *labelling)), *given)
    return product if isinstance(x, mg.Tensor) or isinstance(of_posteriors, mg.Tensor) else product.data
