"""The four ways to map sequences, as small functions over any layer or cell.

one_to_many     a vector to a sequence: a picture to its caption
many_to_one     a sequence to a vector: a review to its rating
many_to_many    a sequence to one of the same length: words to their tags
encode_decode   a sequence to one of another length: a sentence to its translation
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg

from ..layers.dropout import undropped

Function = Callable[[Any], Any]


def many_to_one(layer: Any, xs: Any, head: Function | None = None, *, lengths: Any = None, mask: Any = None) -> Any:
    """head(last state): (T, N, D) to (N, ...).

    The last state is that of the top layer after each sequence's last real step; a bidirectional layer joins both
    directions, (N, 2H). Without a head, the result is the state itself.
    """
    _, state = layer(xs, lengths=lengths, mask=mask)
    last = last_state(layer, state)
    return last if head is None else head(last)


def last_state(layer: Any, state: Any) -> Any:
    """The h of the top layer, (N, H), or (N, 2H) of two directions, in a state returned by a layer over time."""
    layer = undropped(layer)
    if getattr(layer, "num_layers", None) is not None:  # RNN, LSTM, GRU: (layers · directions, N, H)
        h = state[0] if isinstance(state, tuple) else state
        return np.concatenate([h[-2], h[-1]], axis=-1) if layer.bidirectional else h[-1]
    if hasattr(layer, "forward_layer"):
        pair = (layer.forward_layer, layer.backward_layer)
        return np.concatenate([last_state(one, s) for one, s in zip(pair, state, strict=True)], axis=-1)
    if hasattr(layer, "cell"):
        return state[0] if isinstance(state, tuple) else state
    return last_state([one for one in layer if hasattr(one, "run")][-1], state[-1])


def many_to_many(layer: Any, xs: Any, head: Function | None = None, *, lengths: Any = None, mask: Any = None) -> Any:
    """head(state) at each step: (T, N, D) to (T, N, ...)."""
    outputs, _ = layer(xs, lengths=lengths, mask=mask)
    return outputs if head is None else head(outputs)


def one_to_many(
    cell: Any, x: Any, steps: int, head: Function, feed: Function, state: Any = None
) -> Any:  # fmt: skip
    """A sequence (steps, N, ...) that starts from one input x (N, D); each prediction is the next input.

    cell   called as state = cell(x, state)
    head   from h (N, H) to a prediction (N, ...)
    feed   from a prediction to the next input (N, D), such as the embedding of the likeliest word
    """
    if steps < 1:
        raise ValueError(f"one_to_many: steps must be positive, got {steps}")
    predictions = []
    for _ in mg.steps(range(steps)):
        state = cell(x, state)
        predictions.append(head(state[0] if isinstance(state, tuple) else state))
        x = feed(predictions[-1])
    return np.stack(predictions)


def encode_decode(
    encoder: Any, decoder: Any, xs: Any, ys: Any, head: Function | None = None, *, lengths: Any = None,
    bridge: Function = lambda state: state,
) -> Any:  # fmt: skip
    """Read a sequence xs (T, N, D) with one layer, and write a sequence (T', N, ...) with another from its final state.

    ys      (T', N, D'): the decoder's input, usually the target shifted by one step (teacher forcing)
    bridge  from the encoder's final state to the decoder's initial state; they must agree in layers and widths
    """
    _, state = encoder(xs, lengths=lengths)
    outputs, _ = decoder(ys, bridge(state))
    return outputs if head is None else head(outputs)
