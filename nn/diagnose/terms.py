"""The summands of ∂L/∂W = Σ_k, one for each step that uses the parameter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.backward import key_of
from minigrad.tape import Node, node_of
from minigrad.vocabulary import PRIMITIVES

from ..training.files import StrPath
from .norms import arrived, by_lag, core, horizon_of, norms_of, not_finite
from .result import BLUE, Array, Result, drawing, heat_map, positive, share, whole_steps
from .tape import Tape, outputs_of
from .times import MOVING, flat_parents
from .uses import Uses

HORIZON = 0.9


@dataclass(frozen=True, repr=False, eq=False)
class Terms(Result):
    """∂L/∂W = Σ_k, term by term.

    terms  (T, *W.shape): the contribution of the use of W in step k
    rest   (*W.shape): from uses outside all steps, such as a penalty on the weights in the loss
    """

    terms: Array
    rest: Array

    @property
    def total(self) -> Array:
        """Σ_k and the rest: the gradient that backward adds to `.grad`."""
        whole: Array = self.terms.sum(axis=0) + self.rest
        return whole

    @property
    def norms(self) -> Array:
        """(T,): the norm of each term."""
        return norms_of(self.terms, 1)

    @property
    def verdict(self) -> str:
        """The steps that the gradient comes from."""
        norms = self.norms
        if (wrong := not_finite(norms)) is not None:
            return f"the term of step {wrong} is not finite"
        if not norms.any():
            return "no step contributes to the gradient"
        first, last = core(norms, HORIZON)
        part = f"{share(HORIZON)} of the gradient (by the norms of the terms)"
        if first == last:
            return f"step {first} of 0 to {len(norms) - 1} holds {part}"
        return f"steps {first} to {last} of 0 to {len(norms) - 1} hold {part}"

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        total = max(self.norms.sum(), np.finfo(float).tiny)
        rows: list[list[Any]] = [[k, n, share(n / total)] for k, n in enumerate(self.norms)]
        return ["step k", "‖term‖", "share"], rows

    def plot(self, path: StrPath | None = None) -> Any:
        """The norm of each term over its step. Returns the matplotlib Figure, and writes it to `path`."""
        with drawing("Terms", path) as figure:
            ax = figure.subplots()
            ax.plot(positive(self.norms), color=BLUE, marker=".")
            ax.set_yscale("log")
            ax.set(xlabel="step k of the use", ylabel="norm of the term")
            ax.set_title(self.verdict, loc="left")
            whole_steps(ax.xaxis)
        return figure


@dataclass(frozen=True, repr=False, eq=False)
class TermsByLoss(Result):
    """∂L/∂W = Σ_t Σ_{k≤t}, by loss step t and use step k. Rows are computed on demand.

    loss_steps  the steps t at which the gradient of the loss enters; all other rows are zero
    rest        (*W.shape): from uses outside all steps
    """

    loss_steps: tuple[int, ...]
    rest: Array
    _uses: Uses = field(repr=False)
    _entries: dict[int, list[tuple[Any, Any]]] = field(repr=False)
    _direct: Array = field(repr=False)  # (T, *W.shape): uses after the steps, with equal loss step and use step
    _norms: list[Array] = field(default_factory=list, repr=False)

    def row(self, t: int) -> Array:
        """(T, *W.shape): the contribution of step t's loss through the use in each step k. One walk of the tape."""
        if not 0 <= t < self._uses.T:
            raise IndexError(f"bptt_terms: there is no step {t}, only 0 to {self._uses.T - 1}")
        terms = np.zeros_like(self._direct)
        if t in self._entries:
            self._uses.tape.check()
            terms = backend.to_numpy(self._uses.collect(self._entries[t])[0])
        terms[t] += self._direct[t]
        return terms

    @property
    def terms(self) -> Array:
        """(T, T, *W.shape): term [t, k]. All rows at once: T walks, and T² times the parameter's memory."""
        return np.stack([self.row(t) for t in range(self._uses.T)])

    @property
    def norms(self) -> Array:
        """(T, T): the norm of each term [t, k], in the memory of one row."""
        if not self._norms:
            self._norms.append(np.stack([norms_of(self.row(t), 1) for t in range(self._uses.T)]))
        return self._norms[0]

    def horizon(self, part: float = HORIZON) -> int:
        """The number of steps back within which this share of the gradient arrives: the smallest d such that the terms
        with t − k ≤ d hold it, by their norms."""
        return horizon_of(self.norms, part)

    @property
    def verdict(self) -> str:
        """The distance over which the gradient flows back."""
        norms = self.norms
        if not np.isfinite(norms).all():
            t, k = np.argwhere(~np.isfinite(norms))[0]
            return f"the term of loss step {t} and use step {k} is not finite"
        if not norms.any():
            return "no step contributes to the gradient"
        return f"{share(HORIZON)} of the gradient comes from within {self.horizon()} of {len(norms) - 1} steps back"

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        lags = by_lag(self.norms)
        return ["steps back", "Σ ‖term‖", "share up to here"], [
            [d, n, share(c)] for d, (n, c) in enumerate(zip(lags, arrived(self.norms), strict=True))
        ]

    def plot(self, path: StrPath | None = None) -> Any:
        """The norm of each term, loss step over use step. Returns the matplotlib Figure, and writes it to `path`."""
        with drawing("TermsByLoss", path, 5.2, 4.2) as figure:
            ax = figure.subplots()
            heat_map(figure, ax, self.norms, "norm of the term")
            ax.set(xlabel="step k of the use", ylabel="step t of the loss")
            ax.set_title(self.verdict, loc="left")
        return figure


def bptt_terms(loss: mg.Tensor, parameter: mg.Tensor, *, by: str = "use") -> Any:
    """The summands of back-propagation through time, ∂L/∂W = Σ_k, which add up to `.grad`.

    loss       a scalar tensor, before `backward` (or after one with retain_graph=True)
    parameter  a tensor that it depends on: a weight, a bias, an embedding
    by         "use": one term for each step k that uses the parameter, a `Terms`. "loss": also by the step t at which
               the gradient of the loss enters the steps, a `TermsByLoss`, which computes the row of each t on demand,
               and keeps the graph alive

    The step of a use is the step of the last operation on the gradient's path to the parameter that was recorded in a
    time step (of nested ones, the outermost). A product that a layer computes for all steps at once is therefore split
    again by rows, and so is one after the steps, over all states. Contributions outside all steps are in `.rest`. A
    segment under `mg.checkpoint` belongs to the step that called it, if any.

    With by="use", and the product written as in Werbos 1990: ∂L/∂W = Σ_k δ_k ∂⁺s_k/∂W, where δ_k is ∂L/∂s_k and ∂⁺
    holds s_{k−1} fixed; with by="loss", Pascanu, Mikolov & Bengio 2013, equations 3 to 5. If a loop adds up losses (of
    at most one axis), each summand is the loss of its step.

    >>> import numpy as np, minigrad as mg, nn
    >>> layer = nn.RNN(3, 5, dtype=np.float64)
    >>> output, h = layer(mg.randn(7, 2, 3, dtype=np.float64))
    >>> loss = (output[-1] ** 2).sum()
    >>> found = nn.diagnose.bptt_terms(loss, layer.weight_hh_l0)
    >>> found.terms.shape
    (7, 5, 5)
    >>> loss.backward()
    >>> np.allclose(found.terms.sum(axis=0), layer.weight_hh_l0.grad)
    True

    Raises TypeError or RuntimeError if `loss` is not a scalar on the tape or its graph was released, ValueError if it
    does not depend on the parameter, if nothing was recorded in a time step, or for another `by`.
    """
    tape = Tape("bptt_terms", loss)
    if not isinstance(parameter, mg.Tensor):
        raise TypeError(f"bptt_terms: the parameter must be a Tensor, not {type(parameter).__name__}")
    if not parameter.requires_grad:
        raise ValueError(f"bptt_terms: the parameter of shape {parameter.shape} does not require grad")
    if by not in ("use", "loss"):
        raise ValueError(f'bptt_terms: by is "use" or "loss", not {by!r}')
    uses = Uses(tape, parameter)
    if by == "use":
        terms, rest, _ = uses.collect([tape.root])
        return Terms(backend.to_numpy(terms), backend.to_numpy(rest))
    entries = entries_of(tape)
    direct, rest, found = uses.collect([tape.root], frozenset(entries))
    seeds: dict[int, list[tuple[Any, Any]]] = {}
    for key, gradient in found.items():
        if key in entries and bool(np.any(gradient != 0)):
            step, edge = entries[key]
            seeds.setdefault(step, []).append((edge, gradient))
    direct, rest = backend.to_numpy(direct), backend.to_numpy(rest)
    steps = sorted({*seeds, *[int(t) for t in np.flatnonzero(norms_of(direct, 1))]})
    return TermsByLoss(tuple(steps), rest, uses, seeds, direct)


ACCUMULATING = frozenset([PRIMITIVES["add"], PRIMITIVES["subtract"]])


def entries_of(tape: Tape) -> dict[Any, tuple[int, Any]]:
    """The places where gradient enters the steps from the loss: for each key, the step and the edge."""

    def above(node: Node) -> bool:
        """True if a node is outside the steps, or only moves values made in others, or adds up losses."""
        if tape.step(node) is None or node.primitive in MOVING:
            return True
        return node.primitive in ACCUMULATING and len(node.shape) <= 1

    stack, seen = [tape.root[0]], set()
    entries: dict[Any, tuple[int, Any]] = {}
    while stack:
        edge = stack.pop()
        node = node_of(edge)[0]
        if isinstance(edge, mg.Tensor) or node in seen:
            continue
        seen.add(node)
        if above(node):
            stack += flat_parents(node)
        else:
            step = tape.step(node)
            assert step is not None
            entries |= {key_of(each): (step, each) for each in outputs_of(node)}
    return entries
