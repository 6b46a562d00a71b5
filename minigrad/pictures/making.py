"""`mg.graph`: from a result, or a function, to a graph in the requested view."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from ..backward import nodes_below
from ..fusion.fused import Fused
from ..programs.rolled import unfold
from ..tensors import Tensor
from ..trees import flatten
from . import views
from .builder import build
from .graph import Graph, Options
from .numbers import Observations
from .plumbing import with_parts_as_inputs, without_plumbing
from .running import follow_gradients, run
from .spreading import spread
from .textbook import textbook

STYLES = (None, "textbook")
VIEWS = ("auto", "full", "elided", "rolled")
DIRECTIONS = (None, "time", "right", "down")


def graph(
    what: Tensor | Iterable[Tensor] | Callable[..., Any],
    *args: Any,
    params: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None,
    view: str = "auto",
    depth: int | None = None,
    collapse: str | Collection[str] = (),
    expand: bool | str | Collection[str] = False,
    shapes: bool = False,
    dtypes: bool = False,
    values: bool = False,
    grads: bool = False,
    bytes: bool = False,
    lines: bool = False,
    color: str | None = None,
    direction: str | None = None,
    style: str | None = None,
    plumbing: bool | None = None,
    backward: bool = False,
) -> Graph:
    """The graph of a tensor (or several), as far as it has not been released; or of a function, which is run.

    what, args  tensors, or a function (a module) and its arguments: it is run, and the numbers of every value and
                gradient are kept. Gradients are those of the sum of all its results
    params      names for the leaves: a mapping or pairs such as `named_parameters()`; others use their `.name`
    view        "full"; "elided", the steps 0, 1, 2 … T−1 of each loop; "rolled", one step with its state as a loop;
                "auto", full unless that is too large to lay out
    depth       collapse scopes deeper than this into one node each
    collapse    labels of scopes to collapse: "encoder", "t" (every step), "t = 3"
    expand      show the inside of fused operations: True for all, or labels
    shapes, dtypes, values, grads, bytes, lines
                details of each node: its value's shape, dtype and range, its gradient's norm, the bytes it keeps for
                backward, the line that made it. `values` needs a function to run
    color       "grad": by the norm of the gradient, on a log scale, with a legend
    direction   of the computation: "right" or "down"; "time": upwards, with time to the right, one column a step.
                None: "time" if the steps can be columns, else "right"
    style       "textbook": one box a step with its inputs below and its outputs above, names with subscripts, layers
                above each other; a cell without steps is drawn from the inside (a function that calls a fused one
                runs twice for that), with its memory on top
    plumbing    show operations that only move numbers (`split`, `getitem`, `stack`, ...). None: yes, except in
    textbooks
    backward    arrows follow the gradients, from the result back, each with the norm of its gradient

    No `.grad` changes. Raises ValueError if there is no graph: nothing was computed from a tensor that requires grad,
    or backward released it.
    """
    return made(locals())


def made(given: dict[str, Any], annotated: Callable[[Graph], Graph] = lambda graph: graph) -> Graph:
    """The graph for the arguments of `graph`, by name. `annotated` changes the whole graph, before any view of it."""
    what, args, params, view, depth = (given[name] for name in ("what", "args", "params", "view", "depth"))
    expand, style, plumbing, backward = (given[name] for name in ("expand", "style", "plumbing", "backward"))
    options = _options(given)
    collapse = (given["collapse"],) if isinstance(given["collapse"], str) else tuple(given["collapse"])
    names = {leaf: name for name, leaf in dict(params.items() if isinstance(params, Mapping) else params or ()).items()}
    needs_gradients = given["grads"] or backward or given["color"] is not None
    if callable(what) and not isinstance(what, Tensor):
        if not names and hasattr(what, "named_parameters"):
            names = {leaf: name for name, leaf in what.named_parameters()}
        followed = style == "textbook" and backward  # into the given states as well
        returned, record = run(what, args, names, plain=expand is True, followed=followed)
        roots = [t for t in returned if isinstance(t, Tensor)]
        if style == "textbook" and not expand and _is_cell(roots):  # drawn from the inside
            returned, record = run(what, args, names, plain=True, followed=followed)
            roots = [t for t in returned if isinstance(t, Tensor)]
        needs_gradients = True
    else:
        if args:
            raise TypeError("graph: arguments are for a function; to draw several tensors, pass a list of them")
        roots, record = _tensors(what), Observations()
        if given["values"]:
            raise ValueError(
                "graph: a tensor's graph does not keep values; pass the function, as in mg.graph(f, x, values=True)"
            )
    below = _below(roots)
    if needs_gradients:
        follow_gradients(roots, record, backward)
    found = build(below, [t.edge for t in roots if t.edge is not None], names, record)
    found = annotated(found.replace(options=options.replace(note=found.options.note)))
    if expand:
        chosen = None if expand is True else (expand,) if isinstance(expand, str) else tuple(expand)
        found = views.expanded(found, lambda node: chosen is None or node.op in chosen)
    if style == "textbook":
        found = spread(with_parts_as_inputs(found))
    if not (style is None if plumbing is None else plumbing):
        found = without_plumbing(found)
    steps = views.longest(found)
    if view == "auto" and style is None and steps > views.LONG:
        note = f"elided automatically: {len(found.nodes):,} nodes (view='full' draws all)"
        found = views.elided(found.replace(options=found.options.replace(note=note)))
    elif view == "elided" and style != "textbook":
        found = views.elided(found)
    elif view == "rolled":
        found = views.rolled(found)
    if depth is not None or collapse:
        found = views.collapsed(found, depth, collapse)
    found = textbook(found, view) if style == "textbook" else _with_parts(found)
    return views.fitting(found) if view == "auto" else found


def _options(given: dict[str, Any]) -> Options:
    """The options, checked."""
    if given["view"] not in VIEWS:
        raise ValueError(f"graph: view must be one of {', '.join(VIEWS)}, got {given['view']!r}")
    if given["color"] not in (None, "grad"):
        raise ValueError(f"graph: color must be 'grad' or None, got {given['color']!r}")
    if given["direction"] not in DIRECTIONS:
        raise ValueError(f"graph: direction must be 'right', 'down', 'time' or None, got {given['direction']!r}")
    if given["style"] not in STYLES:
        raise ValueError(f"graph: style must be 'textbook' or None, got {given['style']!r}")
    return Options(**{f.name: given[f.name] for f in fields(Options) if f.name in given and f.name != "view"})


def _with_parts(graph: Graph) -> Graph:
    """The graph with the indices of parts in their labels, as xs[2]; textbooks have subscripts."""
    nodes = [node if node.op else replace(node, label=node.label + node.part) for node in graph.nodes]
    return graph.replace(nodes=tuple(nodes))


def _tensors(what: Any) -> list[Tensor]:
    """One or several tensors as a list."""
    found, _ = flatten(what) if isinstance(what, Tensor | list | tuple | dict) else flatten(
        list(what) if isinstance(what, Iterable) else [what]
    )  # fmt: skip
    if not found or not all(isinstance(t, Tensor) for t in found):
        raise TypeError("graph: expected a Tensor, or several, or a function and its arguments")
    return found


def _is_cell(roots: list[Tensor]) -> bool:
    """True if the results are those of a cell that ran as one operation, outside of all steps."""
    below = _below(roots)
    alone = all(scope.step is None for n in below if n.scope is not None for scope in n.scope.path())
    return alone and any(isinstance(n.primitive, Fused) and n.extra is not None and n.extra.labels for n in below)


def _below(roots: list[Tensor]) -> list[Any]:
    """The nodes below the roots."""
    edges = [t.edge for t in roots if t.edge is not None]
    unfold(edges)
    below = nodes_below(edges)
    if not below:
        raise ValueError(
            "graph: there is nothing to draw: no result here was computed from a tensor that requires grad"
        )
    if all(node.edges is None for node in below):
        raise ValueError("graph: the graph was released by backward; draw before it, or use retain_graph=True")
    return below
