"""Reading the tape below a loss: its nodes, their time steps, and gradients without side effects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import minigrad as mg
from minigrad.backward import nodes_below
from minigrad.leaves import seed
from minigrad.programs.rolled import unfold
from minigrad.tape import Node, Observer, Output, describe
from minigrad.where import Scope

Edge = Any


class Tape:
    """The graph of a loss.

    what   the calling function, for messages
    loss   a scalar Tensor on the tape
    nodes  all nodes below it, in recording order

    Raises TypeError or RuntimeError for any other loss, and RuntimeError if its graph was released.
    """

    def __init__(self, what: str, loss: mg.Tensor) -> None:
        if not isinstance(loss, mg.Tensor):
            raise TypeError(f"{what}: the loss must be a Tensor, not {type(loss).__name__}")
        self.what = what
        self.root = (loss.edge or loss, seed(loss, None, what))
        if loss.edge is not None:
            unfold([loss.edge])
        self.like = loss.data
        self.nodes = nodes_below([self.root[0]])
        self._steps: dict[Scope | None, int | None] = {None: None}
        self.check()

    def check(self) -> None:
        """Raise RuntimeError if the graph, or a part of it, was released."""
        for node in self.nodes:
            if node.edges is None:
                raise RuntimeError(
                    f"{self.what}: the graph below the result of {describe(node)}\nwas released by backward. Call "
                    f"{self.what} before it, or use loss.backward(retain_graph=True). If that is a state carried over "
                    "from an earlier window, cut it there with state.detach()"
                )

    def step(self, node: Node) -> int | None:
        """The time step in which a node was recorded, None outside all steps. For nested steps, the outermost."""
        scope = node.scope
        if scope not in self._steps:
            numbers = [s.step for s in scope.path() if s.step is not None] if scope is not None else []
            self._steps[scope] = numbers[0] if numbers else None
        return self._steps[scope]

    def length(self) -> int:
        """T: one more than the last step."""
        last = max((s for s in map(self.step, self.nodes) if s is not None), default=None)
        if last is None:
            raise ValueError(
                f"{self.what}: nothing below the loss was recorded in a time step. Layers of nn open one for each "
                "step; a loop of your own does as `for t, x in mg.steps(xs):`. Steps under mg.checkpoint are not seen"
            )
        return last + 1

    def gradients(
        self, roots: Sequence[tuple[Edge, Any]], wanted: Iterable[Any], *, stop: bool = False,
        observers: Sequence[Observer] = (),
    ) -> dict[Any, Any]:  # fmt: skip
        """The gradients of `wanted` (keys of edges) from `roots`, (edge, gradient) pairs.

        stop  stop at wanted edges: each then gets only the gradient from paths that avoid the others
        """
        with _untouched(self.nodes):
            if stop:
                return mg.walk(roots, retain_graph=True, wanted=set(wanted), within=True, observers=observers)
            return mg.walk(roots, retain_graph=True, wanted=set(wanted), observers=observers)


def outputs_of(node: Node) -> list[Any]:
    """The edges to all outputs of a node."""
    if type(node.dtype) is not tuple:
        return [node]
    return [Output(node, k, s, d) for k, (s, d) in enumerate(zip(node.shape, node.dtype, strict=True))]


@contextmanager
def _untouched(nodes: Iterable[Node]) -> Iterator[None]:
    """Protect the `.grad` of results that retain it."""
    retained = [
        t for n in nodes if n.extra is not None for ref in n.extra.retained.values() if (t := ref()) is not None
    ]
    before = [t.grad for t in retained]
    try:
        yield
    finally:
        for tensor, grad in zip(retained, before, strict=True):
            tensor.grad = grad
