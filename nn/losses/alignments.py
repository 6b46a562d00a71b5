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

Here α and β of N sequences are rows of one array, and one loop computes them. Shorter sequences and labellings are
aligned at their start with the longest, so their β rows begin at a later step and state. A row begins from a virtual
state before its first one: from there, a step and a skip lead to the first two states. log 0 is a large finite number,
NEVER, so that no difference is inf − inf. Every few steps a constant is subtracted from each row, so that numbers stay
small.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import backend

Array = Any
NEVER = -1e30  # log 0: other terms vanish beside it, also 10⁸ times in float32
EVERY = 16  # steps after which the largest state is set to 0: small numbers keep more digits
BLOCK = 2**18  # numbers of posteriors that are summed at a time


class Alignments(NamedTuple):
    """N labellings as L states of R rows: the β rows of all, preceded by the α rows if requested.

    places  (L, R) the index of each state's x[t] among (N·C + 1,) numbers, the last of which is NEVER
    skip    (L, R) 0 where a path may skip the state before, NEVER elsewhere
    starts  for each step at which rows begin: their virtual states, and these rows; step T is the end
    """

    places: Array
    skip: Array
    starts: dict[int, tuple[Array, Array]]


def alignments(
    targets: Array, input_lengths: Array, target_lengths: Array, shape: tuple[int, ...], blank: int, like: Array,
    both: bool = True, owners: Array | None = None,
) -> Alignments:  # fmt: skip
    """The rows of labellings (N, S), of which the first `target_lengths` labels count, in NumPy arrays.

    shape   of x
    like    an array with the device and dtype of the result
    both    include α rows; without them there are only N rows
    owners  (N,) the sequence of each labelling; None: one each
    """
    (N, S), (T, sequences, C) = targets.shape, shape
    L = 2 * S + 1
    states = np.full((L, N), blank)
    states[1::2] = targets.T
    if N and target_lengths.min() < S:
        states[np.arange(L)[:, None] > 2 * target_lengths] = -1  # beyond the labelling
    rows = np.concatenate([states, states[::-1]], axis=1) if both else states[::-1]  # (L, R)
    owners = np.arange(N) if owners is None else owners
    places = rows + C * (np.concatenate([owners, owners]) if both else owners)
    places[rows < 0] = sequences * C
    skip = np.full(rows.shape, NEVER)
    skip[1::2] = np.where(rows[1::2] == np.concatenate([rows[:1] * 0 - 1, rows[1:-2:2]]), NEVER, 0.0)
    first, ends = T - input_lengths, L - 2 * target_lengths  # of β's rows: the step they begin at, the virtual state
    beta = np.arange(N) + N * both
    starts = {k: (ends[first == k], beta[first == k]) for k in np.unique(first).tolist()}
    if both:
        also, those = starts.get(0, (beta[:0], beta[:0]))
        starts[0] = np.concatenate([np.ones(N, np.intp), also]), np.concatenate([np.arange(N), those])
    device = backend.device_of(like)
    there = {k: (backend.from_numpy(s, device), backend.from_numpy(r, device)) for k, (s, r) in starts.items()}
    return Alignments(
        backend.from_numpy(places, device), backend.from_numpy(skip.astype(like.dtype, copy=False), device), there
    )


@mg.fuse
def onward(skipped: Any, before: Any, same: Any, skip: Any, x: Any) -> Any:
    """α_t[s] from α_t−1[s − 2], α_t−1[s − 1] and α_t−1[s], with 0 or NEVER for a skip, and x_t[y'_s]."""
    skipped = skipped + skip
    most = np.maximum(np.maximum(skipped, before), same)
    return np.log(np.exp(skipped - most) + np.exp(before - most) + np.exp(same - most)) + most + x


# ---- arrays: the loop used in training ---------------------------------------------------------------------------


def flattened(x: Array, input_lengths: Array) -> Array:
    """x (T, N, C) as (T, N·C + 1): clipped at NEVER, which is also the last number; 0 after the end of a sequence."""
    T, N, C = x.shape
    x = x.astype(np.result_type(x.dtype, np.float32), copy=False)
    if N and input_lengths.min() < T:
        real = backend.from_numpy(np.arange(T)[:, None, None] < input_lengths[:, None], backend.device_of(x))
        x = np.where(real, x, 0.0)
    flat = np.full_like(x, NEVER, shape=(T, N * C + 1))
    np.maximum(x.reshape(T, N * C), NEVER, out=flat[:, :-1])
    return flat


def passed(flat: Array, a: Alignments, N: int) -> tuple[Array, Array, Array]:
    """The states after each step (T + 1, L + 2, R), including those before the first; the first two are padding. Then
    the constants to add to them (T + 1, R), in float64, and x[t] of each state (T, L, R)."""
    T, (L, R) = len(flat), a.places.shape
    if R == N:  # β's rows, from the last step to the first
        emitted = np.take(flat[::-1], a.places, axis=1)  # (T, L, R)
    else:
        places = np.concatenate([a.places[:, :N], a.places[:, N:] + flat.shape[1]], axis=1)
        emitted = np.take(np.concatenate([flat, flat[::-1]], axis=1), places, axis=1)
    states = np.empty_like(flat, shape=(T + 1, L + 2, R))
    states[:, :2] = states[0] = NEVER
    moved = np.zeros_like(flat, shape=(T + 1, R), dtype=np.float64)
    step = _kernel(states[0], a.skip)
    with np.errstate(invalid="ignore"):  # an infinite number gives NaN
        now = states[:-1]
        for t, (y2, y1, y, x, after) in enumerate(
            zip(now[:, :-2], now[:, 1:-1], now[:, 2:], emitted, states[1:, 2:], strict=True)
        ):
            if t in a.starts:
                states[(t, *a.starts[t])] = 0.0
            step.forward.into((y2, y1, y, a.skip, x), after)
            if t % EVERY == EVERY - 1:
                most = after.max(axis=0)
                most *= most > NEVER / 2  # rows that have not begun stay unchanged
                moved[t + 1] = most
                after -= most
    if T in a.starts:
        states[(T, *a.starts[T])] = 0.0
    return states, np.cumsum(moved, axis=0), emitted


def _kernel(now: Array, skip: Array) -> Any:
    """`onward` for such arrays, without Tensors around them."""
    operands = [mg.Tensor(a) for a in (now[:-2], now[1:-1], now[2:], skip, skip)]
    with mg.no_grad():
        return onward.kernel(*operands)  # type: ignore[attr-defined]


def log_likelihood(states: Array, added: Array, N: int) -> Array:
    """log p(y | x) (N,), from the last two states of β's rows; −∞ where there is no alignment. In float64."""
    last = states[-1, -2:, states.shape[2] - N :].astype(np.float64)
    with np.errstate(invalid="ignore"):
        total = np.logaddexp(last[0], last[1])
    return np.where(total < NEVER / 2, -np.inf, total + added[-1, added.shape[1] - N :])


def posteriors(
    states: Array, added: Array, emitted: Array, log_p: Array, places: Array, C: int, blank: int
) -> Array:  # fmt: skip
    """γ summed over the states of each class, (T, N, C), for rows of both directions; 0 after a sequence's end."""
    (T, L, _), N = emitted.shape, len(log_p)
    alpha, beta, x = states[1:, 2:, :N], states[:0:-1, :1:-1, N:], emitted[:, :, :N]  # (T, L, N)
    rest = (added[1:, :N] + added[:0:-1, N:] - log_p).astype(states.dtype, copy=False)  # (T, N)
    classes = np.empty_like(states, shape=(T, N, C))
    labels = places[1::2, :N]  # (S, N), n·C + label
    height = max(BLOCK // max(N * max(L, C), 1), 1)
    for start in range(0, T, height):
        stop = min(start + height, T)
        each = alpha[start:stop] + beta[start:stop]
        each -= x[start:stop]
        each += np.expand_dims(rest[start:stop], 1)
        with np.errstate(over="ignore"):  # in virtual states, which have no class
            np.exp(each, out=each)
        steps = backend.from_numpy(np.arange(stop - start)[:, None, None] * (N * C + 1), backend.device_of(states))
        sums = np.bincount((labels + steps).reshape(-1), each[:, 1::2].reshape(-1), (stop - start) * (N * C + 1))
        classes[start:stop] = sums.reshape(stop - start, N * C + 1)[:, :-1].reshape(stop - start, N, C)
        classes[start:stop, :, blank] = each[:, ::2].sum(axis=1)
    return classes


# ---- Tensors: the recursion as stated above ----------------------------------------------------------------------


def log_likelihood_by_steps(
    x: Any, targets: Array, input_lengths: Array, target_lengths: Array, blank: int
) -> Any:  # fmt: skip
    """log p(y | x) (N,) as a recorded loop over steps of Tensors, with β alone; x (T, N, C)."""
    T, N, C = x.shape
    x = x.astype(np.result_type(x.dtype, np.float32))
    a = alignments(targets, input_lengths, target_lengths, x.shape, blank, x.data, both=False)
    real = backend.from_numpy(np.arange(T)[:, None, None] < input_lengths[:, None], x.device)
    x = np.maximum(np.where(real, x, 0.0).reshape((T, N * C)), NEVER)
    never = np.full_like(x.data, NEVER, shape=(T, 1))
    emitted = np.concatenate([x, never], axis=1)[:, a.places]  # (T, L, N)
    two = np.full_like(x.data, NEVER, shape=(2, N))
    state: Any = np.full_like(x.data, NEVER, shape=(len(a.places) + 2, N))
    for t, _ in mg.steps(range(T)):
        s = _started(state, a, t)
        state = np.concatenate([two, onward(s[:-2], s[1:-1], s[2:], a.skip, emitted[T - 1 - t])])
    total = mg.logsumexp(_started(state, a, T)[-2:], axis=0)
    return np.where(total.data < NEVER / 2, -np.inf, total)


def _started(state: Any, a: Alignments, step: int) -> Any:
    """The states (L + 2, N), with 0 in the virtual states of rows that begin at this step."""
    if step not in a.starts:
        return state
    begins = np.zeros_like(state.data if isinstance(state, mg.Tensor) else state, dtype=bool)
    begins[a.starts[step]] = True
    return np.where(begins, 0.0, state)


def pulled_back(of_posteriors: Any, x: Any, *labelling: Any) -> Any:
    """The gradient at x from one at the posteriors, which are the gradient of log p: the Hessian of log p times it."""
    given = [v if isinstance(v, mg.Tensor) else mg.Tensor(v) for v in (x, of_posteriors)]
    product = mg.hvp(lambda x: np.sum(log_likelihood_by_steps(x, *labelling)), *given)
    return product if isinstance(x, mg.Tensor) or isinstance(of_posteriors, mg.Tensor) else product.data
