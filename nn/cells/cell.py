"""The protocol between a cell and the layer that runs it, and the base class of this package's cells.

A cell is one step of a recurrent network. Any object with these methods is a cell:

    initial_state(batch)   the state before the first step: a tuple of tensors (N, ...)
    step(x_t, state)       the state after a step: a tuple of as many tensors. Further tensors in it (gates, say) are
                           not carried on; a layer called with `return_states=True` shows them
    inputs(xs)             optional: the part of a step that depends on its input alone, computed for all steps at once,
                           (T, N, D) to (T, N, ...); `step` then receives its slice of the result. It may look along
                           time: it gets the real steps of sequences alone, in reading order. With `@each_row` it
                           declares that it maps each row by itself, (..., D) to (..., anything), and gets rows (R, D)
    output(h)              optional: a layer's output from the first tensor of the state, for the rows of all steps at
                           once; without it, the output is that tensor itself
    fast_step(x_t, state)  optional: `step` in a form that is faster and leaves the range of floats sooner. A loop that
                           runs as a program runs it; if a result or a gradient is not finite, all steps run again by
                           `step`
    states, gates          optional: names of the state's tensors and of the further ones (or `step` returns a named
                           tuple)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.scopes import here

from .. import init
from ..layers.dropout import check_probability, dropout_mask
from ..layers.linear import check_features
from ..modules import Module, Parameter, beside
from ..sequences.packing import Packing

State = tuple[mg.Tensor, ...]
NUMBERS = "fiub"  # the dtype kinds that a given state may have
F = TypeVar("F", bound=Callable[..., Any])


def each_row(inputs: F) -> F:
    """Declare that a cell's `inputs` maps each row by itself, and equal rows to equal results. So a batch of unequal
    lengths is one product, and a row that repeats may be mapped once."""
    inputs.each_row = True  # type: ignore[attr-defined]
    return inputs


def maps_rows(cell: Any) -> bool:
    """True if a cell's `inputs` maps each row by itself."""
    return getattr(getattr(cell, "inputs", None), "each_row", False)


def looks_around(cell: Any) -> bool:
    """True if a cell's `inputs` needs whole sequences, because it reads other steps."""
    return hasattr(cell, "inputs") and not maps_rows(cell)


def inputs_of(cell: Any, rows: Any, packing: Packing | None = None, reverse: bool = False) -> Any:
    """The inputs of a cell's steps, (R, ...), from the rows (R, D) of a batch or of a single step.

    Sequences with the same number of real steps are mapped together, each as if alone; with `reverse`, from the end.
    """
    if not looks_around(cell):
        return cell.inputs(rows) if maps_rows(cell) else rows
    order = slice(None, None, -1 if reverse else 1)
    groups = None if packing is None else packing.groups()
    if groups is None:
        batch = rows.reshape((packing.T, packing.N, *rows.shape[1:])) if packing is not None else rows[None]
        found = _mapped(cell, batch[order])[order]
        return found.reshape((rows.shape[0], *found.shape[2:]))
    if not groups:  # no step is real
        return _mapped(cell, np.zeros_like(rows, shape=(1, 1, *rows.shape[1:])))[0, :0]
    parts = [_mapped(cell, rows[backend.transfer(group[order], rows.device)])[order] for group in groups]
    places = np.full(rows.shape[0], sum(group.size for group in groups))
    places[np.concatenate([group.reshape(-1) for group in groups])] = np.arange(places[0] if places.size else 0)
    flat = [part.reshape((-1, *part.shape[2:])) for part in parts]
    padding = np.zeros_like(flat[0].data, shape=(1, *flat[0].shape[1:]))  # for rows that are not real
    return np.concatenate([*flat, padding])[backend.transfer(places, rows.device)]


def _mapped(cell: Any, xs: Any) -> Any:
    """cell.inputs(xs); ValueError if it changes the number of steps or sequences."""
    mapped = cell.inputs(xs)
    if tuple(np.shape(mapped))[:2] != xs.shape[:2]:
        raise ValueError(
            f"{type(cell).__name__}.inputs must turn (T, N, D) into (T, N, ...), it turned {xs.shape} into "
            f"{tuple(np.shape(mapped))}{here()}"
        )
    return mapped


class Cell(Module):
    """Base class: a cell that defines `update` gets recurrent dropout, zoneout and PyTorch's way of calling.

    input_size, sizes   the width of the input, and of each of the state's tensors
    recurrent_dropout   probability of dropping a unit of the previous state in the recurrent product: one mask for a
                        whole sequence (Gal & Ghahramani 2016). In training the state carries the mask as its last
                        tensor
    zoneout             probability of a unit to keep its previous value, drawn anew at each step; in evaluation, the
                        expectation (Krueger et al. 2017). A number, or one for each of the state's tensors

    Calling `state = cell(x, state)` takes x (N, D) or (D,). A state with one part is a tensor, others are tuples; None
    is the initial state.
    """

    states: tuple[str, ...] = ("h",)
    gates: tuple[str, ...] = ()

    def __init__(
        self, input_size: int, sizes: Sequence[int], recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        title = type(self).__name__
        for size in (input_size, *sizes):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"{title}: sizes must be positive integers, got {size!r}")
        self.input_size = input_size
        self.sizes = tuple(sizes)
        self.recurrent_dropout = check_probability(title, recurrent_dropout)
        rates = (zoneout,) * len(sizes) if isinstance(zoneout, int | float) else tuple(zoneout)
        if len(rates) != len(sizes):
            raise ValueError(f"{title}: zoneout must be one number, or one for each of {self.states}, got {zoneout!r}")
        self.zoneout = tuple([check_probability(title, p) for p in rates])
        self._zones = any(rates)

    @property
    def hidden_size(self) -> int:
        """The width of the first tensor of the state."""
        return self.sizes[0]

    # ---- the protocol --------------------------------------------------------------------------------------------

    def initial_state(self, batch: int) -> State:
        """Zeros (N, size); in training with recurrent dropout, its mask as well."""
        like = next(self._tensors(), mg.zeros(()))
        shapes, n = self.shapes(batch), len(self.sizes)
        zeros = [mg.Tensor(np.zeros_like(like.data, shape=shape)) for shape in shapes[:n]]
        return (*zeros, *[dropout_mask(shape, self.recurrent_dropout, like) for shape in shapes[n:]])

    def shapes(self, batch: int) -> list[tuple[int, int]]:
        """The shapes of the initial state's tensors, without drawing a mask."""
        masked = self.training and self.recurrent_dropout > 0
        return [(batch, size) for size in (*self.sizes, *self.sizes[:masked])]

    def step(self, x: mg.Tensor, state: State) -> State:
        """One step, from the result of `inputs` (N, ...) and the state to the next state and the gates."""
        n = len(self.sizes)
        if len(state) == n and not self._zones:
            return self.update(x, state, state[0])
        old, mask = state[:n], state[n : n + self.training]
        new = self.update(x, old, old[0] * mask[0] if mask else old[0])
        return (*self._zoned(new[:n], old), *state[n:], *new[n:])

    def update(self, x: mg.Tensor, state: State, recurrent: mg.Tensor) -> State:
        """The equations of the cell: the next state, followed by further tensors to show.

        recurrent  the state's first tensor after dropout, as used in the recurrent product
        """
        raise NotImplementedError(f"{type(self).__name__} does not define update()")

    @each_row
    def inputs(self, xs: Any) -> Any:
        """The part of a step that depends on its input alone, (..., D) to (..., anything), for all steps at once."""
        return xs

    def _tensors(self) -> Iterator[mg.Tensor]:
        """The weights, including those that replace Parameters while a `WeightDrop` is active."""
        return (v for module in self.modules() for v in vars(module).values() if isinstance(v, mg.Tensor))

    def _zoned(self, new: State, old: State) -> State:
        """Let some units keep their old value."""
        mixed: list[Any] = []
        s: Any
        for s, before, p in zip(new, old, self.zoneout, strict=True):
            if p and self.training:
                s = np.where(mg.rand(*s.shape, device=s.device).data < p, before, s)
            elif p:
                s = p * before + (1 - p) * s
            mixed.append(s)
        return tuple(mixed)

    # ---- one step at a time --------------------------------------------------------------------------------------

    def forward(self, x: Any, state: Any = None) -> Any:
        """The next state from an input (N, D) or (D,) and a state."""
        x = beside(self, x)
        if x.ndim not in (1, 2):
            raise ValueError(f"{type(self).__name__}: expected an input (N, D) or (D,), got {x.shape}{here()}")
        check_features(self, x, self.input_size, "input_size")
        one = x.ndim == 1
        given = () if state is None else state if isinstance(state, tuple | list) else (state,)
        given = [beside(self, s, NUMBERS) for s in given]
        if one:
            for name, s, size in zip(self.states, given, self.sizes, strict=False):
                if s.shape not in ((size,), (1, size)):
                    raise ValueError(
                        f"{type(self).__name__}: state {name!r} has shape {s.shape}, expected {(size,)} beside the "
                        f"input {x.shape}{here()}"
                    )
        rows = [s[None] if one and s.ndim == 1 else s for s in given]
        batch = 1 if one else x.shape[0]
        before = complete(self, rows, batch, type(self).__name__)
        after = self.step(inputs_of(self, x[None] if one else x), before)[: len(before)]
        after = tuple([s[0] for s in after]) if one else after
        return after[0] if len(after) == 1 else after

    def extra_repr(self) -> str:
        extras = f"{self.input_size}, {self.hidden_size}"
        if self.recurrent_dropout:
            extras += f", recurrent_dropout={self.recurrent_dropout}"
        return extras + (f", zoneout={self.zoneout}" if self._zones else "")


def complete(cell: Any, given: Sequence[Any], batch: int, title: str) -> State:
    """A complete state for a batch: the given tensors, then the remaining ones of the initial state.

    Raises ValueError if a shape differs from the initial state's.
    """
    initial: Any = ()
    expected = cell.shapes(batch) if isinstance(cell, Cell) else None
    if expected is None or len(given) < len(expected):
        initial = cell.initial_state(batch)
        if not isinstance(initial, tuple):
            raise TypeError(f"{title}: initial_state must return a tuple of tensors, got {type(initial).__name__}")
        expected = [s.shape for s in initial]
    if len(given) > len(expected) or (given and len(given) < len(getattr(cell, "states", expected))):
        raise ValueError(f"{title}: the state has {len(expected)} tensors, {len(given)} were given{here()}")
    names = getattr(cell, "states", ())
    for k, (s, wanted) in enumerate(zip(given, expected, strict=False)):
        shape = tuple(np.shape(s))
        if shape != wanted:
            name = names[k] if k < len(names) else str(k)
            axis = next((a for a, (m, n) in enumerate(zip(shape, wanted, strict=False)) if m != n), None)
            which = "" if axis is None or len(shape) != len(wanted) else f": axis {axis} differs"
            raise ValueError(f"{title}: state {name!r} has shape {shape}, expected {wanted}{which}{here()}")
    return (*[beside(cell, s, NUMBERS) for s in given], *initial[len(given) :])


def recurrent_parameters(
    cell: Cell, gates: int, hidden: int, state: int, bias: bool, device: str, dtype: Any
) -> None:  # fmt: skip
    """weight_ih (gates·H, D), weight_hh (gates·H, state), bias_ih, bias_hh (gates·H,), all U(±1/√H) as in PyTorch."""
    shapes = {"weight_ih": (gates * hidden, cell.input_size), "weight_hh": (gates * hidden, state)}
    if bias:
        shapes |= {"bias_ih": (gates * hidden,), "bias_hh": (gates * hidden,)}  # type: ignore[dict-item]
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, uniform(shapes[name], hidden, device, dtype) if name in shapes else None)


def uniform(shape: tuple[int, ...], fan: int, device: str, dtype: Any) -> Parameter:
    """A Parameter from U(±1/√fan)."""
    bound = fan**-0.5
    return Parameter(init.uniform_(mg.zeros(shape, device=device, dtype=dtype), -bound, bound))
