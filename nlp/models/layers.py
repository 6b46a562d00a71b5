"""The recurrent part of a model from a few options: cell, number of layers, kinds of dropout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
import nn
from minigrad import trees
from nn.layers.dropout import undropped

Cell = str | Callable[[int, int], Any]
LAYERS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}  # parts of each weight
CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


def make_cell(cell: Cell, input_size: int, hidden_size: int, **options: Any) -> Any:
    """A cell by its name, "lstm", "gru" or "rnn"; or the result of a function (input_size, hidden_size).

    options  arguments of the named cells; a function's cell has its own
    """
    if not isinstance(cell, str):
        return cell(input_size, hidden_size)
    return CELLS[checked_cell(cell)](input_size, hidden_size, **options)


def checked_cell(cell: str) -> str:
    """The name itself; ValueError if there is no such cell."""
    if cell not in CELLS:
        raise ValueError(f"cell must be {', '.join(CELLS)}, or a function (input_size, hidden_size), not {cell!r}")
    return cell


def vectors_of(embedding: Any, ids: Any, dropout: Any) -> Any:
    """The vectors of ids (T, N) after dropout, as the input of a layer; without dropout, each different one is mapped
    once (see `nn.Embedding.lookup`)."""
    active = dropout.training and dropout.p > 0
    if active or type(embedding) is not nn.Embedding:
        return dropout(embedding(ids))
    return embedding.lookup(ids)


def make_layers(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, *, dropout: float = 0.0,
    bidirectional: bool = False, variational: bool = False, recurrent_dropout: float = 0.0, weight_drop: float = 0.0,
    device: str = "cpu", dtype: Any = None,
) -> Any:  # fmt: skip
    """Layers over time: those of `nn`, with PyTorch's names, or `nn.Stacked` for other cells and variational dropout.

    dropout            between the layers; `variational`: one mask for all steps of a call
    recurrent_dropout  of the recurrent input, one mask for all steps (not for a function's cells)
    weight_drop        of the recurrent weights (`nn.WeightDrop`)
    """
    made = {"device": device, "dtype": dtype}
    if recurrent_dropout and not isinstance(cell, str):
        raise ValueError("recurrent_dropout is for the cells lstm, gru and rnn; a function's cell has its own")
    if isinstance(cell, str) and not (variational and dropout and num_layers > 1):
        layers = LAYERS[checked_cell(cell)](
            input_size, hidden_size, num_layers, dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional, recurrent_dropout=recurrent_dropout, **made,
        )  # fmt: skip
    else:
        options = {"recurrent_dropout": recurrent_dropout, **made}
        parts: list[Any] = []
        for k in range(num_layers):
            if k and variational and dropout:
                parts.append(nn.VariationalDropout(dropout))
            width = hidden_size * (1 + bidirectional) if k else input_size
            cells = [make_cell(cell, width, hidden_size, **options) for _ in range(1 + bidirectional)]
            parts.append(nn.Bidirectional(*cells) if bidirectional else nn.Recurrent(cells[0]))
        layers = nn.Stacked(parts, dropout=0.0 if variational else dropout)
    if not weight_drop:
        return layers
    names = [name for name, _ in layers.named_parameters() if name.rpartition(".")[2].startswith("weight_hh")]
    return nn.WeightDrop(layers, names, weight_drop)


class Layers(NamedTuple):
    """Arguments of `make_layers`, or of a list of cells, that determine the shapes of the weights under a name."""

    name: str
    cell: Any
    input_size: int
    hidden_size: int
    num_layers: int
    directions: int = 1

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ValueError unless the tensors of a file have these shapes. For a function's cells only their number is
        known; it cannot exceed that of the tensors."""
        mine = {name: shape for name, shape in shapes.items() if name.startswith(f"{self.name}.")}
        H, n = self.hidden_size, self.num_layers
        if not isinstance(self.cell, str):
            if n > len(mine):
                raise ValueError(f"{self.name} would be {n} layers, and the file has {len(mine)} tensors of them")
            return
        rows = GATES[checked_cell(self.cell)] * H
        claimed = Counter({("weight_hh", (rows, H)): n * self.directions})
        claimed[("weight_ih", (rows, self.input_size))] += self.directions
        claimed[("weight_ih", (rows, H * self.directions))] += (n - 1) * self.directions
        kinds = ((name.rpartition(".")[2][:9], shape) for name, shape in mine.items())
        found = Counter((kind, shape) for kind, shape in kinds if kind in ("weight_hh", "weight_ih"))
        if +claimed != found:
            raise ValueError(f"{self.name} would have the weights {dict(+claimed)}, and the file has {dict(found)}")


Claim = tuple[str, tuple[int | None, ...]] | Layers  # a tensor's shape, None for any size; or the shapes of layers


def tie(title: str, out: nn.Linear, embedding: Any) -> None:
    """Let an output map share the weight of a new embedding. Raises ValueError if their shapes differ."""
    if not isinstance(embedding, nn.Embedding) or embedding.weight.shape != out.weight.shape:
        what = f"{embedding.weight.shape}" if isinstance(embedding, nn.Embedding) else type(embedding).__name__
        raise ValueError(
            f"{title}: the output map is tied to the embedding, so a new one must be an nn.Embedding of the shape "
            f"{out.weight.shape}, not {what}; a model with tied=False or None takes any"
        )
    out.weight = embedding.weight


def states_of(layers: Any, state: Any) -> list[list[tuple[Any, ...]]]:
    """The final states of layers over time: for each layer, for each direction, its tensors (N, ·)."""
    layers = undropped(layers)
    if hasattr(layers, "num_layers"):  # from `nn`: tensors (layers · directions, N, ·)
        tensors = [mg.unstack(s) for s in (state if isinstance(state, tuple) else (state,))]
        each = list(zip(*tensors, strict=True))
        directions = 1 + layers.bidirectional
        return [each[k : k + directions] for k in range(0, len(each), directions)]
    recurrent = [layer for layer in layers if isinstance(layer, nn.OverTime)]
    found = []
    for layer, s in zip(recurrent, state, strict=True):
        pair = s if isinstance(layer, nn.Bidirectional) else (s,)
        found.append([one if isinstance(one, tuple) else (one,) for one in pair])
    return found


def rows_first(layers: Any, state: Any) -> Any:
    """A layer's state with the batch as its first axis, and from such a state the layer's: the same swap of axes."""
    axis = getattr(undropped(layers), "batch_axis", 0)
    if not axis:
        return state
    leaves, rebuild = trees.flatten(state)
    return rebuild([np.swapaxes(s, 0, axis) for s in leaves])
