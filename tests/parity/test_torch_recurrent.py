"""RNN, LSTM and GRU, and their cells, against PyTorch: values and all gradients with random biases and states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import minigrad as mg
import nn

pytestmark = pytest.mark.parity

T, N, D, H = 5, 4, 3, 6
LENGTHS = [3, 5, 1, 4]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("RNN", {}),
    "rnn relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "lstm proj": ("LSTM", {"proj_size": 4}),
    "gru": ("GRU", {}),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Matrices this small are not worth sharing among threads, which wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def pair(name: str, *args: Any, seed: int = 0, dtype: Any = np.float64, **options: Any) -> tuple[Any, Any]:
    """The same module here and there (in float64), with random weights and non-zero biases."""
    theirs = getattr(torch.nn, name)(*args, **options).double()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in theirs.parameters():
            drawn = rng.uniform(-0.7, 0.7, tuple(parameter.shape)).astype(dtype)
            parameter.copy_(torch.tensor(drawn, dtype=torch.float64))
    ours = getattr(nn, name)(*args, dtype=dtype, **options)
    mine, others = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(others)
    assert [v.shape for v in mine.values()] == [tuple(v.shape) for v in others.values()]
    ours.load_state_dict({key: value.numpy() for key, value in others.items()})
    return ours, theirs


def both(array: Any, dtype: Any = np.float64) -> tuple[mg.Tensor, torch.Tensor]:
    """A leaf here and there; there in float64, of the numbers that are here."""
    rounded = np.asarray(array, dtype)
    return (
        mg.tensor(rounded, requires_grad=True),
        torch.tensor(rounded.astype(np.float64), requires_grad=True),
    )


def assert_near(ours: Any, theirs: torch.Tensor | None, bound: float, what: str) -> None:
    """Equal up to `bound` times the largest number."""
    found = None if ours is None else ours.numpy()
    expected = None if theirs is None else theirs.detach().numpy()
    if found is None or expected is None:  # no gradient is one of zeros
        rest = expected if found is None else found
        assert rest is None or not rest.any(), what
        return
    assert found.shape == expected.shape, what
    limit = bound * max(np.abs(expected).max(initial=0), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit, err_msg=what)


def compare(
    ours: Any, theirs: Any, xs: Any, state: list[Any], picks: Any, bound: float, dtype: Any = np.float64,
    lengths: Any = None, batch_first: bool = False,
) -> None:  # fmt: skip
    """Run both, compare all results, and the gradients of what `picks(output, *final)` chooses from them."""
    (mx, tx), states = both(xs, dtype), [both(s, dtype) for s in state]
    several = len(state) > 1
    mine, other = ([s[k] for s in states] for k in (0, 1))
    output, final = ours(mx, tuple(mine) if several else mine[0], **({} if lengths is None else {"lengths": lengths}))
    packed = tx
    if lengths is not None:
        packed = pack_padded_sequence(tx, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=False)
    expected, last = theirs(packed, tuple(other) if several else other[0])
    if lengths is not None:
        steps = xs.shape[1 if batch_first else 0]
        expected, _ = pad_packed_sequence(expected, batch_first=batch_first, total_length=steps)
    results = [output, *(final if several else [final])]
    wanted = [expected, *(last if several else [last])]
    for name, a, b in zip(("output", "h", "c"), results, wanted, strict=False):
        assert a.dtype == dtype
        assert_near(a, b, bound, name)

    rng = np.random.default_rng(1)
    mine_loss, other_loss = 0.0, 0.0
    for a, b in zip(picks(*results), picks(*wanted), strict=True):
        w = rng.standard_normal(tuple(a.shape)).astype(dtype)
        mine_loss = mine_loss + (a * w).sum()
        other_loss = other_loss + (b * torch.tensor(w, dtype=torch.float64)).sum()
    mine_loss.backward()
    other_loss.backward()
    assert_near(mx.grad, tx.grad, bound, "gradient of the input")
    for k, (a, b) in enumerate(states):
        assert_near(a.grad, b.grad, bound, f"gradient of state {k}")
    for (name, p), (other_name, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other_name
        assert_near(p.grad, q.grad, bound, f"gradient of {name}")


def drawn(layer: Any, rng: np.random.Generator, batch_first: bool = False, batched: bool = True) -> tuple[Any, Any]:
    """An input and a random initial state for one of PyTorch's layers."""
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [getattr(layer, "proj_size", 0) or layer.hidden_size]
    sizes += [layer.hidden_size] * (layer.mode == "LSTM")
    shape = ((N, T, D) if batch_first else (T, N, D)) if batched else (T, D)
    return rng.standard_normal(shape), [rng.standard_normal((rows, N, s) if batched else (rows, s)) for s in sizes]


def everything(*results: Any) -> Any:
    return results


# ---- layers ------------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["", "both ways"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["", "batch first"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layers(
    kind: Any, layers: int, bidirectional: bool, lengths: Any, batch_first: bool, dtype: Any, rng: Any
) -> None:
    name, options = kind
    options = {**options, "bidirectional": bidirectional, "batch_first": batch_first}
    ours, theirs = pair(name, D, H, layers, dtype=dtype, **options)
    xs, state = drawn(theirs, rng, batch_first)
    bound = 1e-12 if dtype == np.float64 else 4e-7 * T * layers
    compare(ours, theirs, xs, state, everything, bound, dtype, lengths, batch_first)


PARTS = {
    "only the output": lambda output, *_: [output],
    "only the final h": lambda _, h, *__: [h],
    "only the last state": lambda *results: [results[-1]],  # c of an LSTM
    "one layer's final h": lambda _, h, *__: [h[1]],
    "one step": lambda output, *_: [output[2]],
    "the last step": lambda output, *_: [output[-1]],
    "every other feature": lambda output, *_: [output[:, 1:3, ::2]],
    "a transposed slice and a state": lambda output, *final: [output[1:4].swapaxes(0, 2), final[-1][:, 1:]],
}


@every_kind
@pytest.mark.parametrize("picks", PARTS.values(), ids=PARTS.keys())
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_results_that_are_used_only_in_part(kind: Any, picks: Any, lengths: Any, rng: Any) -> None:
    name, options = kind
    ours, theirs = pair(name, D, H, 2, bidirectional=True, **options)
    xs, state = drawn(theirs, rng)
    compare(ours, theirs, xs, state, picks, 1e-12, lengths=lengths)


@every_kind
@pytest.mark.parametrize("bias", [True, False])
def test_no_state_and_no_biases(kind: Any, bias: bool, rng: Any) -> None:
    name, options = kind
    ours, theirs = pair(name, D, H, 2, bias=bias, bidirectional=True, **options)
    xs, _ = drawn(theirs, rng)
    (mx, tx) = both(xs)
    output, expected = ours(mx)[0], theirs(tx)[0]
    assert_near(output, expected, 1e-12, "output")
    w = rng.standard_normal(output.shape)
    (output * w).sum().backward()
    (expected * torch.tensor(w)).sum().backward()
    assert_near(mx.grad, tx.grad, 1e-12, "gradient of the input")
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_near(p.grad, q.grad, 1e-12, f"gradient of {key}")


@every_kind
@pytest.mark.parametrize("batch_first", [False, True])
def test_inputs_without_a_batch(kind: Any, batch_first: bool, rng: Any) -> None:
    name, options = kind
    ours, theirs = pair(name, D, H, 2, bidirectional=True, batch_first=batch_first, **options)
    xs, state = drawn(theirs, rng, batched=False)
    compare(ours, theirs, xs, state, everything, 1e-12)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_longer_and_wider(name: str, rng: Any) -> None:
    """Sixty steps, more sequences than distinct numbers of rows, and float32 as near as its steps allow."""
    ours, theirs = pair(name, 5, 9, dtype=np.float32)
    for parameter in ours.parameters():
        parameter.data[...] *= 0.5
    theirs.load_state_dict({key: torch.tensor(v.numpy()) for key, v in ours.state_dict().items()})
    xs = rng.standard_normal((60, 70, 5))
    state = [rng.standard_normal((1, 70, 9)) for _ in range(2 if name == "LSTM" else 1)]
    compare(ours, theirs, xs, state, everything, 4e-7 * 60, np.float32, [int(n) for n in rng.integers(1, 61, 70)])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_stream_carried_over_windows(name: str, layers: int, rng: Any) -> None:
    """State in, state out, gradients through both windows."""
    ours, theirs = pair(name, D, H, layers)
    xs, state = drawn(theirs, rng)
    (mx, tx), states = both(xs), [both(s) for s in state]
    results: list[Any] = []
    for module, x, k in ((ours, mx, 0), (theirs, tx, 1)):
        start = tuple(s[k] for s in states)
        first, carried = module(x[:2], start if len(start) > 1 else start[0])
        second, _ = module(x[2:], carried)
        results.append((first, second))
        ((first**2).sum() + (second**3).sum()).backward()
    for a, b in zip(*results, strict=True):
        assert_near(a, b, 1e-12, "outputs")
    assert_near(mx.grad, tx.grad, 1e-12, "gradient of the input")
    for a, b in states:
        assert_near(a.grad, b.grad, 1e-12, "gradient of a state")
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_near(p.grad, q.grad, 1e-12, f"gradient of {key}")


# ---- cells -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}), ("GRUCell", {})],
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_cells_through_three_steps(name: str, options: Any, bias: bool, batched: bool, dtype: Any, rng: Any) -> None:
    ours, theirs = pair(name, D, H, bias=bias, dtype=dtype, **options)
    shape = (N,) if batched else ()
    (mx, tx) = both(rng.standard_normal((3, *shape, D)), dtype)
    count = 2 if name == "LSTMCell" else 1
    states = [both(rng.standard_normal((*shape, H)), dtype) for _ in range(count)]
    w = rng.standard_normal((3, count, *shape, H)).astype(dtype)
    bound = 1e-12 if dtype == np.float64 else 4e-7 * 3
    results: list[Any] = []
    for module, x, k in ((ours, mx, 0), (theirs, tx, 1)):
        state: Any = tuple(s[k] for s in states) if count > 1 else states[0][k]
        seen, loss = [], 0.0
        for t in range(3):
            state = module(x[t], state)
            for j, s in enumerate(state if count > 1 else (state,)):
                seen.append(s)
                loss = loss + (s * (w[t, j] if k == 0 else torch.tensor(w[t, j], dtype=torch.float64))).sum()
        loss.backward()
        results.append(seen)
    for a, b in zip(*results, strict=True):
        assert a.dtype == dtype
        assert_near(a, b, bound, "states")
    assert_near(mx.grad, tx.grad, bound, "gradient of the input")
    for a, b in states:
        assert_near(a.grad, b.grad, bound, "gradient of a state")
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_near(p.grad, q.grad, bound, f"gradient of {key}")


def test_attributes_have_pytorchs_names() -> None:
    for name, options in KINDS.values():
        theirs = getattr(torch.nn, name)(D, H, 2, bidirectional=True, **options)
        ours = getattr(nn, name)(D, H, 2, bidirectional=True, **options)
        for attribute in ("input_size", "hidden_size", "num_layers", "bidirectional", "batch_first", "dropout"):
            assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
        assert ours.weight_hh_l1_reverse.shape == tuple(theirs.weight_hh_l1_reverse.shape)
        bound = H**-0.5
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert np.abs(p.numpy()).max() <= bound
            assert abs((p.numpy() ** 2).mean() - bound**2 / 3) < 5 * bound**2 * (4 / 45 / p.size) ** 0.5
            assert p.shape == tuple(q.shape)
