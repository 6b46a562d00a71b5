"""The recording mode: gradient recording, scope and observers.

It is one immutable `Mode` in one context variable. So it is private to each thread and task, is read with a single
look-up when an operation is recorded, and is restored on every exit from a `with` block.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from .intake import OPEN, Intake
from .tape import Observer
from .where import Scope

F = TypeVar("F", bound=Callable[..., Any])


class Once(dict[Any, Any]):
    """A loop's cache, keyed by source object. An entry is dropped when its source is garbage-collected."""

    __slots__ = ("__weakref__",)

    def watch(self, key: Any, owner: Any) -> weakref.ref[Any]:
        """A weak reference to an owner that drops the entry; it holds the cache weakly, too."""
        mine = weakref.ref(self)

        def gone(_: Any) -> None:
            found = mine()
            if found is not None:
                found.pop(key, None)

        return weakref.ref(owner, gone)


class Mode:
    """The settings under which operations are recorded.

    grad       True if operations on tensors that require grad are recorded
    scope      the innermost `scope`, or None
    observers  are notified of every recorded node and of every gradient (see `tape.Observer`)
    fast       True if gathered, fused and other fast paths are allowed
    intake     the intake of plain arrays and Python state (see `intake`)
    hoisted    the cache of a loop over steps: matrices packed for products; None outside loops
    releases   True if a walk releases each node after its rules, which may then overwrite the kept arrays
    """

    __slots__ = ("fast", "grad", "hoisted", "intake", "observers", "releases", "scope")

    def __init__(
        self, grad: bool = True, scope: Scope | None = None, observers: tuple[Observer, ...] = (), fast: bool = True,
        hoisted: Once | None = None, intake: Intake = OPEN, releases: bool = False,
    ) -> None:  # fmt: skip
        self.grad = grad
        self.scope = scope
        self.observers = observers
        self.fast = fast
        self.hoisted = hoisted
        self.releases = releases
        self.intake = intake

    def replace(self, **changes: Any) -> Mode:
        return Mode(**({name: getattr(self, name) for name in self.__slots__} | changes))

    def inside(self, scope: Scope | None) -> Mode:
        """The mode in another scope; a shorter `replace`, for modules and steps."""
        return Mode(self.grad, scope, self.observers, self.fast, self.hoisted, self.intake, self.releases)


MODE: ContextVar[Mode] = ContextVar("minigrad_mode", default=Mode())  # noqa: B039 (a Mode is never changed)
current_mode = MODE.get


@contextmanager
def changed_mode(**changes: Any) -> Iterator[Mode]:
    """The current mode with some of its fields changed, inside the block."""
    token = MODE.set(mode := current_mode().replace(**changes))
    try:
        yield mode
    finally:
        MODE.reset(token)


class _GradMode:
    """`with no_grad(): ...` or `@no_grad()` (also `@no_grad`) on a function."""

    def __init__(self, flag: bool) -> None:
        self._flag = flag
        self._outer: list[bool] = []

    def __enter__(self) -> None:
        self._outer.append(current_mode().grad)
        MODE.set(current_mode().replace(grad=self._flag))

    def __exit__(self, *exception: object) -> None:
        MODE.set(current_mode().replace(grad=self._outer.pop()))

    def __call__(self, function: F) -> F:
        flag = self._flag

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(flag):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


def no_grad(function: F | None = None) -> Any:
    """Record nothing inside: `with no_grad():`, or as a decorator."""
    return _GradMode(False) if function is None else _GradMode(False)(function)


def enable_grad(function: F | None = None) -> Any:
    """Record inside, also within `no_grad`: `with enable_grad():`, or as a decorator."""
    return _GradMode(True) if function is None else _GradMode(True)(function)


class set_grad_enabled(_GradMode):  # noqa: N801 (PyTorch's name)
    """Switch recording on or off: as a call, from now on; as `with set_grad_enabled(flag):`, for the block."""

    def __init__(self, flag: bool) -> None:
        super().__init__(bool(flag))
        self._before = current_mode().grad
        MODE.set(current_mode().replace(grad=self._flag))

    def __enter__(self) -> None:
        self._outer.append(self._before)
        MODE.set(current_mode().replace(grad=self._flag))

    def __call__(self, function: F) -> F:
        MODE.set(current_mode().replace(grad=self._before))  # as a decorator it changes nothing outside
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """True if operations are recorded here."""
    return current_mode().grad


@contextmanager
def plain_path() -> Iterator[None]:
    """Switch every fast path off inside the block: nothing is gathered or fused, and every node is the plain one.

    The numbers are the same up to rounding; this is for comparing, and for finding mistakes.
    """
    with changed_mode(fast=False):
        yield
