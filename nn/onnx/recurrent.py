"""Modules with an ONNX operator of their own: RNN, LSTM and GRU, deep and in both directions; convolution and pooling.

ONNX orders the gates differently: i, o, f, c of an LSTM for our i, f, g, o, and z, r, h of a GRU for our r, z, n.
Its operators take T steps (T, N, D) in one direction, and return (T, 1, N, H) and the last state (1, N, H).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import trees

from ..cells import GRUCell, LSTMCell, RNNCell
from ..layers.activations import Identity
from ..layers.convolution import Conv1d, MaxPool1d
from ..layers.dropout import Dropout, VariationalDropout
from ..modules import Module
from ..sequences.recurrent import OverTime, Recurrent
from ..sequences.rnn import Layered
from ..sequences.stacking import Bidirectional, Stacked
from .values import OnnxGraph

Pair = tuple[Any, Any]


# ---- supported modules -------------------------------------------------------------------------------------------


def foreign(layer: Any) -> str | None:
    """The part of a layer over time that ONNX's loops lack; None if there is none."""
    for module in layer.modules():
        if isinstance(module, Recurrent) and not _known(module.cell):
            return f"the cell {type(module.cell).__name__}"
        for part in module._modules if isinstance(module, Stacked) else ():
            if not isinstance(part, (OverTime, *INERT)):
                return f"{type(part).__name__} between its layers"
    return None


INERT = (Dropout, VariationalDropout, Identity)  # no effect in evaluation mode


def _known(cell: Any) -> bool:
    if type(cell) not in (RNNCell, LSTMCell, GRUCell) or cell._zones:
        return False
    if type(cell) is RNNCell:
        return cell.nonlinearity in ("tanh", "relu")
    return not (type(cell) is LSTMCell and (cell.coupled or cell.proj_size or cell.norm_c is not None))


def is_whole(module: Module) -> bool:
    """True for a module that becomes one operator."""
    if isinstance(module, OverTime):
        return foreign(module) is None
    return isinstance(module, MaxPool1d) or (isinstance(module, Conv1d) and module.padding_mode == "zeros")


def convert(g: OnnxGraph, module: Any, operands: Pair) -> list[str]:
    """The values of a module's outputs, in order; `operands` are ((args, kwargs), those of the other run)."""
    (args, kwargs), (others, other_kwargs) = operands
    given = dict(zip(_PARAMETERS, zip(args, others, strict=True), strict=False))
    given |= {name: (value, other_kwargs[name]) for name, value in kwargs.items()}
    given = {name: pair for name, pair in given.items() if pair[0] is not None}
    x = given.pop("xs", None) or given.pop("x")
    if isinstance(module, OverTime):
        return _over_time(g, module, x, given)
    if "lengths" in given or len(np.shape(x[0])) != 3:
        raise g.refused(f"{type(module).__name__} has no counterpart with lengths=, or without a batch")
    if getattr(module, "return_indices", False):
        raise g.refused("MaxPool1d has no counterpart with return_indices=True: ONNX counts through the whole batch")
    return [_pooled(g, module, x) if isinstance(module, MaxPool1d) else _convolved(g, module, x)]


_PARAMETERS = ("xs", "state")


# ---- layers over time --------------------------------------------------------------------------------------------


def _over_time(g: OnnxGraph, layer: Any, x: Pair, given: dict[str, Pair]) -> list[str]:
    for name in ("mask", "return_states"):
        if name in given and given[name][0] is not False:
            raise g.refused(f"{type(layer).__name__} has no counterpart with {name}=; lengths= has one")
    if len(np.shape(x[0])) != 3:
        raise g.refused(f"{type(layer).__name__}: give a batch, (T, N, D) or (N, T, D)")
    name = g.value(*x)
    if layer.batch_first:
        name = g.node("Transpose", [name], perm=[1, 0, 2])
    lengths = g.value(*_arrays(given["lengths"]), np.int32) if "lengths" in given else ""
    state = _nested(g, *given["state"]) if "state" in given else None
    y, final = _run(g, layer, name, state, lengths)
    if layer.batch_first:
        y = g.node("Transpose", [y], perm=[1, 0, 2])
    return [y, *trees.flatten(final)[0]]


def _arrays(pair: Pair) -> Pair:
    return tuple(v.data if isinstance(v, mg.Tensor) else np.asarray(v) for v in pair)  # type: ignore[return-value]


def _nested(g: OnnxGraph, first: Any, second: Any) -> Any:
    """A nested state as names."""
    leaves, rebuild = trees.flatten(first)
    return rebuild([g.value(*_arrays(pair)) for pair in zip(leaves, trees.flatten(second)[0], strict=True)])


def _run(g: OnnxGraph, layer: Any, x: str, state: Any, lengths: str) -> tuple[str, Any]:
    """Outputs (T, N, ·) and the last state, in the layer's nested form."""
    if isinstance(layer, Layered):
        y, final = _run(g, layer.layers, x, _parted(g, layer, state), lengths)
        return y, _joined(g, layer, final)
    if isinstance(layer, Stacked):
        finals = []
        for k, part in enumerate(part for part in layer._modules if isinstance(part, OverTime)):
            y, final = _run(g, part, x, None if state is None else state[k], lengths)
            finals.append(final)
            same = part.input_size == _width(part)
            x = g.node("Add", [y, x]) if layer.residual and same else y
        return x, tuple(finals)
    if isinstance(layer, Bidirectional):
        parts = [
            _run(g, part, x, None if state is None else state[k], lengths)
            for k, part in enumerate((layer.forward_layer, layer.backward_layer))
        ]
        return g.node("Concat", [y for y, _ in parts], axis=2), tuple(final for _, final in parts)
    return _recurrent(g, layer, x, state, lengths)


def _width(layer: Any) -> int:
    if isinstance(layer, Bidirectional):
        return _width(layer.forward_layer) + _width(layer.backward_layer)
    if isinstance(layer, Stacked):
        return _width([part for part in layer._modules if isinstance(part, OverTime)][-1])
    return int(layer.cell.sizes[0])


def _parted(g: OnnxGraph, layer: Any, state: Any) -> Any:
    """A state for each layer and direction, from tensors (layers · directions, N, ·)."""
    if state is None:
        return None
    tensors = state if isinstance(state, tuple | list) else (state,)
    count = layer.num_layers * (1 + layer.bidirectional)
    each = [tuple(g.node("Gather", [s, g.constant(k, np.int64)], axis=0) for s in tensors) for k in range(count)]
    return tuple(zip(each[::2], each[1::2], strict=True)) if layer.bidirectional else tuple(each)


def _joined(g: OnnxGraph, layer: Any, state: Any) -> Any:
    """Tensors (layers · directions, N, ·) from a state for each layer and direction."""
    each = [s for one in state for s in one] if layer.bidirectional else list(state)
    parts = list(zip(*[s if isinstance(s, tuple) else (s,) for s in each], strict=True))
    joined = tuple(g.node("Concat", [g.node("Unsqueeze", [s, g.integers(0)]) for s in part], axis=0) for part in parts)
    return joined[0] if len(joined) == 1 else joined


def _recurrent(g: OnnxGraph, layer: Recurrent, x: str, state: Any, lengths: str) -> tuple[str, Any]:
    """One direction of one layer, as one node."""
    cell: Any = layer.cell
    kind, order = {RNNCell: ("RNN", (0,)), GRUCell: ("GRU", (1, 0, 2)), LSTMCell: ("LSTM", (0, 3, 1, 2))}[type(cell)]
    weights = [g.constant(_ordered(w.numpy(), order)[None]) for w in (cell.weight_ih, cell.weight_hh)]  # (1, G·H, ·)
    bias = "" if cell.bias_ih is None else g.constant(
        np.concatenate([_ordered(b.numpy(), order) for b in (cell.bias_ih, cell.bias_hh)])[None])  # fmt: skip
    if state is None and layer._learned:
        state = tuple(_spread(g, getattr(layer, learned), x) for learned in layer._learned)
    state = state if state is None or isinstance(state, tuple | list) else (state,)
    before = ["", ""] if state is None else [g.node("Unsqueeze", [s, g.integers(0)]) for s in state]
    inputs = [x, *weights, bias, lengths, *before[: len(cell.sizes)]]
    if kind == "LSTM" and cell.peephole:
        peepholes = [p.numpy() for p in (cell.weight_ci, cell.weight_co, cell.weight_cf)]
        inputs.append(g.constant(np.concatenate(peepholes)[None]))
    options: dict[str, Any] = {"hidden_size": cell.hidden_size, "direction": "reverse" if layer.reverse else "forward"}
    if kind == "RNN":
        options["activations"] = [{"tanh": "Tanh", "relu": "Relu"}[cell.nonlinearity]]
    elif kind == "GRU":
        options["linear_before_reset"] = int(cell.reset_after)
    while not inputs[-1]:
        inputs.pop()
    y, *final = g.node(kind, inputs, 1 + len(cell.sizes), **options)
    final = [g.node("Squeeze", [s, g.integers(0)]) for s in final]
    return g.node("Squeeze", [y, g.integers(1)]), tuple(final) if len(final) > 1 else final[0]


def _ordered(weight: Any, order: tuple[int, ...]) -> Any:
    """The gates' blocks of rows in another order."""
    blocks = np.split(weight, len(order))
    return np.concatenate([blocks[k] for k in order])


def _spread(g: OnnxGraph, learned: mg.Tensor, x: str) -> str:
    """A learned state (H,) for each sequence of x (T, N, D)."""
    batch = g.node("Shape", [x], start=1, end=2)
    shape = g.node("Concat", [batch, g.integers(*learned.shape)], axis=0)
    return g.node("Expand", [g.value(learned.data, learned.data), shape])  # type: ignore[no-any-return]


# ---- windows -----------------------------------------------------------------------------------------------------


def _convolved(g: OnnxGraph, layer: Conv1d, x: Pair) -> str:
    weights = [g.value(p.data, p.data) for p in (layer.weight, layer.bias) if p is not None]
    return g.node(  # type: ignore[no-any-return]
        "Conv", [g.value(*x), *weights], kernel_shape=[layer.kernel_size], strides=[layer.stride],
        pads=list(layer._ends()), dilations=[layer.dilation], group=layer.groups,
    )  # fmt: skip


def _pooled(g: OnnxGraph, layer: MaxPool1d, x: Pair) -> str:
    return g.node(  # type: ignore[no-any-return]
        "MaxPool", [g.value(*x)], kernel_shape=[layer.kernel_size], strides=[layer.stride], pads=list(layer._ends()),
        dilations=[layer.dilation], ceil_mode=int(layer.ceil_mode),
    )  # fmt: skip
