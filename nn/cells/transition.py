"""A cell with deep maps (Pascanu, Gulcehre, Cho & Bengio 2014)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.primitives import Primitive

from ..containers import ModuleList
from ..layers.linear import Linear
from .cell import Cell, State, each_row
from .elman import NONLINEARITIES, activated_sum


class DeepTransitionCell(Cell):
    """A vanilla cell with a multi-layer perceptron in its input, state and output maps.

        u = W_k f(… f(W_1 x + b_1)) + b_k               input map, hoisted out of the loop
        s' = f(V_m … f(V_2 f(u + V_1 s) + a_2) + a_m)   transition
        y = U_j f(… f(U_1 s' + d_1)) + d_j              output map, if any

    input_layers, transition_layers, output_layers   numbers of layers: k, m ≥ 1 and j ≥ 0
    output_size   width of y; hidden_size if None
    """

    states = ("s",)

    def __init__(
        self, input_size: int, hidden_size: int, *, input_layers: int = 1, transition_layers: int = 2,
        output_layers: int = 0, output_size: int | None = None, nonlinearity: str | Callable[..., Any] = "tanh",
        recurrent_dropout: float = 0.0, zoneout: float | Sequence[float] = 0.0, device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, (hidden_size,), recurrent_dropout, zoneout)
        if input_layers < 1 or transition_layers < 1 or output_layers < 0:
            raise ValueError(
                "DeepTransitionCell: input_layers and transition_layers must be at least 1 and output_layers 0, got "
                f"{input_layers}, {transition_layers} and {output_layers}"
            )
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        H = hidden_size
        self.nonlinearity = nonlinearity
        self._activated = activated_sum(nonlinearity, "DeepTransitionCell")
        self._function: Any = NONLINEARITIES[nonlinearity] if isinstance(nonlinearity, str) else nonlinearity
        self.input_map = ModuleList([Linear(H if k else input_size, H, **made) for k in range(input_layers)])
        self.transition = ModuleList([Linear(H, H, bias=bool(k), **made) for k in range(transition_layers)])
        sizes = [H] * output_layers + [output_size or H]
        self.output_map = ModuleList([Linear(m, n, **made) for m, n in pairwise(sizes)])
        self.output_size = output_size or H if output_layers else H

    @property
    def rolled(self) -> bool | None:
        """See `RNNCell.rolled`."""
        return isinstance(self.nonlinearity, str | np.ufunc | Primitive)

    @each_row
    def inputs(self, xs: Any) -> Any:
        """u for all steps."""
        return self._deep(self.input_map, xs)

    def update(self, x: mg.Tensor, state: State, recurrent: mg.Tensor) -> State:
        """x (N, H), s (N, H) to the next s."""
        first, *rest = self.transition
        s = self._activated(x, mg.linear(recurrent, first.weight))
        for layer in rest:
            s = self._activated(mg.linear(s, layer.weight), layer.bias)
        return (s,)

    def output(self, s: mg.Tensor) -> mg.Tensor:
        """y from s, (..., H) to (..., output_size); s itself without an output map."""
        return self._deep(self.output_map, s)  # type: ignore[no-any-return]

    def _deep(self, layers: Any, x: Any) -> Any:
        """The layers one after the other, with the nonlinearity between them."""
        for k, layer in enumerate(layers):
            x = layer(self._function(x) if k else x)
        return x
