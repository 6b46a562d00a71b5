"""Layers made of layers: two directions side by side, and stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.scopes import here

from ..layers.dropout import Dropout
from ..layers.lookup import Lookup
from ..modules import Module
from .packing import Packing, to_rows
from .recurrent import OverTime, Recurrent, Shown


class Bidirectional(OverTime):
    """Two layers (or cells) over the same input, one in each direction; their outputs side by side.

    forward, backward  a Recurrent or a cell each; the second runs from the end. They may be of different kinds
    state   a pair, of the forward and of the backward layer
    output  (T, N, H_forward + H_backward)

    Schuster & Paliwal 1997.
    """

    def __init__(self, forward: Any, backward: Any, *, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.forward_layer = forward if isinstance(forward, OverTime) else Recurrent(forward)
        self.backward_layer = backward if isinstance(backward, OverTime) else Recurrent(backward, reverse=True)
        if self.backward_layer is self.forward_layer or (
            isinstance(backward, Module) and getattr(self.forward_layer, "cell", None) is backward
        ):
            raise ValueError("Bidirectional: the two directions need a cell each, not the same one twice")
        for layer, reverse in ((self.forward_layer, False), (self.backward_layer, True)):
            if isinstance(layer, Recurrent) and layer.reverse != reverse:
                which = "backward" if reverse else "forward"
                raise ValueError(f"Bidirectional: the {which} layer must be made with reverse={reverse}")
        self.forward_layer._label, self.backward_layer._label = "forward", "backward"

    @property
    def input_size(self) -> int | None:
        """The width of the input, where a cell says it."""
        return self.forward_layer.input_size

    def initial_state(self, batch: int) -> Any:
        """A pair."""
        return self.forward_layer.initial_state(batch), self.backward_layer.initial_state(batch)

    def run(self, rows: Any, packing: Packing, state: Any, shown: Shown | None) -> tuple[Any, Any]:
        """See OverTime."""
        there, back = parts_of(self._title(), state, 2, "directions")
        outputs, finals = [], []
        for layer, start in ((self.forward_layer, there), (self.backward_layer, back)):
            with mg.scope(layer._label or "direction"):
                output, final = layer.run(rows, packing, start, shown)
            outputs.append(output)
            finals.append(final)
        return np.concatenate(outputs, axis=-1), tuple(finals)


class Stacked(OverTime):
    """Layers (or cells) one above the other, each over the outputs of the one below; widths may differ.

    layers    cells, Recurrent, Bidirectional, Stacked; also modules that map each step by itself (nn.LayerNorm)
    dropout   between the layers: a probability
    residual  add a layer's input to its output wherever the widths are equal
    state     a tuple with each recurrent layer's state
    """

    def __init__(
        self, layers: Iterable[Any], *, dropout: float = 0.0, residual: bool = False, batch_first: bool = False
    ) -> None:  # fmt: skip
        super().__init__()
        self.batch_first = batch_first
        self.residual = residual
        self.dropout = Dropout(dropout)
        for count, layer in enumerate(layers):
            plain = isinstance(layer, OverTime) or not (hasattr(layer, "initial_state") and hasattr(layer, "step"))
            if plain and not isinstance(layer, Module):
                raise TypeError(f"Stacked: expected cells, layers or modules, got {type(layer).__name__}")
            setattr(self, str(count), layer if plain else Recurrent(layer))
            self._modules[-1]._label = f"[{count}]"
        if not any(isinstance(layer, OverTime) for layer in self._modules):
            raise ValueError("Stacked: there is no recurrent layer in it")

    @property
    def _modules(self) -> list[Any]:
        return [value for name, value in vars(self).items() if name.isdigit()]

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: int) -> Any:
        return self._modules[index]

    @property
    def input_size(self) -> int | None:
        """The width of the input, if the first cell declares it."""
        return getattr(self._modules[0], "input_size", None)

    def initial_state(self, batch: int) -> Any:
        """A tuple, one state for each recurrent layer."""
        return tuple([layer.initial_state(batch) for layer in self._modules if isinstance(layer, OverTime)])

    def run(self, rows: Any, packing: Packing, state: Any, shown: Shown | None) -> tuple[Any, Any]:
        """See OverTime."""
        layers = self._modules
        if isinstance(rows, Lookup) and (self.residual or not isinstance(layers[0], OverTime)):
            rows = rows.rows()
        recurrent = sum(isinstance(layer, OverTime) for layer in layers)
        states = list(parts_of(self._title(), state, recurrent, "recurrent layers"))
        finals = []
        for k, layer in enumerate(layers):
            if isinstance(layer, OverTime):
                below = self.dropout(rows) if k else rows
                with mg.scope(layer._label or f"[{k}]"):
                    check_width(layer, below)
                    output, final = layer.run(below, packing, states.pop(0), shown)
                finals.append(final)
                rows = output + rows if self.residual and output.shape == rows.shape else output
            else:
                rows = self._each_step(layer, rows, packing)
        return rows, tuple(finals)

    def _each_step(self, layer: Callable[[Any], Any], rows: Any, packing: Packing) -> Any:
        """Apply a module that does not know of rows to the batch."""
        batch = layer(self._batch(rows, packing))
        if self.batch_first:
            batch = np.swapaxes(batch, 0, 1)
        return to_rows(batch, packing.places, packing.real)


def check_width(layer: OverTime, rows: Any) -> None:
    """Raise ValueError if a layer is above one of another width."""
    if layer.input_size is not None and rows.shape[-1] != layer.input_size:
        raise ValueError(
            f"Stacked: the layer below gives {rows.shape[-1]} features, but input_size is {layer.input_size}{here()}"
        )


def parts_of(title: str, state: Any, count: int, what: str) -> Sequence[Any]:
    """A nested state as `count` parts; None gives None for each part."""
    if state is None:
        return (None,) * count
    if not isinstance(state, tuple | list) or len(state) != count:
        got = f"{len(state)} parts" if isinstance(state, tuple | list) else f"a {type(state).__name__}"
        raise ValueError(f"{title}: the state must be a tuple, one part for each of the {count} {what}, got {got}")
    return state
