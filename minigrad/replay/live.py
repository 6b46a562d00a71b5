"""Live numbers and guards: state that a recording must not freeze, and state it depends on.

Layers and optimizers declare the Python state that they read by `state.State`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from .. import backend
from ..modes import current_mode
from ..state import decided


class Live:
    """A number that is read at each run of a recording: a learning rate, a float among the arguments.

    Arithmetic and NumPy functions of live numbers give live numbers. If Python needs the value, for a comparison,
    `float` or formatting, it is the present one, and becomes a guard: with another value the function is recorded
    again.
    """

    __slots__ = ("kind", "read", "what")

    def __init__(self, read: Callable[[], float], what: str, kind: type = float) -> None:
        self.read = read
        self.what = what
        self.kind = kind

    def value(self) -> float:
        """The number as an operand beside arrays: a Python number, which changes no dtype."""
        now: Any = self.read()
        return now.item() if isinstance(now, np.generic) else now  # type: ignore[no-any-return]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """With an array, the result is a traced array; of numbers alone, it is a number."""
        recording: Any = current_mode().intake
        if not recording.follows:
            return getattr(ufunc, method)(*[v.read() if isinstance(v, Live) else v for v in inputs], **kwargs)
        if method != "__call__" or not all(map(_is_operand, inputs)):
            return NotImplemented
        if kwargs or any(map(backend.is_array, inputs)):
            return recording.call(ufunc, inputs, kwargs)
        if ufunc.nout == 1:
            return _made(ufunc, inputs)
        return tuple([_made(_part_of(ufunc, k), inputs) for k in range(ufunc.nout)])

    def _now(self) -> Any:
        """The present value, guarded from now on."""
        return decided(self.read, self.what)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self._now(), dtype)

    def __float__(self) -> float:
        return float(self._now())

    def __int__(self) -> int:
        return int(decided(lambda: int(self.read()), f"{self.what} as an integer"))

    __trunc__ = __int__

    def is_integer(self) -> bool:
        return bool(decided(lambda: float(self.read()).is_integer(), f"whether {self.what} is an integer"))

    def __round__(self, digits: int | None = None) -> Any:
        return decided(lambda: round(self.read(), digits), f"{self.what}, rounded")

    def __format__(self, spec: str) -> str:
        return str(decided(lambda: format(self.read(), spec), f"{self.what} as text"))

    def __str__(self) -> str:
        return format(self, "")

    def __bool__(self) -> bool:
        return bool(decided(lambda: bool(self.read()), f"whether {self.what} is 0"))

    def __repr__(self) -> str:
        return f"<{self.what}, now {self.read()!r}>"

    def __hash__(self) -> int:
        return hash(self._now())

    def __neg__(self) -> Live:
        return _made(operator.neg, (self,))

    def __pos__(self) -> Live:
        return self

    def __abs__(self) -> Live:
        return _made(abs, (self,))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self


def _made(function: Callable[..., Any], numbers: tuple[Any, ...]) -> Live:
    """A live number computed from others at each run."""
    live = [n for n in numbers if isinstance(n, Live)]
    what = " and ".join(dict.fromkeys(n.what for n in live))
    return Live(lambda: function(*[n.read() if isinstance(n, Live) else n for n in numbers]), what, live[0].kind)


def _part_of(ufunc: Any, k: int) -> Callable[..., Any]:
    return lambda *numbers: ufunc(*numbers)[k]


_NUMBERS: tuple[Any, ...] = (Real, np.bool_)  # a Live is registered as Real
_UFUNCS: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
    "floordiv": np.floor_divide, "mod": np.remainder,
}  # fmt: skip


def _binary(name: str) -> Any:
    function = getattr(operator, name)

    def forward(self: Live, other: Any) -> Any:
        if isinstance(other, _NUMBERS):
            return _made(function, (self, other))
        return _UFUNCS[name](self, other) if backend.is_array(other) else NotImplemented

    def backward(self: Live, other: Any) -> Any:
        if isinstance(other, _NUMBERS):
            return _made(function, (other, self))
        return _UFUNCS[name](other, self) if backend.is_array(other) else NotImplemented

    return forward, backward


def _is_operand(value: Any) -> bool:
    """True if a ufunc accepts the value as an operand (a Tensor records the operation itself)."""
    return isinstance(value, _NUMBERS) or backend.is_array(value)


for _name in _UFUNCS:
    _forward, _backward = _binary(_name)
    setattr(Live, f"__{_name}__", _forward)
    setattr(Live, f"__r{_name}__", _backward)


def _compared(name: str) -> Any:
    function = getattr(operator, name)

    def compare(self: Live, other: Any) -> Any:
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        number: Callable[[], Any] = getattr(other, "read", lambda: other)
        return bool(decided(lambda: bool(function(self.read(), number())), f"{self.what} {name} {other!r}"))

    return compare


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Live, f"__{_name}__", _compared(_name))


Real.register(Live)


def same(now: Any, before: Any) -> bool:
    """True if a guarded value is unchanged: 0.0 differs from -0.0, NaN equals NaN, an object equals itself."""
    if now is before:
        return True
    if type(now) is not type(before):
        return False
    if isinstance(now, tuple):
        return len(now) == len(before) and all(map(same, now, before))
    if isinstance(now, float | np.floating):
        return repr(now) == repr(before)
    return isinstance(now, bool | int | str | np.generic) and bool(now == before)
