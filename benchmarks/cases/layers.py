"""The layers of `nn` compared with PyTorch's: forward and backward, to the input and all weights.

`torch.nn.LSTM`, `GRU` and `RNN` are the fused layers; "cell loop" is a Python loop over PyTorch's own cell. Ragged
batches are given to minigrad as lengths, and to PyTorch packed; "padded" is the same batch without lengths.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compare import WHOLE_CALL, Call, Case, Setup
from ..peers import normals, start_of, take_grads
from ..place import DEVICE, ours, theirs

SIZES = (
    (1, 50, 64, 64),
    (16, 50, 64, 64),
    (8, 100, 32, 32),
    (32, 50, 128, 128),
    (20, 20, 200, 200),
    (64, 50, 256, 256),
    (20, 35, 650, 650),
)  # N sequences, T steps, D inputs, H states
KINDS = {"LSTM": 4, "GRU": 3, "RNN": 1}  # and how many gates
RAGGED = (64, 100, 128, 128)


def weights(kind: str, D: int, H: int) -> dict[str, Any]:
    """The same small weights for every side, by PyTorch's names."""
    rows = KINDS[kind] * H
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return dict(zip(names, normals((rows, D), (rows, H), (rows,), (rows,), seed=2), strict=True))


def weights_of_cell(kind: str, D: int, H: int) -> dict[str, Any]:
    """The same, by the names in a cell."""
    return {name.removesuffix("_l0"): w for name, w in weights(kind, D, H).items()}


def on_minigrad(kind: str, N: int, T: int, D: int, H: int, lengths: Any = None, compiled: bool = False) -> Setup:
    """The layer of `nn`; if `compiled`, forward and backward are recorded once and replayed."""

    def setup() -> Call:
        import minigrad as mg
        import nn

        layer = getattr(nn, kind)(D, H, device=DEVICE)
        layer.load_state_dict(weights(kind, D, H))
        xs = ours(normals((T, N, D))[0], requires_grad=True)
        start = ours(start_of((T, N, H)))

        def whole(xs: Any, start: Any) -> None:
            layer(xs, lengths=lengths)[0].backward(start)

        run = mg.compile(whole) if compiled else whole

        def call() -> list[Any]:
            run(xs, start)
            return take_grads([xs, *layer.parameters()])

        if compiled:
            call.held = lambda: run.nbytes  # type: ignore[attr-defined]
        return call

    return setup


def on_torch(kind: str, N: int, T: int, D: int, H: int, lengths: Any = None) -> Setup:
    """PyTorch's fused layer."""

    def setup() -> Call:
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

        layer = getattr(torch.nn, kind)(D, H, device=DEVICE)
        layer.load_state_dict({name: theirs(w) for name, w in weights(kind, D, H).items()})
        xs = theirs(normals((T, N, D))[0], requires_grad=True)
        start = theirs(start_of((T, N, H)))

        def call() -> list[Any]:
            if lengths is None:
                output = layer(xs)[0]
            else:
                packed = layer(pack_padded_sequence(xs, torch.tensor(lengths), enforce_sorted=False))[0]
                output = pad_packed_sequence(packed, total_length=T)[0]
            output.backward(start)
            return take_grads([xs, *layer.parameters()])

        return call

    return setup


def on_torch_cell(kind: str, N: int, T: int, D: int, H: int) -> Setup:
    """A loop over PyTorch's cell."""

    def setup() -> Call:
        import torch

        cell = getattr(torch.nn, kind + "Cell")(D, H, device=DEVICE)
        cell.load_state_dict({name: theirs(w) for name, w in weights_of_cell(kind, D, H).items()})
        xs = theirs(normals((T, N, D))[0], requires_grad=True)
        start = theirs(start_of((T, N, H)))

        def call() -> list[Any]:
            state, outputs = None, []
            for x in xs.unbind():
                state = cell(x, state)
                outputs.append(state[0] if kind == "LSTM" else state)
            torch.stack(outputs).backward(start)
            return take_grads([xs, *cell.parameters()])

        return call

    return setup


def sides(kind: str, size: tuple[int, int, int, int]) -> dict[str, Setup]:
    return {
        "minigrad": on_minigrad(kind, *size),
        "minigrad, compiled": on_minigrad(kind, *size, compiled=True),
        f"torch.nn.{kind}": on_torch(kind, *size),
        "torch, cell loop": on_torch_cell(kind, *size),
    }


def ragged() -> list[Case]:
    """Random lengths between 1 and T, one of them T; and the same batch without lengths."""
    N, T, _, _ = RAGGED
    lengths = np.random.default_rng(0).integers(1, T + 1, N)
    lengths[0] = T
    return [
        Case(f"layers: LSTM, random lengths, N T D H = {RAGGED}", {
            "minigrad": on_minigrad("LSTM", *RAGGED, lengths=lengths.tolist()),
            "minigrad, compiled": on_minigrad("LSTM", *RAGGED, lengths=lengths.tolist(), compiled=True),
            "torch, packed": on_torch("LSTM", *RAGGED, lengths=lengths.tolist()),
        }),
        Case(f"layers: LSTM, padded, N T D H = {RAGGED}", {
            "minigrad": on_minigrad("LSTM", *RAGGED),
            "minigrad, compiled": on_minigrad("LSTM", *RAGGED, compiled=True),
            "torch": on_torch("LSTM", *RAGGED),
        }),
    ]  # fmt: skip


STREAM = (64, 256)  # inputs and states of a step, batch 1, no gradient


def stream_on_minigrad(H: int, compiled: bool) -> Setup:
    def setup() -> Call:
        import minigrad as mg
        import nn

        cell = nn.LSTMCell(H, H, device=DEVICE)
        cell.load_state_dict(weights_of_cell("LSTM", H, H))
        zeros = np.zeros((1, H), np.float32)
        x, state = ours(normals((1, H))[0]), (ours(zeros), ours(zeros))

        @mg.no_grad
        def step(x: Any, state: Any) -> Any:
            return cell(x, state)

        run = mg.compile(step) if compiled else step
        for _ in range(3):
            run(x, state)

        def call() -> list[Any]:
            s = state
            for _ in range(100):
                s = run(x, s)
            return list(s)

        return call

    return setup


def stream_on_torch(H: int) -> Setup:
    def setup() -> Call:
        import torch

        cell = torch.nn.LSTMCell(H, H, device=DEVICE)
        cell.load_state_dict({name: theirs(w) for name, w in weights_of_cell("LSTM", H, H).items()})
        zeros = np.zeros((1, H), np.float32)
        x, state = theirs(normals((1, H))[0]), (theirs(zeros), theirs(zeros))

        def call() -> list[Any]:
            s = state
            with torch.no_grad():
                for _ in range(100):
                    s = cell(x, s)
            return list(s)

        return call

    return setup


def stream(H: int) -> Case:
    """Single steps of an LSTM cell, one after the other."""
    sides = {
        "minigrad, compiled": stream_on_minigrad(H, True),
        "minigrad": stream_on_minigrad(H, False),
        "torch.nn.LSTMCell": stream_on_torch(H),
    }
    return Case(f"layers: LSTM, one step of a stream, H = {H}", sides, per=100, unit="step")


CASES = [
    *[stream(H) for H in STREAM],
    *[
        Case(f"layers: {kind}, N T D H = {size}", sides(kind, size), memory=WHOLE_CALL)
        for kind in KINDS
        for size in SIZES
        if (kind, size[3]) != ("RNN", 650)  # chaotic with these weights: float32's rounding grows to 1 % in 35 steps
    ],
    *ragged(),
]
