"""Truncated back-propagation through time: long streams in windows (Williams & Peng 1990)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend, trees
from minigrad.modes import current_mode
from minigrad.scopes import here
from minigrad.state import Carried, change, decided, keep, only_outside

from .. import checks
from ..layers.dropout import undropped
from ..modules import Module, beside
from .stacking import Bidirectional


def detach(state: Any) -> Any:
    """The nested state (tuples, lists, dicts of tensors), detached from the tape; other leaves stay."""
    leaves, rebuild = trees.flatten(state)
    return rebuild([s.detach() if isinstance(s, mg.Tensor) else s for s in leaves])


class TBPTT:
    """A stream of windows, each continuing from the state of the one before: TBPTT(k1, k2).

    k1  steps in a window; each window has a loss and a backward
    k2  steps through which its gradient flows, a multiple of k1; k1 if None

    >>> import minigrad as mg, nn
    >>> layer, tbptt = nn.GRU(3, 5), nn.TBPTT(k1=4)
    >>> for xs in [mg.randn(4, 2, 3), mg.randn(4, 2, 3)]:   # two windows of one stream
    ...     output = tbptt(layer, xs)                        # (4, 2, 5)
    ...     output.sum().backward()

    A layer that reads backwards would begin each window with a state of earlier windows, and is refused. The state is
    carried here, detached, so memory does not grow with the stream. If k2 > k1, the inputs of the windows before the
    present one are kept as well, and run again with the present weights, from the state in which they began; their
    outputs are not returned.
    """

    def __init__(self, k1: int, k2: int | None = None) -> None:
        k2 = k1 if k2 is None else k2
        if any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in (k1, k2)) or k2 % k1:
            raise ValueError(f"TBPTT: k1 must be positive and k2 a multiple of it, got k1={k1!r} and k2={k2!r}")
        self.k1, self.k2 = k1, k2
        self.state: Any = None  # after the latest window
        self._overwritten: Any = None  # the state whose arrays a program of `mg.compile` overwrites
        self._axes = (0, 0)  # the batch axes of the state and the inputs
        self._past: deque[tuple[Any, Any, Any]] = deque(maxlen=k2 // k1 - 1)  # (state before it, inputs, reset)

    def __call__(
        self, layer: Callable[..., tuple[Any, Any]], xs: Any, *, reset: Any = None, batch_axis: int | None = None
    ) -> Any:  # fmt: skip
        """The outputs of `layer(xs, state)` for the stream's next window.

        layer       a layer over time, or any function (xs, state) -> (outputs, state)
        xs          the window's input, k1 steps of it (fewer at a stream's end)
        reset       (N,) booleans: True for rows in which a new sequence begins, with the initial state
        batch_axis  the batch axis of the state's tensors; by default the layer's, or 0
        """
        inner = undropped(layer)
        xs = beside(inner, xs)
        _refuse_backward(inner)
        time = 1 if getattr(inner, "batch_first", False) else 0
        if xs.shape[time] > self.k1:
            raise ValueError(
                f"TBPTT: the window {xs.shape} has {xs.shape[time]} steps (axis {time}), but k1 is {self.k1}{here()}"
            )
        axis = getattr(inner, "batch_axis", 0) if batch_axis is None else batch_axis
        self._axes = (axis, 1 - time)
        if current_mode().intake.follows:
            return self._followed(layer, xs, inner, reset, axis)
        state = self._past[0][0] if self._past else self.state
        for _, earlier, begun in self._past:
            _, state = layer(earlier, _renewed(inner, state, begun, axis))
        outputs, after = layer(xs, _renewed(inner, state, reset, axis))
        if self._past.maxlen:
            self._past.append((self.state, xs.detach(), reset))
        self.state = self._carried(detach(after), state)
        return outputs

    def _followed(self, layer: Callable[..., tuple[Any, Any]], xs: Any, inner: Any, reset: Any, axis: int) -> Any:
        """A window in a recording, which overwrites the arrays of the carried state."""
        if self._past.maxlen:
            only_outside("TBPTT with k2 > k1 keeps earlier windows")
        begins = decided(lambda: self.state, "the state that TBPTT carries") is None
        self._overwritten = held = self._overwritten if begins else self.state
        if held is None:
            only_outside("TBPTT begins its first stream")
        leaves, rebuild = trees.flatten(held)
        carried = [Carried(leaf) for leaf in leaves]
        state = None if begins else _renewed(inner, rebuild([c.value for c in carried]), reset, axis)
        outputs, after = layer(xs, state)
        new = trees.flatten(detach(after))[0]
        if [s.shape for s in new] != [s.shape for s in leaves]:
            only_outside("TBPTT carries a state of another shape")
        for c, s in zip(carried, new, strict=True):
            keep(c, "value", s)
        change(lambda: setattr(self, "state", held))
        return outputs

    def _carried(self, new: Any, before: Any) -> Any:
        """The new state, in the tensors that a program of `mg.compile` overwrites, if there are some.

        The window must not have begun `before` with these tensors, since its backward may need them.
        """
        if self._overwritten is None or before is self._overwritten:
            return new
        held, leaves = (trees.flatten(state)[0] for state in (self._overwritten, new))
        if [s.shape for s in held] != [s.shape for s in leaves]:
            return new
        for tensor, s in zip(held, leaves, strict=True):
            Carried(tensor).value = s
        return self._overwritten

    def restart(self) -> None:
        """Forget the stream: the next window begins a new one."""
        self.state = None
        self._past.clear()

    def state_dict(self) -> dict[str, Any]:
        """The contents of a checkpoint: the carried state, the kept windows, and the axes of their batches."""
        return {"state": self.state, "past": list(self._past), "axes": self._axes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a result of `state_dict`. An invalid one raises ValueError or TypeError, and changes nothing."""
        title = "TBPTT.load_state_dict"
        checks.entries(title, state, ("state", "past", "axes"), optional=("axes",))
        past = state["past"]
        if not isinstance(past, list | tuple) or not all(isinstance(w, list | tuple) and len(w) == 3 for w in past):
            raise ValueError(f"{title}: past must be a list of windows, (state, input, reset) each, not {past!r:.80}")
        if len(past) > (self._past.maxlen or 0):
            raise ValueError(
                f"{title}: past has {len(past)} windows, and k1={self.k1}, k2={self.k2} keep {self._past.maxlen}"
            )
        axes = tuple(state.get("axes", (0, 0)))
        if len(axes) != 2 or not all(isinstance(axis, int) for axis in axes):
            raise ValueError(f"{title}: axes must be two integers, not {axes!r:.80}")
        self.state, self._axes = state["state"], axes
        self._past.clear()
        self._past.extend(tuple(window) for window in past)  # type: ignore[misc]

    @staticmethod
    def split(state: dict[str, Any], rank: int, ranks: int) -> dict[str, Any]:
        """The rows r, r + R, r + 2 R, ... of a `state_dict` of TBPTT: the part that rank r of R carries."""
        return _by_rows(lambda axis, part: _rows(part, axis, rank, ranks), [state])

    @staticmethod
    def merge(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The `state_dict` of all rows, from those of all ranks. Raises ValueError if rows are missing."""
        return _by_rows(_interleaved, states)


def _by_rows(function: Callable[..., Any], states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A state whose tensors with rows are `function(axis, *tensors)` of the corresponding tensors."""
    on, of = states[0].get("axes", (0, 0))
    windows = [
        tuple(
            [_leaves(function, axis, parts) for axis, parts in zip((on, of, 0), zip(*window, strict=True), strict=True)]
        )
        for window in zip(*[state["past"] for state in states], strict=True)
    ]
    return {"state": _leaves(function, on, [state["state"] for state in states]), "past": windows, "axes": (on, of)}


def _leaves(function: Callable[..., Any], axis: int, values: Sequence[Any]) -> Any:
    flat, rebuild = zip(*map(trees.flatten, values), strict=True)
    return rebuild[0]([None if parts[0] is None else function(axis, *parts) for parts in zip(*flat, strict=True)])


def _rows(part: Any, axis: int, rank: int, ranks: int) -> Any:
    return part[(*[slice(None)] * axis, slice(rank, None, ranks))]


def _interleaved(axis: int, *parts: Any) -> Any:
    """Rows r, r + R, ... from part r."""
    arrays = [p.data if isinstance(p, mg.Tensor) else np.asarray(p) for p in parts]
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    whole = np.empty_like(arrays[0], shape=tuple(shape))
    for rank, array in enumerate(arrays):
        rows = _rows(whole, axis, rank, len(arrays))
        if rows.shape != array.shape:
            raise ValueError(f"merge: rank {rank} has a part of shape {array.shape}, expected {rows.shape}")
        rows[...] = backend.transfer(array, backend.device_of(whole))
    return mg.Tensor(whole) if isinstance(parts[0], mg.Tensor) else whole


def _refuse_backward(layer: Any) -> None:
    """Raise ValueError if a layer, or one inside it, reads from the end of a stream."""
    for name, module in layer.named_modules() if isinstance(layer, Module) else ():
        if isinstance(module, Bidirectional) or getattr(module, "reverse", False) is True:
            title, inside = type(layer).__name__, f" ({type(module).__name__} {name})" * bool(name)
            raise ValueError(
                f"TBPTT: {title}{inside} reads backwards, and the end of a stream is not known; a bidirectional or "
                "reversed layer needs the whole sequence at once"
            )


def _renewed(layer: Any, state: Any, reset: Any, axis: int) -> Any:
    """The state, with the initial state in the rows of `reset`."""
    if state is None or reset is None:
        return state
    leaves, rebuild = trees.flatten(state)
    fresh: list[Any] = [0.0] * len(leaves)
    if hasattr(layer, "initial_state"):
        fresh = trees.flatten(layer.initial_state(leaves[0].shape[axis]))[0]
    mask = reset.data if isinstance(reset, mg.Tensor) else reset
    mask = mask if backend.is_array(mask) else np.asarray(mask)
    renewed = []
    for s, start in zip(leaves, fresh, strict=True):
        if mask.shape != (s.shape[axis],) or mask.dtype.kind != "b":
            raise ValueError(
                f"TBPTT: reset must be {s.shape[axis]} booleans, one a row, got {mask.dtype} {mask.shape}{here()}"
            )
        rows = backend.transfer(mask, s.device).reshape([-1 if a == axis else 1 for a in range(s.ndim)])
        renewed.append(np.where(rows, start, s))
    return rebuild(renewed)
