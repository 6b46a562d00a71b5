"""Profiles: seconds, calls and bytes of each operation and scope, forward and backward."""

from __future__ import annotations

import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import backend
from .modes import changed_mode, current_mode
from .pictures.drawing import write
from .tables import html_table
from .tape import Edge, Node, Observer, Operation

Array = Any
By = Literal["operation", "scope", "both"]


@dataclass(frozen=True)
class Event:
    """One execution of an operation.

    operation  its name
    scope      its scope, as in `encoder.lstm[1] t=37`; empty outside of all scopes
    phase      "forward" or "backward"
    start      seconds since the profile began
    seconds    exclusive time: without the operations it called
    span       inclusive time in seconds
    bytes      of the arrays it made: its results, or the gradients it passed on
    """

    operation: str
    scope: str
    phase: str
    start: float
    seconds: float
    span: float
    bytes: int


@dataclass
class Row:
    """The sum over the events of one operation or scope."""

    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    bytes: int = 0

    @property
    def seconds(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward


@dataclass(repr=False)
class Profile:
    """The measurements of `mg.profile()`.

    events  one for each operation, forward and backward, in the order in which they ended
    began   start of the block, on the clock of `time.perf_counter`
    ended   end of the block; None inside it
    notes   fast paths that were not taken, each with its reason
    """

    events: list[Event] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From the beginning of the block to its end, or until now."""
        return (time.perf_counter() if self.ended is None else self.ended) - self.began

    def rows(self, by: By = "operation", depth: int | None = None, steps: bool = False) -> dict[str, Row]:
        """Sums by operation, scope, or both, the most expensive first.

        depth  how many parts of a scope's name to keep; None: all
        steps  True to keep time steps apart
        """
        if by not in ("operation", "scope", "both"):
            raise ValueError(f'Profile: by must be "operation", "scope" or "both", not {by!r}')
        found: defaultdict[str, Row] = defaultdict(Row)
        for event in self.events:
            where = _shortened(event.scope, depth, steps)
            row = found[{"operation": event.operation, "scope": where}.get(by, f"{where}: {event.operation}")]
            if event.phase == "forward":
                row.calls += 1
                row.forward += event.seconds
            else:
                row.backward += event.seconds
            row.bytes += event.bytes
        return dict(sorted(found.items(), key=lambda item: -item[1].seconds))

    def table(self, by: By = "operation", depth: int | None = None, steps: bool = False, most: int = 25) -> str:
        """The rows as text, at most `most`; then the time between operations: Python, the optimizer, the data.

        Calls are those of forward. Inside the block, the table covers the time until now.
        """
        rows, seconds = self.rows(by, depth, steps), self.seconds
        shown = list(rows.items())[:most]
        width = max([len(name) for name, _ in shown] + [24])
        lines = [f"{by:{width}}    calls  forward ms  backward ms       MiB    share"]
        rest = seconds - sum(row.seconds for row in rows.values())
        for name, row in shown:
            lines.append(
                f"{name or '(no scope)':{width}} {row.calls:8,} {1e3 * row.forward:11.2f} {1e3 * row.backward:12.2f} "
                f"{row.bytes / 2**20:9.2f} {row.seconds / max(seconds, 1e-12):8.1%}"
            )
        if len(rows) > most:
            others = list(rows.values())[most:]
            lines.append(f"{f'{len(others)} others':{width}} {sum(r.calls for r in others):8,} "
                         f"{1e3 * sum(r.forward for r in others):11.2f} {1e3 * sum(r.backward for r in others):12.2f} "
                         f"{sum(r.bytes for r in others) / 2**20:9.2f} "
                         f"{sum(r.seconds for r in others) / max(seconds, 1e-12):8.1%}")  # fmt: skip
        lines.append(f"{'between operations':{width}} {'':8} {1e3 * rest:11.2f} {'':12} {'':9} "
                     f"{rest / max(seconds, 1e-12):8.1%}")  # fmt: skip
        lines.append(f"{'all':{width}} {sum(r.calls for r in rows.values()):8,} {1e3 * seconds:11.2f}")
        lines += self.notes
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        state = "" if self.ended is not None else " until now"
        return f"<Profile: {len(self.events):,} operations in {self.seconds:.4g} s{state}; print it for a table>"

    def _repr_html_(self) -> str:
        rows = [
            [name, f"{r.calls:,}", f"{1e3 * r.forward:.2f}", f"{1e3 * r.backward:.2f}", f"{r.bytes / 2**20:.2f}",
             f"{r.seconds / max(self.seconds, 1e-12):.1%}"] for name, r in list(self.rows().items())[:25]
        ]  # fmt: skip
        titles = ["operation", "calls", "forward ms", "backward ms", "MiB", "share"]
        return html_table(titles, rows, repr(self)[1:-1].partition(";")[0])

    def trace(self, path: str | os.PathLike[str]) -> Path:
        """Write the events as JSON, which chrome://tracing and Perfetto show along time. Atomically."""
        rows = {"forward": 1, "backward": 2}  # threads of the format, numbered and named
        events: list[dict[str, Any]] = [
            {"name": "thread_name", "ph": "M", "pid": 0, "tid": number, "args": {"name": phase}}
            for phase, number in rows.items()
        ]
        events += [
            {"name": e.operation, "cat": e.phase, "ph": "X", "ts": 1e6 * e.start, "dur": 1e6 * e.span, "pid": 0,
             "tid": rows[e.phase], "args": {"scope": e.scope, "bytes": e.bytes}} for e in self.events
        ]  # fmt: skip
        return write(path, json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}).encode())


@contextmanager
def profile() -> Iterator[Profile]:
    """Measure every operation on Tensors inside the block, forward and backward.

    >>> import numpy as np, minigrad as mg
    >>> w = mg.ones((50, 50), requires_grad=True)
    >>> with mg.profile() as p:
    ...     with mg.scope("layer"):
    ...         h = np.tanh(mg.ones((8, 50)) @ w)
    ...     h.sum().backward()
    >>> [(name, row.calls) for name, row in sorted(p.rows().items())]
    [('gathered gradients', 0), ('matmul', 1), ('sum', 1), ('tanh', 1)]
    >>> p.rows(by="scope")["layer"].calls
    2

    The forward time of an operation includes recording it; its backward time lasts from the arrival of its gradient to
    the arrival of the next one. The gradient of a weight shared by many steps is gathered and computed in one product
    at the end: "gathered gradients". Work on plain arrays, such as an optimizer's update, is "between operations".
    Functions of `mg.compile` run uncompiled. On a GPU the profile waits for each operation, so everything takes longer
    than without it.
    """
    found = Profile()
    watch = _Watch(found)
    with changed_mode(observers=(*current_mode().observers, watch)):
        try:
            yield found
        finally:
            found.ended = time.perf_counter()


class _Open:
    """An open interval: an operation, a node's rules, or the gathering of a leaf's gradient."""

    __slots__ = ("inner", "name", "of", "size", "start")

    def __init__(self, name: str, of: Any, start: float) -> None:
        self.name, self.of, self.start = name, of, start
        self.inner, self.size = 0.0, 0  # seconds of the operations it called; bytes of the arrays it made


class _Watch(Observer):
    inside = False  # a profile leaves rolled loops rolled

    def __init__(self, found: Profile) -> None:
        self.found = found
        self.open: list[_Open] = []

    def noted(self, text: str) -> None:
        if text not in self.found.notes:
            self.found.notes.append(text)

    def now(self) -> float:
        return time.perf_counter() - self.found.began

    def began(self, primitive: Operation) -> None:
        self.open.append(_Open(primitive.name, primitive, self.now()))

    def recorded(self, primitive: Operation, operands: Any, outputs: tuple[Array, ...], edge: Any) -> None:
        _wait(outputs[0])
        begun = [one.of is primitive for one in self.open]
        if any(begun):
            while self.open[-1].of is not primitive:
                self.open.pop()  # it failed
            self.open[-1].size = sum(array.nbytes for array in outputs)
            self._close("forward", current_mode().scope)

    def arrived(self, node: Node, gradient: Any) -> None:
        self._end_pull()
        self.open.append(_Open(node.primitive.name, node, self.now()))

    def pulled(self, node: Node, parent: Edge, gradient: Any) -> None:
        if self.open and self.open[-1].of is node:
            self.open[-1].size += getattr(gradient, "nbytes", 0)
            _wait(gradient)

    def finished(self) -> None:
        self._end_pull()

    def gathering(self, leaf: Any) -> None:
        self.open.append(_Open("gathered gradients", leaf, self.now()))

    def gathered(self, leaf: Any, gradient: Array) -> None:
        _wait(gradient)
        self.open[-1].size = gradient.nbytes
        self._close("backward", leaf.name)

    def _end_pull(self) -> None:
        """The node whose gradient arrived last has passed it on."""
        if self.open and isinstance(self.open[-1].of, Node):
            self._close("backward", self.open[-1].of.scope)

    def _close(self, phase: str, scope: Any) -> None:
        one = self.open.pop()
        span = self.now() - one.start
        if self.open:
            self.open[-1].inner += span
        name = "" if scope is None else str(scope)
        self.found.events.append(
            Event(one.name, name, phase, one.start, span - one.inner, span, one.size)
        )  # fmt: skip


def _wait(array: Any) -> None:
    """Wait until an array is computed, on devices that compute asynchronously."""
    wait = backend.backend_of(array).wait if backend.is_array(array) else None
    if wait is not None:
        wait(array)


def _shortened(scope: str, depth: int | None, steps: bool) -> str:
    """A scope's name without its time step (`encoder.lstm[1] t=37`), cut to `depth` parts: encoder, lstm, [1]."""
    parts = [part for part in re.findall(r"\[[^]]*\]|[^.\[\s]+", scope) if steps or "=" not in part]
    return "".join(part if part.startswith("[") else f".{part}" for part in parts[:depth]).removeprefix(".")
