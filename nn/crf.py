"""A linear-chain conditional random field: scores for tags, and for pairs of neighbouring tags."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from . import init
from .losses.elementwise import array_beside, check_mask, check_reduction, reduced
from .modules import Module, Parameter, beside
from .sequences import reasons
from .sequences.recurrent import Recurrent

Array = Any


class CRF(Module):
    """The distribution p(y | e) = exp(s(y)) / Σ_y' exp(s(y')) over sequences of tags y (Lafferty et al. 2001), with

        s(y) = start[y_1] + Σ_t e_t[y_t] + Σ_t transitions[y_t, y_t+1] + end[y_T]

    num_tags     K
    batch_first  emissions are (N, T, K), and tags and masks (N, T), instead of (T, N, K) and (T, N)
    constraints  (K, K) booleans: True where a tag (row) may be followed by another (column); None: everywhere. Or a
                 tuple of these, `first` and `last`, as returned by `nlp.tag_constraints`. A given sequence that breaks
                 them has likelihood 0
    first, last  (K,) booleans: True for tags that may begin, or end, a sequence

    transitions (K, K), start and end (K,) are initialized from U(−0.1, 0.1). Calling the module returns the loss.
    Sequences of unequal lengths need `lengths`, (N,) integers from 0 to T, or a `mask`, True for the first steps of
    each sequence; emissions and tags at other steps have no influence. A sequence without steps has one tagging, with
    score 0 and likelihood 1.

    >>> import minigrad as mg, nn
    >>> crf = nn.CRF(3)
    >>> emissions = mg.randn(4, 2, 3)
    >>> loss = crf(emissions, [[0, 1], [2, 2], [1, 0], [0, 0]], lengths=[4, 2])
    >>> paths, scores = crf.viterbi(emissions, lengths=[4, 2])
    >>> [len(path) for path in paths]
    [4, 2]
    """

    constraints: mg.Tensor | None
    first: mg.Tensor | None
    last: mg.Tensor | None

    def __init__(
        self, num_tags: int, *, batch_first: bool = False, constraints: Any = None, first: Any = None,
        last: Any = None, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_tags < 1:
            raise ValueError(f"CRF: num_tags must be at least 1, not {num_tags}")
        if (
            constraints is not None and len(constraints) == 3 and np.ndim(constraints[0]) == 2
        ):  # a matrix has rows there
            if first is not None or last is not None:
                raise ValueError("CRF: constraints is a tuple that has `first` and `last` already; leave these out")
            constraints, first, last = constraints
        self.num_tags = num_tags
        self.batch_first = batch_first
        made = {"device": device, "dtype": dtype}
        self.transitions = Parameter(init.uniform_(mg.zeros((num_tags, num_tags), **made), -0.1, 0.1))
        self.start = Parameter(init.uniform_(mg.zeros(num_tags, **made), -0.1, 0.1))
        self.end = Parameter(init.uniform_(mg.zeros(num_tags, **made), -0.1, 0.1))
        for name, given, axes in (("constraints", constraints, 2), ("first", first, 1), ("last", last, 1)):
            if given is None:
                setattr(self, name, None)
                continue
            allowed, shape = mg.tensor(given, device=device), (num_tags,) * axes
            if allowed.shape != shape or allowed.dtype != bool:
                raise ValueError(f"CRF: {name} must be boolean, {shape}, not {allowed.dtype} {allowed.shape}")
            self.register_buffer(name, allowed, persistent=False)

    def forward(
        self, emissions: Any, tags: Any, mask: Any = None, lengths: Any = None, *, reduction: str = "mean"
    ) -> Any:
        """−log p(tags | emissions), for emissions (T, N, K), tags (T, N), and mask (T, N) or lengths (N,).

        reduction  over the sequences: "mean" or "sum" give a scalar, "none" gives (N,)
        """
        check_reduction("CRF", reduction)
        return reduced(-self.log_likelihood(emissions, tags, mask, lengths), reduction)

    def log_likelihood(self, emissions: Any, tags: Any, mask: Any = None, lengths: Any = None) -> Any:
        """log p(tags | emissions), (N,); the arguments are those of a call."""
        e, m = self._steps(emissions, mask, lengths)
        return self._score(e, self._tags(tags, e, m), m) - self._log_partition(e, m)

    def log_partition(self, emissions: Any, mask: Any = None, lengths: Any = None) -> Any:
        """log Σ_y exp(s(y)) over all sequences of tags, (N,). Its gradients are the marginal probabilities."""
        return self._log_partition(*self._steps(emissions, mask, lengths))

    @property
    def rolled(self) -> bool | str:
        """The reason why the recursion of the last call ran step by step."""
        return reasons.rolled(self)

    def viterbi(self, emissions: Any, mask: Any = None, lengths: Any = None) -> tuple[list[list[int]], Any]:
        """The most likely tags of each sequence, N lists of integers, and their scores s, (N,) (Viterbi 1967)."""
        with mg.no_grad():
            e, m = self._steps(emissions, mask, lengths)
            start, transitions, end = self._allowed()
            best = e[0] + start  # (N, K): the best score of all paths to a tag
            origins = []  # for each step but the first, (N, K): the previous tag on that path
            for t in range(1, e.shape[0]):
                scores = np.expand_dims(best, -1) + transitions  # (N, K, K)
                origin, reached = np.argmax(scores, axis=1), np.max(scores, axis=1) + e[t]
                if m is not None:  # a sequence that has ended keeps its scores
                    goes_on = np.expand_dims(m[t], -1)
                    origin = np.where(goes_on, origin, backend.module_of(origin).arange(self.num_tags))
                    reached = np.where(goes_on, reached, best)
                origins.append(origin)
                best = reached
            best = best + end
            tag = np.argmax(best, axis=1)  # (N,)
            path = [tag]
            for origin in reversed(origins):
                tag = np.take_along_axis(origin, np.expand_dims(tag, -1), axis=1)[:, 0]
                path.append(tag)
            paths = backend.to_numpy(np.stack(path[::-1], axis=1)).tolist()  # (N, T)
            ends = [len(path)] * len(paths) if m is None else backend.to_numpy(np.sum(m, axis=0)).tolist()
            score = np.max(best, axis=1)
            score = score if m is None else np.where(m[0], score, 0.0)
            return [tags[:end] for tags, end in zip(paths, ends, strict=True)], score

    # ---- the parts -----------------------------------------------------------------------------------------------

    def _allowed(self) -> tuple[Any, Any, Any]:
        """start (K,), transitions (K, K), end (K,): −∞ where forbidden."""
        pairs = ((self.first, self.start), (self.constraints, self.transitions), (self.last, self.end))
        start, transitions, end = [s if may is None else np.where(may, s, -np.inf) for may, s in pairs]
        return start, transitions, end

    def _score(self, e: Any, tags: Array, m: Array | None) -> Any:
        """s(tags), (N,)."""
        start, transitions, end = self._allowed()
        at_places = np.take_along_axis(e, np.expand_dims(tags, -1), axis=2)[..., 0]  # (T, N)
        between = transitions[tags[:-1], tags[1:]]  # (T − 1, N)
        first, last = start[tags[0]], end[tags[-1]]  # (N,)
        if m is not None:
            ends = np.expand_dims(np.maximum(np.sum(m, axis=0) - 1, 0), 0)
            first = np.where(m[0], first, 0.0)  # a sequence without steps has no ends
            last = np.where(m[0], end[np.take_along_axis(tags, ends, axis=0)[0]], 0.0)
            between = np.where(m[1:], between, 0.0)
        return first + np.sum(at_places, axis=0) + np.sum(between, axis=0) + last

    def _log_partition(self, e: Any, m: Array | None) -> Any:
        """The logarithm of the sum over all paths, (N,), from those that end at each tag (see `Forward`)."""
        start, transitions, end = self._allowed()
        cell, alpha = Forward(transitions), start + e[0]  # (N, K)
        reasons.note(self, None)
        if (m is None or backend.backend_of(e.data).synchronous) and e.shape[0] > 1:
            layer = Recurrent(cell)
            _, alpha = layer.forward(e[1:], alpha, mask=None if m is None else m[1:])
            reasons.adopt(self, layer)
        elif e.shape[0] > 1:  # a layer over time would look at the mask, and wait for it
            assert m is not None
            reasons.note(self, "its mask is not read, on a GPU or in a recording of mg.compile")
            for t, e_t in mg.steps(e[1:]):
                (reached,) = cell.step(e_t, (alpha,))
                alpha = np.where(np.expand_dims(m[t + 1], -1), reached, alpha)
        total = mg.logsumexp(alpha + end, axis=1)
        return total if m is None else np.where(m[0], total, 0.0)

    # ---- checks of arguments -----------------------------------------------------------------------------------------

    def _steps(self, emissions: Any, mask: Any, lengths: Any) -> tuple[Any, Array | None]:
        """Emissions (T, N, K), 0 where the mask (T, N) is False, and the mask or None; errors for arguments that do not
        fit.
        """
        e: Any = beside(self, emissions)
        if e.ndim != 3 or e.shape[2] != self.num_tags:
            layout = "(N, T, K)" if self.batch_first else "(T, N, K)"
            raise ValueError(f"CRF: emissions must be {layout} with K = {self.num_tags}, not {e.shape}{here()}")
        if mask is not None and lengths is not None:
            raise ValueError(f"CRF: give mask= or lengths=, not both{here()}")
        if mask is not None:
            mask = check_mask(self, mask, e.shape[:2], e)
        if self.batch_first:
            e, mask = np.swapaxes(e, 0, 1), None if mask is None else mask.T
        if lengths is not None:
            mask = _mask_of(lengths, e)
        elif mask is not None:
            _check_prefixes(mask)
        if not e.shape[0]:  # one padded step, so that there is a step
            e = np.concatenate([e, np.zeros_like(e.data, shape=(1, *e.shape[1:]))])
            mask = np.zeros_like(e.data, shape=e.shape[:2], dtype=bool)
        if mask is not None:
            e = np.where(np.expand_dims(mask, -1), e, 0.0)
        return e, mask

    def _tags(self, tags: Any, e: Any, m: Array | None) -> Array:
        """Tags (T, N), 0 after the end of a sequence; errors for tags that do not fit."""
        tags = array_beside(tags, e)
        if not tags.size and tags.ndim == 2 and m is not None and tags.shape[int(self.batch_first)] == 0:
            return np.zeros_like(e.data, shape=e.shape[:2], dtype=np.intp)
        expected = e.shape[1::-1] if self.batch_first else e.shape[:2]
        if tags.shape != expected or tags.dtype.kind not in "iu":
            layout = "(N, T)" if self.batch_first else "(T, N)"
            raise ValueError(
                f"CRF: tags must be integers, {layout} = {expected}, not {tags.dtype} {tags.shape}{here()}"
            )
        tags = tags.T if self.batch_first else tags
        tags = tags if m is None else np.where(m, tags, 0)
        try:
            backend.check_indices("CRF", tags, self.num_tags)
        except IndexError as error:
            raise IndexError(f"{error}: tags must be in [0, {self.num_tags}){here()}") from None
        return tags

    def extra_repr(self) -> str:
        return f"{self.num_tags}" + (", batch_first=True" if self.batch_first else "")


class Forward:
    """The cell of the forward algorithm (Rabiner 1989): α_t[j] = log Σ_i exp(α_t−1[i] + transitions[i, j]) + e_t[j].

    transitions  (K, K)
    """

    rolled = True
    states = ("alpha",)

    def __init__(self, transitions: Any) -> None:
        self.transitions = transitions

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Zeros (N, K)."""
        return (mg.Tensor(np.zeros_like(self.transitions.data, shape=(batch, self.transitions.shape[0]))),)

    def step(self, e: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """One step, with a sum over pairs of tags, (N, K, K)."""
        return (mg.logsumexp(np.expand_dims(state[0], -1) + self.transitions, axis=1) + e,)

    def fast_step(self, e: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same with a product: exp α_t = (exp α_t−1) exp(transitions), with the largest α_t−1 of a row taken out.

        The smallest products are made 0, and their logarithms −∞: they lack the digits of terms that underflowed.
        """
        (alpha,) = state
        most = np.max(alpha.detach(), axis=1, keepdims=True)
        reached = np.exp(alpha - most) @ np.exp(self.transitions)  # (N, K)
        least = np.finfo(alpha.dtype).tiny / np.finfo(alpha.dtype).eps
        return (np.log(np.where(reached < least, 0.0, reached)) + most + e,)


def _mask_of(lengths: Any, e: Any) -> Array:
    """(T, N): True in the first `lengths` steps of each sequence. On the CPU, lengths are checked."""
    lengths = array_beside(lengths, e) if not isinstance(lengths, list | tuple) else np.asarray(lengths)
    steps, n = e.shape[:2]
    lengths = lengths if lengths.size else lengths.astype(np.intp)  # an empty list has no dtype
    if lengths.shape != (n,) or lengths.dtype.kind not in "iu":
        raise ValueError(
            f"CRF: lengths must be {n} integers, one for each sequence, not {lengths.dtype} {lengths.shape}{here()}"
        )
    if n and backend.backend_of(lengths).synchronous:
        for length in (int(lengths.min()), int(lengths.max())):
            if not 0 <= length <= steps:
                raise ValueError(f"CRF: lengths must be from 0 to T = {steps}, not {length}{here()}")
    mask = np.expand_dims(backend.module_of(lengths).arange(steps), -1) < lengths
    return backend.transfer(mask, e.device)


def _check_prefixes(mask: Array) -> None:
    """ValueError if a sequence of the mask (T, N) goes on after its end (not checked on a GPU)."""
    if not backend.backend_of(mask).synchronous:
        return
    holes = np.any(mask[1:] & ~mask[:-1], axis=0)  # (N,)
    if np.any(holes):
        raise ValueError(
            f"CRF: the mask of sequence {int(np.argmax(holes))} has a hole; only its last steps may be False{here()}"
        )
