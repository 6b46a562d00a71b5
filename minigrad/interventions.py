"""Interventions: run a model with some of its named values replaced, and see what depends on them.

A value has a name if `mg.name` gave it one (the gates of `nn`'s cells have), if it is a state of a layer over time,
or if it is the output of a module. An `Intervention` is an observer that sees each of them and may replace it.
"""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend
from .creation import as_array
from .modes import changed_mode, current_mode
from .names import Name, Pattern
from .primitives import Primitive, no_gradient
from .replay import RecordingError
from .replay.guarded import Newcomers
from .tables import html_table
from .tape import Observer
from .tensors import Tensor
from .where import Scope

if TYPE_CHECKING:
    from .pictures import Graph

NEAR = 3  # names in a message
MOST = 20  # rows of a table


def _replace(by: Any, old: Any) -> Any:
    return np.broadcast_to(by, old.shape).astype(old.dtype)


# The old value stays an operand, so that pictures show the cut; no gradient reaches it.
REPLACED = Primitive("replaced", _replace, {"by": lambda g: g, "old": no_gradient})


class Intervention(Observer):
    """A run with values replaced: a context manager, and afterwards its record. `mg.intervene` makes one.

    values    the named values of the run by full name, after replacement: tensors, on the tape if recorded
    replaced  for each replaced value, its full name and the name given to `mg.intervene`
    """

    changes = True

    def __init__(self, replace: Mapping[str, Any]) -> None:
        self.values: dict[str, Tensor] = {}
        self.replaced: dict[str, str] = {}
        self._rules = [(Pattern(text), by) for text, by in replace.items()]
        self._matched: set[str] = set()
        self._names: dict[str, Name] = {}
        self._counts: dict[str, int] = {}
        self._scopes: set[tuple[Scope | None, str]] = set()  # scopes in which a name was given
        self._used: dict[int, weakref.ref[Tensor]] = {}  # by id: operands so far
        self._gone: dict[int, tuple[weakref.ref[Tensor], str]] = {}  # by id: replaced tensors, with their names
        self._stack: ExitStack | None = None
        self._began = self._busy = False

    # ---- the context ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Intervention:
        mode = current_mode()
        if mode.intake.follows or any(isinstance(o, Newcomers) for o in mode.observers):
            raise RecordingError(
                "intervene: a function of mg.compile would replay the values of one intervention for ever; put the "
                "intervention around the call, where the function runs as it is written"
            )
        if self._began:
            raise RuntimeError("intervene: an intervention is one run; call mg.intervene again for another one")
        self._began = True
        self._stack = ExitStack()
        self._stack.enter_context(changed_mode(observers=(*mode.observers, self), fast=False))
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        assert self._stack is not None
        self._stack.close()
        self._used.clear()
        self._gone.clear()
        self._scopes.clear()
        if kind is None:
            for pattern, _ in self._rules:
                if pattern.text not in self._matched:
                    raise ValueError(f"intervene: {self._missing(pattern.text)}")

    def _missing(self, text: str) -> str:
        """A sentence about a name that no value has, with similar names."""
        if not self._names:
            return (
                f"nothing is called {text!r}: no value of this run has a name. Name one where it is made, as in "
                "f = mg.name(mg.sigmoid(z), 'f')"
            )
        words = text.split()

        def likeness(name: str) -> tuple[bool, float]:
            return name.split()[-1] in words, difflib.SequenceMatcher(None, text, name).ratio()

        near = sorted(self._names, key=likeness, reverse=True)[:NEAR]
        return f"nothing is called {text!r}; near names are {', '.join(map(repr, near))}"

    # ---- as an observer ------------------------------------------------------------------------------------------

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        """See Observer."""
        if self._busy:
            return
        for operand in operands:
            for value in operand if isinstance(operand, tuple | list) else (operand,):
                if isinstance(value, Tensor):
                    found = self._gone.get(id(value))
                    if found is not None and found[0]() is value:
                        raise RuntimeError(
                            f"intervene: {primitive.name} uses {found[1]!r} as it was before it was replaced; go on "
                            "with what mg.name returns, as in f = mg.name(f, 'f')"
                        )
                    self._used[id(value)] = weakref.ref(value)

    def named(self, label: str, value: Tensor, *, by: str = "name") -> Tensor:
        """See Observer."""
        if self._busy or by == "gate":
            return value
        scope = current_mode().scope
        if by == "loop" and (scope, label) in self._scopes:
            return value  # named by the cell already
        self._scopes.add((scope, label))
        first = str(Scope(scope, label))
        self._counts[first] = count = self._counts.get(first, 0) + 1
        name = Name(scope, label, count)
        chosen = None
        for pattern, other in self._rules:
            if pattern.matches(name):
                self._matched.add(pattern.text)
                chosen = (pattern, other)
        if chosen is not None:
            old, value = value, self._replacement(name.text, value, chosen[1], by)
            self.replaced[name.text] = chosen[0].text
            if by == "name":
                self._gone[id(old)] = (weakref.ref(old), name.text)
        if by == "loop" and value.edge is not None and value.name is None:
            value.name = label  # pictures show it, too
        self._names[name.text] = name
        self.values[name.text] = value
        return value

    def _replacement(self, name: str, old: Tensor, new: Any, by: str) -> Tensor:
        """The tensor that replaces another one."""
        used = self._used.get(id(old))
        if by == "name" and used is not None and used() is old:
            raise RuntimeError(
                f"intervene: {name!r} was used before it was named, and what used it would keep the old value; name "
                "it where it is made, as in f = mg.name(mg.sigmoid(z), 'f')"
            )
        kept: Any = old
        self._busy = True
        try:
            if isinstance(new, Intervention):
                if name not in new.values:
                    raise ValueError(f"intervene: the other run has no {name!r}: {new._missing(name)}")
                new = new.values[name].detach()
            elif callable(new) and not isinstance(new, Tensor):
                new, kept = new(old), old.data
                if new is None:
                    raise TypeError(f"intervene: the function for {name!r} returned None; it returns the new value")
            if not isinstance(new, Tensor):
                array = new if backend.is_array(new) else np.asarray(as_array(new, old.dtype))
                new = Tensor(backend.transfer(array, old.device))
            new = new if new.device == old.device else new.to(old.device)
            try:
                fits = np.broadcast_shapes(new.shape, old.shape) == old.shape
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(f"intervene: {name!r} has shape {old.shape}, its replacement {new.shape}")
            replaced: Tensor = REPLACED(new, kept)
        finally:
            self._busy = False
        return replaced

    # ---- afterwards ----------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The full names of all named values, in creation order."""
        return list(self.values)

    def matching(self, name: str) -> dict[str, Tensor]:
        """The values that a name matches, by full name."""
        pattern = Pattern(name)
        return {full: self.values[full] for full, each in self._names.items() if pattern.matches(each)}

    def __getitem__(self, name: str) -> Tensor:
        """The one value that a name matches; KeyError if there is none, or several."""
        if name in self.values:
            return self.values[name]
        found = self.matching(name)
        if not found:
            raise KeyError(self._missing(name))
        if len(found) > 1:
            raise KeyError(f"{name!r} stands for {len(found)} values: {', '.join(map(repr, list(found)[:NEAR]))}, …")
        return next(iter(found.values()))

    def changes_from(self, other: Intervention) -> dict[str, float]:
        """‖v − w‖ / ‖w‖ for each value v of this run and w of the same name in another one; ‖v − w‖ where w is 0."""
        found = {}
        for name, value in self.values.items():
            before = other.values.get(name)
            if before is not None and before.shape == value.shape:
                v, w = (backend.to_numpy(t.data).astype(np.float64) for t in (value, before))
                found[name] = float(np.linalg.norm(v - w) / (np.linalg.norm(w) or 1.0))
        return found

    def graph(self, what: Any, against: Intervention, **options: Any) -> Graph:
        """The graph of a result of this run, with each named value coloured by its change from another run.

        what     one or several tensors computed in this run
        against  the other run
        options  those of `mg.graph`, except those of gradients

        A value that did not change has a colour of its own, and one without a name has none. A dashed line leads from a
        value to the constant or tensor that replaces it; no gradient flows through it.
        """
        from .pictures.changes import changed_graph

        return changed_graph(what, self, against, options)

    def place(self, name: str) -> tuple[tuple[Any, ...], str]:
        """The path of scopes around a value, and its label, as pictures identify it."""
        return self._names[name].path, self._names[name].label

    def __repr__(self) -> str:
        return f"<Intervention: {len(self.replaced)} of {len(self.values)} named values replaced>"

    def _rows(self) -> list[tuple[str, str, str]]:
        """(full name, shape, name given to `mg.intervene`) of the replaced values, or else of all; at most `MOST`."""
        shown = list(self.replaced or self.values)
        shown = shown if len(shown) <= MOST else [*shown[: MOST // 2], "…", *shown[-MOST // 2 :]]
        return [(n, str(self.values[n].shape), self.replaced.get(n, "")) if n != "…" else (n, "", "") for n in shown]

    def __str__(self) -> str:
        rows = self._rows()
        wide = [max([len(row[k]) for row in rows], default=0) for k in range(2)]
        lines = [f"  {name:{wide[0]}}  {shape:{wide[1]}}  {by}".rstrip() for name, shape, by in rows]
        return "\n".join([repr(self)[1:-1], *lines])

    def _repr_html_(self) -> str:
        return html_table(["value", "shape", "replaced as"], self._rows(), repr(self)[1:-1])


def intervene(
    replace: Mapping[str, float | np.ndarray[Any, Any] | Tensor | Callable[[Tensor], Any] | Intervention] | None = None,
) -> Intervention:
    """A context manager that replaces named values: what would the model say if this gate were closed?

    replace  for each name its replacement: a number, array or tensor of a fitting shape; a function of the value;
             or an earlier intervention, for its value of the same name (activation patching). None replaces
             nothing; the run only keeps its named values

    A name is a value's label, with as much of its scope as needed, as in pictures: "f" is every f, "lstm t=3 f"
    the one of one step in one layer, "h t=2:6" those of steps 2 to 5, "h #2" the second value called h in the same
    scope. Names come from `mg.name`, called before the value is used; from the states and gates of cells in layers
    over time; and from the outputs of modules, such as "head". If several names match a value, the last one counts.

    >>> import numpy as np, minigrad as mg
    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> def model(x):
    ...     for t, x_t in mg.steps(x):
    ...         h = mg.name(np.tanh(w * x_t), "h")
    ...     return h.sum()
    >>> with mg.intervene() as clean:
    ...     y = model(mg.ones((2, 2)))
    >>> with mg.intervene({"h t=1": lambda h: 2 * h}) as doubled:
    ...     z = model(mg.ones((2, 2)))
    >>> doubled.replaced, bool(np.isclose(z.item(), 2 * y.item()))
    ({'t=1 h': 'h t=1'}, True)

    Gradients flow through a replacing function and into a replacing tensor; none reaches the value that was cut off.
    Values of another run are constants. Layers run step by step, unfused; `mg.checkpoint` recomputes nothing, and
    functions of `mg.compile` run uncompiled. The context's target, an `Intervention`, holds the values and the
    replacements.

    Raises ValueError at the end of the block for a name that no value has, with similar ones, and for a replacement of
    another shape; RuntimeError if a value was used before it was named, or its old version is used after replacement.
    """
    if not isinstance(replace, Mapping | None):
        raise TypeError(f"intervene: expected a dict from names to replacements, not {type(replace).__name__}")
    return Intervention(replace or {})


__all__ = ["Intervention", "intervene"]
