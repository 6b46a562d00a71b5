"""A plan: Symbols as a straight line of NumPy calls that write into buffers.

The buffers of intermediate values are reused as soon as their last reader has run, and again at the next call. Only
results are allocated at each call, since the caller owns them. A part of an array is a view of it; the parts of a
joined result are computed into one array. The calls form the source of one Python function, so nothing is looked up or
decided while it runs; `print(plan.source)` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from .cuda import OnGpu
from .structure import REDUCTIONS, VIEWS, Unsuited, schedule_of
from .symbols import Symbol

Array = Any


class Plan:
    """Computes `results` from `givens`.

    givens   the Symbols whose arrays are passed to each call
    results  the Symbols whose arrays it returns; a result that is a given is passed through
    order    "C" or "F": the memory layout of allocated arrays
    quiet    True if the caller silences floating-point warnings already
    """

    def __init__(
        self, givens: Sequence[Symbol], results: Sequence[Symbol], order: str = "C", quiet: bool = False
    ) -> None:
        self.order = order
        self.givens = list(givens)
        self.results = list(results)
        self._names: dict[Symbol, str] = {symbol: f"a{k}" for k, symbol in enumerate(givens)}
        self._lines: list[str] = []  # of the function's body
        self._constants: dict[str, Any] = {}  # values that it refers to
        self._buffers: list[tuple[tuple[int, ...], Any]] = []  # shapes and dtypes of a workspace
        self._buffer_views: list[tuple[str, str, Any]] = []  # (name, of, index): views of buffers, made once
        self._workspaces: list[tuple[type, list[Array]]] = []
        self._kernels: dict[Any, Callable[..., list[Array]] | None] = {}
        self._compile()
        self.source = self._written(quiet)
        self._run: Callable[..., list[Array]] = self._function()

    # ---- running -------------------------------------------------------------------------------------------------

    def __call__(self, arrays: Sequence[Array], like: Array) -> list[Array]:
        """The arrays of the results; `like` is an array on the device to compute on."""
        kind = type(like)
        if kind is not np.ndarray:
            kernels = self._on_gpu(like)
            if kernels is not None:
                return kernels(arrays, like)
            if backend.is_recorded(like):  # a recording plans its own memory
                return self._run(arrays, self._new_workspace(like)[1], backend.beside(like, np.empty_like))
        try:
            workspace = self._workspaces.pop()  # one for each thread that is running this plan
            if workspace[0] is not kind:
                workspace = self._new_workspace(like)
        except IndexError:
            workspace = self._new_workspace(like)
        empty = np.empty if kind is np.ndarray else backend.beside(like, np.empty_like)
        results = self._run(arrays, workspace[1], empty)
        self._workspaces.append(workspace)
        return results

    def rest(self, givens: Sequence[Symbol], results: Sequence[Symbol]) -> Plan:
        """A plan for some of the results, for a caller that has silenced warnings."""
        return Plan(givens, results, self.order, quiet=True)

    def into(self, arrays: Sequence[Array], outs: Sequence[Array]) -> None:
        """Compute the results into `outs`, which may be operands."""
        for out, result in zip(outs, self(arrays, outs[0]), strict=True):
            out[...] = result

    def _on_gpu(self, like: Array) -> Callable[..., list[Array]] | None:
        """The plan as GPU kernels, if the array's device has kernels that can express it."""
        kind = backend.real_backend(like)
        make = None if kind is None else kind.elementwise
        if make is None:
            return None
        if make not in self._kernels:
            try:
                self._kernels[make] = OnGpu(self, make)
            except Unsuited:
                self._kernels[make] = None
        return self._kernels[make]

    def _new_workspace(self, like: Array) -> tuple[type, list[Array]]:
        empty: Any = np.empty if type(like) is np.ndarray else backend.beside(like, np.empty_like)
        arrays = {f"b{k}": empty(shape, dtype, self.order) for k, (shape, dtype) in enumerate(self._buffers)}
        for name, of, index in self._buffer_views:
            arrays[name] = arrays[of][index]
        return type(like), list(arrays.values())

    # ---- writing the function ------------------------------------------------------------------------------------

    def _constant(self, value: Any) -> str:
        """A name for a value in the function's source."""
        name = f"k{len(self._constants)}"
        self._constants[name] = value
        return name

    def _written(self, quiet: bool) -> str:
        givens = "".join(f"a{k}, " for k in range(len(self.givens)))
        held = [f"b{k}" for k in range(len(self._buffers))] + [name for name, _, _ in self._buffer_views]
        lines = [f"{givens}= arrays"] * bool(givens) + [f"{''.join(h + ', ' for h in held)}= workspace"] * bool(held)
        body = [*self._lines, "return [" + ", ".join(self._names[s] for s in self.results) + "]"]
        if not quiet:
            body = ["with silenced(all='ignore'):", *["    " + line for line in body]]
        return "\n".join(["def run(arrays, workspace, empty):", *["    " + line for line in [*lines, *body]], ""])

    def _function(self) -> Callable[..., list[Array]]:
        space: dict[str, Any] = {"silenced": np.errstate, **self._constants}
        exec(compile(self.source, "<plan>", "exec"), space)
        return space["run"]  # type: ignore[no-any-return]

    def _compile(self) -> None:
        schedule = schedule_of(self.givens, self.results)
        last_use = {arg: k for k, symbol in enumerate(schedule) for arg in symbol.args if isinstance(arg, Symbol)}
        for symbol in reversed(schedule):  # the lifetime of a base covers that of its views
            if symbol.op in VIEWS:
                base = symbol.args[0]
                last_use[base] = max(last_use[base], last_use.get(symbol, 0))
        self._reserve_results(schedule)
        buffer_of: dict[Symbol, int] = {}
        free: dict[tuple[Any, Any], list[int]] = {}
        for k, symbol in enumerate(schedule):
            dying = [a for a in dict.fromkeys(symbol.args) if isinstance(a, Symbol) and last_use[a] == k]
            release = [a for a in self._bases(dying) if a in buffer_of and last_use.get(a, k) <= k]
            if symbol.op not in VIEWS and symbol not in self._names:
                key = (symbol.shape, symbol.dtype)
                reusable = [a for a in release if a.shape == symbol.shape and a.dtype == symbol.dtype]
                if reusable and isinstance(symbol.op, np.ufunc):
                    buffer = buffer_of.pop(reusable[0])  # written in place over an operand last used here
                elif free.get(key):
                    buffer = free[key].pop()
                else:
                    buffer = len(self._buffers)
                    self._buffers.append(key)
                buffer_of[symbol] = buffer
                self._names[symbol] = f"b{buffer}"
            for a in release:
                if a in buffer_of and a is not symbol:
                    free.setdefault((a.shape, a.dtype), []).append(buffer_of.pop(a))
            self._emit(symbol)

    def _reserve_results(self, schedule: list[Symbol]) -> None:
        """Name the results; the parts of a joined one are views of it, computed in place where possible."""
        computed = set(schedule)
        for symbol in dict.fromkeys(self._bases([s])[-1] for s in self.results):  # the caller owns a view's base, too
            if symbol in self._names:
                continue
            name = self._names[symbol] = f"r{len(self._lines)}"
            self._lines.append(f"{name} = empty({symbol.shape}, {self._constant(symbol.dtype)}, {self.order!r})")
        self._in_place: set[tuple[Symbol, int]] = set()  # (joined, number of the part)
        for symbol in self.results:
            if symbol.op != "join":
                continue
            for k, (part, index) in enumerate(places(symbol)):
                fits = part in computed and part not in self._names and part.dtype == symbol.dtype
                if fits and part.op not in (*VIEWS, "join"):
                    name = self._names[part] = f"r{len(self._lines)}"
                    self._lines.append(f"{name} = {self._names[symbol]}[{self._constant(index)}]")
                    self._in_place.add((symbol, k))
                    computed.discard(part)  # a part that is joined twice is copied the second time

    @staticmethod
    def _bases(symbols: list[Symbol]) -> list[Symbol]:
        """These symbols, and the arrays that they are views of."""
        found = dict.fromkeys(symbols)
        for symbol in symbols:
            while symbol.op in VIEWS:
                symbol = symbol.args[0]
                found[symbol] = None
        return list(found)

    def _emit(self, symbol: Symbol) -> None:
        """The lines that compute one Symbol."""
        op, params, names = symbol.op, symbol.params, self._names
        args = [names[a] if isinstance(a, Symbol) else self._number(a) for a in symbol.args]
        if op == "part":
            self._view(symbol, args[0], tuple([slice(*bounds) for bounds in params]))
            return
        if op == "reshape":
            names[symbol] = f"v{len(self._lines)}"
            self._lines.append(f"{names[symbol]} = {args[0]}.reshape({params})")
            return
        out = names[symbol]
        if isinstance(op, np.ufunc):
            # the output is fastest as the last positional argument, which maximum and minimum do not accept
            keyword = "out=" if op in (np.maximum, np.minimum) else ""
            lines = [f"{self._constant(op)}({', '.join(args)}, {keyword}{out})"]
        elif op == "where":
            copy = self._constant(np.copyto)
            lines = [f"{copy}({out}, {args[2]})", f"{copy}({out}, {args[1]}, where={args[0]})"]
        elif op == "cast":
            lines = [f"{self._constant(np.copyto)}({out}, {args[0]}, casting='unsafe')"]
        elif op in REDUCTIONS:
            lines = [f"{self._constant(REDUCTIONS[op])}({args[0]}, axis={params}, keepdims=True, out={out})"]
        elif op == "fill":
            lines = [f"{out}[...] = {args[0]}"]
        elif op == "join":
            copy = self._constant(np.copyto)
            lines = [
                f"{copy}({out}[{self._constant(index)}], {names[part]})"
                for k, (part, index) in enumerate(places(symbol)) if (symbol, k) not in self._in_place
            ]  # fmt: skip
        else:  # pragma: no cover
            raise AssertionError(op)
        self._lines += lines

    def _view(self, symbol: Symbol, of: str, index: Any) -> None:
        """A part of an array; a part of a buffer is a view made once."""
        if of.startswith(("b", "w")):
            name = f"w{len(self._buffer_views)}"
            self._buffer_views.append((name, of, index))
        else:
            name = f"v{len(self._lines)}"
            self._lines.append(f"{name} = {of}[{self._constant(index)}]")
        self._names[symbol] = name

    def _number(self, value: Any) -> str:
        """A number in the source: a literal, or a name where Python has no literal for it."""
        return repr(value) if type(value) in (int, bool) else self._constant(value)

    def __str__(self) -> str:
        return self.source


def places(symbol: Symbol) -> list[tuple[Symbol, tuple[slice, ...]]]:
    """The parts of a joined Symbol, each with its index in the whole."""
    found, start = [], 0
    for part in symbol.args:
        size = part.shape[symbol.params]
        found.append((part, (*(slice(None),) * symbol.params, slice(start, start + size))))
        start += size
    return found
