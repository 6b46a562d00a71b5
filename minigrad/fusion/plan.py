"""A plan: Symbols as a list of NumPy calls that write into buffers.

The buffers of intermediate values are reused as soon as their last reader has run, and again at the next call. Only
results are allocated anew, since they belong to the caller. A part of an array is a view of it; a joined result is
one array that its parts are computed into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .symbols import Symbol

Array = Any
Step = Callable[[list[Any]], None]


class Plan:
    """Computes `results` from `givens`.

    givens   the Symbols whose arrays are passed to each call
    results  the Symbols whose arrays it returns; a result that is a given is passed through
    order    "C" or "F": the memory layout of what is allocated
    """

    def __init__(self, givens: Sequence[Symbol], results: Sequence[Symbol], order: str = "C") -> None:
        self.order = order
        self.givens = list(givens)
        self.results = list(results)
        self._slots: dict[Symbol, int] = {symbol: k for k, symbol in enumerate(givens)}
        self._size = len(self._slots)
        self._steps: list[Step] = []
        self._buffers: list[tuple[tuple[int, ...], Any]] = []  # what a workspace holds
        self._owned: list[tuple[int, Symbol]] = []  # slots of results, allocated at each call
        self._views: list[tuple[int, int, Any]] = []  # slots that are views of those
        self._workspaces: list[list[Array]] = []
        self._compile()
        self._outputs = [self._slots[symbol] for symbol in self.results]

    # ---- running -------------------------------------------------------------------------------------------------

    def __call__(self, arrays: Sequence[Array], like: Array) -> list[Array]:
        """The results' arrays; `like` is an array of the device to compute on."""
        values: list[Any] = [*arrays, *([None] * (self._size - len(arrays)))]
        try:
            workspace = self._workspaces.pop()  # one for each thread that is running this plan
            if workspace and type(workspace[0]) is not type(like):
                workspace = self._new_workspace(like)
        except IndexError:
            workspace = self._new_workspace(like)
        values[self._first_buffer : self._first_buffer + len(workspace)] = workspace
        for slot, symbol in self._owned:
            values[slot] = self._empty(like, symbol.shape, symbol.dtype)
        for slot, of, index in self._views:
            values[slot] = values[of][index]
        with np.errstate(all="ignore"):
            for step in self._steps:
                step(values)
        self._workspaces.append(workspace)
        return [values[slot] for slot in self._outputs]

    def _new_workspace(self, like: Array) -> list[Array]:
        return [self._empty(like, shape, dtype) for shape, dtype in self._buffers]

    def _empty(self, like: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        if type(like) is np.ndarray:
            return np.empty(shape, dtype, self.order)  # type: ignore[call-overload]
        return np.empty_like(like, dtype=dtype, shape=shape, order=self.order)  # type: ignore[call-overload]

    # ---- compiling -----------------------------------------------------------------------------------------------

    def _new_slot(self) -> int:
        self._size += 1
        return self._size - 1

    def _compile(self) -> None:
        schedule = self._schedule()
        last_use = {arg: k for k, symbol in enumerate(schedule) for arg in symbol.args if isinstance(arg, Symbol)}
        for symbol in reversed(schedule):  # a view is alive as long as its base is read through it
            if symbol.op in ("part", "reshape"):
                base = symbol.args[0]
                last_use[base] = max(last_use[base], last_use.get(symbol, 0))
        self._reserve_results(schedule)
        # buffers: numbered now, given slots at the end
        buffer_of: dict[Symbol, int] = {}
        free: dict[tuple[Any, Any], list[int]] = {}
        planned: list[tuple[Symbol, int | None]] = []
        for k, symbol in enumerate(schedule):
            dying = [a for a in dict.fromkeys(symbol.args) if isinstance(a, Symbol) and last_use[a] == k]
            release = [a for a in self._bases(dying) if a in buffer_of and last_use.get(a, k) <= k]
            if symbol.op in ("part", "reshape") or symbol in self._slots:
                buffer = None
            else:
                key = (symbol.shape, symbol.dtype)
                reusable = [a for a in release if a.shape == symbol.shape and a.dtype == symbol.dtype]
                if reusable and isinstance(symbol.op, np.ufunc):
                    buffer = buffer_of.pop(reusable[0])  # written in place over an operand that dies here
                elif free.get(key):
                    buffer = free[key].pop()
                else:
                    buffer = len(self._buffers)
                    self._buffers.append(key)
                buffer_of[symbol] = buffer
            planned.append((symbol, buffer))
            for a in release:
                if a in buffer_of and a is not symbol:
                    free.setdefault((a.shape, a.dtype), []).append(buffer_of.pop(a))
        self._first_buffer = self._size
        self._size += len(self._buffers)
        for symbol, buffer in planned:
            if buffer is not None:
                self._slots[symbol] = self._first_buffer + buffer
            elif symbol not in self._slots:
                self._slots[symbol] = self._new_slot()
            self._emit(symbol)

    def _schedule(self) -> list[Symbol]:
        """What has to be computed, in an order in which it can be."""
        schedule: dict[Symbol, None] = {}
        stack = [(symbol, False) for symbol in reversed(self.results)]
        while stack:
            symbol, ready = stack.pop()
            if symbol in self._slots or symbol in schedule:
                continue
            if ready:
                schedule[symbol] = None
            else:
                stack.append((symbol, True))
                stack += [(a, False) for a in reversed(symbol.args) if isinstance(a, Symbol)]
        return list(schedule)

    def _reserve_results(self, schedule: list[Symbol]) -> None:
        """Slots for the results; the parts of a joined one are views of it, computed in place where possible."""
        computed = set(schedule)
        for symbol in dict.fromkeys(self.results):
            if symbol in self._slots or symbol.op in ("part", "reshape"):
                continue
            self._slots[symbol] = slot = self._new_slot()
            self._owned.append((slot, symbol))
        for symbol in self.results:
            if symbol.op != "join":
                continue
            for part, index in _places(symbol):
                if (
                    part in computed
                    and part not in self._slots
                    and part.dtype == symbol.dtype
                    and (part.op not in ("part", "reshape", "join"))
                ):
                    self._slots[part] = slot = self._new_slot()
                    self._views.append((slot, self._slots[symbol], index))
                    computed.discard(part)  # a part that is joined twice is copied the second time

    @staticmethod
    def _bases(symbols: list[Symbol]) -> list[Symbol]:
        """These, and the arrays that they are views of."""
        found = dict.fromkeys(symbols)
        for symbol in symbols:
            while symbol.op in ("part", "reshape"):
                symbol = symbol.args[0]
                found[symbol] = None
        return list(found)

    def _emit(self, symbol: Symbol) -> None:
        """The step that computes one Symbol."""
        out = self._slots[symbol]
        args = tuple([self._slots[a] if isinstance(a, Symbol) else None for a in symbol.args])
        op, params, append = symbol.op, symbol.params, self._steps.append
        if isinstance(op, np.ufunc):
            append(_ufunc_step(op, symbol.args, args, out, symbol.dtype))
        elif op == "where":
            append(_where_step(symbol.args, args, out))
        elif op == "part":
            index = tuple([slice(*bounds) for bounds in params])
            append(lambda v, x=args[0]: v.__setitem__(out, v[x][index]))  # type: ignore[misc]
        elif op == "reshape":
            append(lambda v, x=args[0]: v.__setitem__(out, v[x].reshape(params)))  # type: ignore[misc]
        elif op == "cast":
            append(lambda v, x=args[0]: np.copyto(v[out], v[x], casting="unsafe"))  # type: ignore[misc]
        elif op == "sum":
            append(lambda v, x=args[0]: np.sum(v[x], axis=params, keepdims=True, out=v[out]))  # type: ignore[misc]
        elif op == "fill":
            append(lambda v, value=symbol.args[0]: v[out].fill(value))  # type: ignore[misc]
        elif op == "join":
            mine = {slot: (of, index) for slot, of, index in self._views}
            for part, index in _places(symbol):
                slot = self._slots[part]
                if mine.get(slot) != (out, index):
                    append(lambda v, x=slot, index=index: np.copyto(v[out][index], v[x]))  # type: ignore[misc]
        else:  # pragma: no cover
            raise AssertionError(op)

    def __str__(self) -> str:
        """The plan as text, one line a call."""
        names = {s: f"in{k}" for k, s in enumerate(self.givens)}
        lines = []
        for k, symbol in enumerate(self._schedule_all()):
            names[symbol] = f"v{k}"
            op = getattr(symbol.op, "__name__", symbol.op)
            args = ", ".join(names.get(a, "?") if isinstance(a, Symbol) else repr(a) for a in symbol.args)
            lines.append(f"{names[symbol]} = {op}({args})  # {symbol.dtype} {symbol.shape}")
        return "\n".join([*lines, "return " + ", ".join(names[s] for s in self.results)])

    def _schedule_all(self) -> list[Symbol]:
        slots = self._slots
        self._slots = {symbol: k for k, symbol in enumerate(self.givens)}
        try:
            return self._schedule()
        finally:
            self._slots = slots


def _places(symbol: Symbol) -> list[tuple[Symbol, tuple[slice, ...]]]:
    """The parts of a joined Symbol, each with its index in the whole."""
    places, start = [], 0
    for part in symbol.args:
        size = part.shape[symbol.params]
        places.append((part, (*(slice(None),) * symbol.params, slice(start, start + size))))
        start += size
    return places


def _ufunc_step(ufunc: Any, operands: tuple[Any, ...], args: tuple[Any, ...], out: int, dtype: Any) -> Step:
    op = ufunc  # its output is the last positional argument, the quickest way to pass it
    if ufunc in (np.maximum, np.minimum):  # which may not take it so

        def op(a: Any, b: Any, target: Any) -> None:
            ufunc(a, b, out=target)

    if len(operands) == 1:
        (x,) = args

        def unary(v: list[Any]) -> None:
            op(v[x], v[out])

        return unary
    a, b = args
    first, second = operands
    if a is None:
        return lambda v: op(first, v[b], v[out])
    if b is None:
        return lambda v: op(v[a], second, v[out])
    return lambda v: op(v[a], v[b], v[out])


def _where_step(operands: tuple[Any, ...], args: tuple[Any, ...], out: int) -> Step:
    condition, a, b = args
    _, first, second = operands

    def where(v: list[Any]) -> None:
        chosen = operands[0] if condition is None else v[condition]
        target = v[out]
        np.copyto(target, second if b is None else v[b])
        np.copyto(target, first if a is None else v[a], where=chosen)

    return where
