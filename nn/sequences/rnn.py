"""RNN, LSTM and GRU with PyTorch's arguments, results and state dict. They combine Stacked, Bidirectional and Recurrent
over the cells."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.scopes import here

from ..cells import GRUCell, LSTMCell, RNNCell
from ..cells.cell import NUMBERS
from ..layers.dropout import check_probability
from ..layers.linear import check_features
from ..layers.lookup import Lookup
from ..modules import Parameter, beside
from .packing import Packing
from .recurrent import OverTime, Recurrent, Shown
from .stacking import Bidirectional, Stacked


class Layered(OverTime):
    """Base class: num_layers layers of one kind of cell, in one direction or both.

    make         builds the cell for an input of the given width
    dropout      between the layers
    learn_state  initial states are parameters, `initial_h_l0` and so on

    A state has one tensor for each of the cell's, (num_layers · directions, N, ·): layer by layer, forward first. An
    input without a batch, (T, D), gives an output (T, H) and a state (num_layers · directions, ·).
    """

    batch_axis = 1

    def __init__(
        self, make: Callable[[int], Any], input_size: int, num_layers: int, dropout: float, bidirectional: bool,
        batch_first: bool, learn_state: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        if isinstance(num_layers, bool) or not isinstance(num_layers, int) or num_layers < 1:
            raise ValueError(f"{self._title()}: num_layers must be a positive integer, got {num_layers!r}")
        self._input_size = input_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.batch_first = batch_first
        self.dropout = check_probability(self._title(), dropout)
        if dropout and num_layers == 1:
            warnings.warn(
                f"{self._title()}: dropout={dropout} is between layers, and num_layers=1 has nothing between; for the "
                "outputs, use nn.Dropout",
                stacklevel=3,
            )
        layers: list[OverTime] = []
        width = input_size
        for _ in range(num_layers):
            directions = (False, True)[: 1 + bidirectional]
            one = [Recurrent(make(width), reverse=back, learn_state=learn_state) for back in directions]
            layers.append(Bidirectional(*one) if bidirectional else one[0])
            width = one[0].cell.sizes[0] * (1 + bidirectional)
        self.hidden_size: int = one[0].cell.hidden_size
        self.layers = Stacked(layers)  # `run` passes the dropout

    def __getattr__(self, name: str) -> Parameter:
        """A parameter by PyTorch's name: `lstm.weight_hh_l0`."""
        place = self._place_of(name)
        if place is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(*place)  # type: ignore[no-any-return]

    def __setattr__(self, name: str, value: Any) -> None:
        place = self._place_of(name)
        if place is None:
            super().__setattr__(name, value)
        else:
            setattr(*place, value)

    def _place_of(self, name: str) -> tuple[Any, str] | None:
        """The cell that holds the parameter with PyTorch's name, and its name in the cell."""
        if "_l" in name and "layers" in vars(self):
            for public, module, attribute in self._places("parameters"):
                if public == name:
                    return module, attribute
        return None

    def _public_name(self, name: str) -> str:
        """layers.1.backward_layer.cell.weight_ih is PyTorch's weight_ih_l1_reverse."""
        _, number, rest = name.split(".", 2)
        direction = "_reverse" if rest.startswith("backward_layer.") else ""
        rest = rest.removeprefix("forward_layer.").removeprefix("backward_layer.").removeprefix("cell.")
        first, dot, inner = rest.partition(".")  # the cell's submodules keep their parameters' names
        return f"{first}_l{number}{direction}{dot}{inner}"

    @property
    def input_size(self) -> int:
        """The width of the input."""
        return self._input_size

    def forward(
        self, xs: Any, state: Any = None, *, lengths: Any = None, mask: Any = None, return_states: bool = False
    ) -> Any:
        """See OverTime; inputs without a batch are allowed."""
        if not isinstance(xs, Lookup):
            xs = beside(self, xs)
        elif xs.ndim == 2:
            xs = xs.rows()
        if xs.ndim != 2:
            return super().forward(xs, state, lengths=lengths, mask=mask, return_states=return_states)
        check_features(self, xs, self.input_size, "input_size")
        axis = 0 if self.batch_first else 1
        if lengths is not None or mask is not None:
            raise ValueError(f"{self._title()}: an input (T, D) without a batch takes no lengths and no mask{here()}")
        if state is not None:
            pair = isinstance(state, tuple | list)
            given = [beside(self, s, NUMBERS) for s in (state if pair else [state])]
            cell, count = self._first_cell(), self.num_layers * (1 + self.bidirectional)
            for s, size in zip(given, cell.sizes, strict=False):
                if s.shape != (count, size):
                    raise ValueError(
                        f"{self._title()}: an input (T, D) without a batch needs a state (num_layers · directions, "
                        f"size) = {(count, size)}, not {s.shape}{here()}"
                    )
            state = tuple([s[:, None] for s in given]) if pair else given[0][:, None]
        output, final, *shown = super().forward(np.expand_dims(xs, axis), state, return_states=return_states)
        final = tuple([s[:, 0] for s in final]) if isinstance(final, tuple) else final[:, 0]
        if shown:
            several = shown[0] if isinstance(shown[0], list) else [shown[0]]
            several = [type(each)(*[np.squeeze(v, axis) for v in each]) for each in several]
            shown = [several if isinstance(shown[0], list) else several[0]]
        return (np.squeeze(output, axis), final, *shown)

    def initial_state(self, batch: int) -> Any:
        """The state used for None, in the caller's form."""
        return self._joined(self.layers.initial_state(batch))

    def run(self, rows: Any, packing: Packing, state: Any, shown: Shown | None) -> tuple[Any, Any]:
        """See OverTime."""
        self.layers.dropout.p = self.dropout
        rows, final = self.layers.run(rows, packing, self._parted(state, packing.N), shown)
        return rows, self._joined(final)

    def _first_cell(self) -> Any:
        first = self.layers[0]
        return (first.forward_layer if self.bidirectional else first).cell

    def _parted(self, state: Any, N: int) -> Any:
        """One state for each layer and direction, from tensors (layers · directions, N, ·)."""
        if state is None:
            return None
        cell = self._first_cell()
        given = tuple(state) if isinstance(state, tuple | list) else (state,)
        if len(given) != len(cell.states):
            raise ValueError(
                f"{self._title()}: the state is {' and '.join(cell.states)}, got {len(given)} tensors{here()}"
            )
        count = self.num_layers * (1 + self.bidirectional)
        for name, s, size in zip(cell.states, given, cell.sizes, strict=True):
            if tuple(np.shape(s)) != (count, N, size):
                axes = ("num_layers · directions", "the batch", "the state's size")
                shape = tuple(np.shape(s))
                wrong = [axes[k] for k in range(3) if len(shape) == 3 and shape[k] != (count, N, size)[k]]
                raise ValueError(
                    f"{self._title()}: the initial {name} has shape {shape}, expected {(count, N, size)}"
                    + (f": {wrong[0]} (axis {axes.index(wrong[0])}) differs" if wrong else "")
                    + here()
                )
        each = list(zip(*[mg.unstack(beside(self, s, NUMBERS)) for s in given], strict=True))
        return tuple(zip(each[::2], each[1::2], strict=True)) if self.bidirectional else tuple(each)

    def _joined(self, state: Any) -> Any:
        """Tensors (layers · directions, N, ·) from one state for each layer and direction."""
        each = [s for layer in state for s in layer] if self.bidirectional else list(state)
        parts = zip(*[s if isinstance(s, tuple) else (s,) for s in each], strict=True)
        joined = tuple([np.stack(part) if len(part) > 1 else part[0][None] for part in parts])
        return joined[0] if len(joined) == 1 else joined

    def extra_repr(self) -> str:
        options = {
            "num_layers": self.num_layers if self.num_layers > 1 else None,
            "dropout": self.dropout,
            "bidirectional": self.bidirectional,
            "batch_first": self.batch_first,
        }
        shown = [f"{name}={value}" for name, value in options.items() if value]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"  # on one line: submodules are not attributes in PyTorch


class RNN(Layered):
    """torch.nn.RNN: h' = f(W_ih x + b_ih + W_hh h + b_hh) in num_layers layers. See `RNNCell`, `Layered`, `OverTime`.

    >>> import minigrad as mg, nn
    >>> output, h = nn.RNN(3, 5, num_layers=2)(mg.randn(7, 4, 3), lengths=[7, 2, 5, 1])
    >>> output.shape, h.shape
    ((7, 4, 5), (2, 4, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: Any = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *, recurrent_dropout: float = 0.0,
        zoneout: float = 0.0, learn_state: bool = False, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        def make(width: int) -> RNNCell:
            return RNNCell(
                width, hidden_size, bias, nonlinearity, recurrent_dropout=recurrent_dropout, zoneout=zoneout,
                device=device, dtype=dtype,
            )  # fmt: skip

        super().__init__(make, input_size, num_layers, dropout, bidirectional, batch_first, learn_state)


class LSTM(Layered):
    """torch.nn.LSTM: the state is a pair (h, c). See `LSTMCell` for the options, `Layered`, `OverTime`.

    >>> import minigrad as mg, nn
    >>> output, (h, c) = nn.LSTM(3, 5, bidirectional=True)(mg.randn(7, 4, 3))
    >>> output.shape, h.shape
    ((7, 4, 10), (2, 4, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, *, peephole: bool = False,
        coupled: bool = False, layer_norm: bool = False, recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0, learn_state: bool = False, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        def make(width: int) -> LSTMCell:
            return LSTMCell(
                width, hidden_size, bias, peephole=peephole, coupled=coupled, proj_size=proj_size,
                layer_norm=layer_norm, recurrent_dropout=recurrent_dropout, zoneout=zoneout, device=device,
                dtype=dtype,
            )  # fmt: skip

        super().__init__(make, input_size, num_layers, dropout, bidirectional, batch_first, learn_state)
        self.proj_size = proj_size
        self.coupled = coupled


class GRU(Layered):
    """torch.nn.GRU. See `GRUCell` for `reset_after`, `Layered`, `OverTime`.

    >>> import minigrad as mg, nn
    >>> output, h = nn.GRU(3, 5, batch_first=True)(mg.randn(4, 7, 3))
    >>> output.shape, h.shape
    ((4, 7, 5), (1, 4, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, *, reset_after: bool = True, recurrent_dropout: float = 0.0,
        zoneout: float = 0.0, learn_state: bool = False, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        def make(width: int) -> GRUCell:
            return GRUCell(
                width, hidden_size, bias, reset_after=reset_after, recurrent_dropout=recurrent_dropout,
                zoneout=zoneout, device=device, dtype=dtype,
            )  # fmt: skip

        super().__init__(make, input_size, num_layers, dropout, bidirectional, batch_first, learn_state)
