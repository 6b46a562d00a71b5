"""The references of the recurrent tests: every cell as plain NumPy, one sequence and one step at a time, written from
its equations; its derivatives by complex steps; and small helpers to run our layers and collect all gradients.

A complex step, Im f(x + iε) / ε with ε = 1e-100, subtracts nothing, so it is exact to rounding (Squire & Trapp 1998).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
import nn
from minigrad import trees

Array = Any
Arrays = Mapping[str, Array]


# ---- equations ---------------------------------------------------------------------------------------------------


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def relu(z: Array) -> Array:
    return np.where(z.real > 0, z, 0)


def softmax(z: Array) -> Array:
    return np.exp(z) / np.exp(z).sum()


def layer_norm(p: Arrays, name: str, z: Array) -> Array:
    if f"{name}.weight" not in p:
        return z
    centred = z - z.mean()
    return centred / np.sqrt((centred**2).mean() + 1e-5) * p[f"{name}.weight"] + p.get(f"{name}.bias", 0)


def rnn(p: Arrays, x: Array, h: Array, f: Callable[[Array], Array] = np.tanh) -> Any:
    return (f(p["weight_ih"] @ x + p.get("bias_ih", 0) + p["weight_hh"] @ h + p.get("bias_hh", 0)),), ()


def lstm(p: Arrays, x: Array, h: Array, c: Array) -> Any:
    """All variants: which one it is is seen from the weights that there are."""
    H = len(c)
    coupled = len(p["weight_ih"]) == 3 * H
    from_x, from_h = layer_norm(p, "norm_ih", p["weight_ih"] @ x), layer_norm(p, "norm_hh", p["weight_hh"] @ h)
    a = from_x + p.get("bias_ih", 0) + from_h + p.get("bias_hh", 0)
    a_i, a_f, a_g, a_o = (None, *np.split(a, 3)) if coupled else np.split(a, 4)
    f = sigmoid(a_f + p.get("weight_cf", 0) * c)
    i = 1 - f if coupled else sigmoid(a_i + p.get("weight_ci", 0) * c)
    g = np.tanh(a_g)
    c = f * c + i * g
    o = sigmoid(a_o + p.get("weight_co", 0) * c)
    h = o * np.tanh(layer_norm(p, "norm_c", c))
    return (p["weight_hr"] @ h if "weight_hr" in p else h, c), (i, f, g, o)


def gru(p: Arrays, x: Array, h: Array, reset_after: bool = True) -> Any:
    W_ir, W_iz, W_in = np.split(p["weight_ih"], 3)
    W_hr, W_hz, W_hn = np.split(p["weight_hh"], 3)
    none = np.zeros(3 * len(h))
    b_ir, b_iz, b_in = np.split(p.get("bias_ih", none), 3)
    b_hr, b_hz, b_hn = np.split(p.get("bias_hh", none), 3)
    r = sigmoid(W_ir @ x + b_ir + W_hr @ h + b_hr)
    z = sigmoid(W_iz @ x + b_iz + W_hz @ h + b_hz)
    inner = r * (W_hn @ h + b_hn) if reset_after else W_hn @ (r * h) + b_hn
    n = np.tanh(W_in @ x + b_in + inner)
    return ((1 - z) * n + z * h,), (r, z, n)


def perceptron(p: Arrays, name: str, x: Array, f: Callable[[Array], Array]) -> Array:
    k = 0
    while f"{name}.{k}.weight" in p:
        x = p[f"{name}.{k}.weight"] @ (f(x) if k else x) + p[f"{name}.{k}.bias"]
        k += 1
    return x


def transition(p: Arrays, x: Array, s: Array, f: Callable[[Array], Array] = np.tanh) -> Any:
    s = f(perceptron(p, "input_map", x, f) + p["transition.0.weight"] @ s)
    k = 1
    while f"transition.{k}.weight" in p:
        s = f(p[f"transition.{k}.weight"] @ s + p[f"transition.{k}.bias"])
        k += 1
    return (s,), ()


# ---- every cell --------------------------------------------------------------------------------------------------


class Variant(NamedTuple):
    """A cell (from the width of its input), its step, and its output map if it has one."""

    make: Callable[[int], Any]
    step: Callable[..., Any]
    output: Callable[[Arrays, Array], Array] | None = None


def _variant(kind: Any, step: Any, output: Any = None, /, H: int = 4, **options: Any) -> Variant:
    return Variant(lambda D: kind(D, H, dtype=np.float64, **options), step, output)


VARIANTS = {
    "rnn": _variant(nn.RNNCell, rnn),
    "rnn relu": _variant(nn.RNNCell, lambda *a: rnn(*a, f=relu), nonlinearity="relu"),
    "rnn of a primitive": _variant(nn.RNNCell, lambda *a: rnn(*a, f=softmax), nonlinearity=mg.softmax),
    "rnn of a function": _variant(
        nn.RNNCell, lambda *a: rnn(*a, f=lambda z: np.sin(z) * z), nonlinearity=lambda z: np.sin(z) * z, bias=False
    ),
    "elman": _variant(nn.ElmanCell, rnn, lambda p, s: p["weight_out"] @ s + p["bias_out"], output_size=3),
    "elman no bias": _variant(
        nn.ElmanCell, lambda *a: rnn(*a, f=relu), lambda p, s: sigmoid(p["weight_out"] @ s),
        output_size=2, bias=False, nonlinearity="relu", output=mg.sigmoid,
    ),
    "lstm": _variant(nn.LSTMCell, lstm),
    "lstm no bias": _variant(nn.LSTMCell, lstm, bias=False),
    "lstm peephole": _variant(nn.LSTMCell, lstm, peephole=True),
    "lstm coupled": _variant(nn.LSTMCell, lstm, coupled=True),
    "lstm proj": _variant(nn.LSTMCell, lstm, proj_size=2),
    "lstm layer norm": _variant(nn.LSTMCell, lstm, layer_norm=True),
    "lstm peephole coupled": _variant(nn.LSTMCell, lstm, peephole=True, coupled=True),
    "lstm coupled layer norm no bias": _variant(nn.LSTMCell, lstm, coupled=True, layer_norm=True, bias=False),
    "lstm everything": _variant(nn.LSTMCell, lstm, peephole=True, coupled=True, proj_size=3, layer_norm=True),
    "gru": _variant(nn.GRUCell, gru),
    "gru no bias": _variant(nn.GRUCell, gru, bias=False),
    "gru reset before": _variant(nn.GRUCell, lambda *a: gru(*a, reset_after=False), reset_after=False),
    "gru reset before no bias": _variant(
        nn.GRUCell, lambda *a: gru(*a, reset_after=False), reset_after=False, bias=False
    ),
    "transition": _variant(nn.DeepTransitionCell, transition, lambda p, s: s),
    "transition deep": _variant(
        nn.DeepTransitionCell, lambda *a: transition(*a, f=sigmoid),
        lambda p, s: perceptron(p, "output_map", s, sigmoid),
        input_layers=2, transition_layers=3, output_layers=2, output_size=3, nonlinearity=mg.sigmoid,
    ),
}  # fmt: skip


class Ran(NamedTuple):
    """outputs (T, N, ·), final states (N, ·) each, and by name what each step showed (T, N, ·)."""

    outputs: Array
    final: tuple[Array, ...]
    shown: dict[str, Array]


def run(
    variant: Variant, cell: Any, p: Arrays, xs: Array, state: Sequence[Array], mask: Array | None = None,
    reverse: bool = False,
) -> Ran:  # fmt: skip
    """The loop over the real steps of each sequence by itself; zeros elsewhere."""
    T, N = xs.shape[:2]
    outputs: dict[tuple[int, int], Array] = {}
    shown: dict[tuple[int, int], list[Array]] = {}
    finals = []
    for n in range(N):
        s = tuple(each[n] for each in state)
        for t in reversed(range(T)) if reverse else range(T):
            if mask is None or mask[t, n]:
                s, gates = variant.step(p, xs[t, n], *s)
                outputs[t, n] = s[0] if variant.output is None else variant.output(p, s[0])
                shown[t, n] = [*s, *gates]
        finals.append(s)

    def batch(values: dict[tuple[int, int], Array]) -> Array:
        like = next(iter(values.values()))
        return np.array([[values.get((t, n), np.zeros_like(like)) for n in range(N)] for t in range(T)])

    names = [*cell.states, *cell.gates]
    every = {name: batch({place: v[k] for place, v in shown.items()}) for k, name in enumerate(names)}
    return Ran(batch(outputs), tuple(np.array([f[k] for f in finals]) for k in range(len(state))), every)


def derivatives(f: Callable[[dict[str, Array]], Any], point: Arrays) -> dict[str, Array]:
    """The gradient of a real function of arrays, by complex steps."""
    found = {}
    for name, array in point.items():
        found[name] = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            moved = array.astype(complex)
            moved[index] += 1e-100j
            found[name][index] = f({**point, name: moved}).imag / 1e-100
    return found


# ---- running ours ------------------------------------------------------------------------------------------------


def randomize(module: Any, rng: np.random.Generator, scale: float = 0.6) -> Any:
    """Every parameter random, none near zero."""
    for parameter in module.parameters():
        signs = rng.choice([-1.0, 1.0], parameter.shape)
        parameter.data[...] = scale * rng.uniform(0.3, 1.2, parameter.shape) * signs
    return module


def tensors(values: Any, requires_grad: bool = True) -> Any:
    """Nested arrays as leaves."""
    leaves, rebuild = trees.flatten(values)
    return rebuild([mg.tensor(v, requires_grad=requires_grad) for v in leaves])


def weights_for(values: Any, seed: int = 7) -> list[Array]:
    """Random numbers in the shapes of all tensors of a nested structure."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(np.shape(v)) for v in trees.flatten(values)[0]]


def total(values: Any, weights: Sequence[Array] | None = None) -> Any:
    """A random combination of all numbers in a nested structure: of Tensors or of arrays."""
    leaves = trees.flatten(values)[0]
    weights = weights_for(values) if weights is None else weights
    return sum((v * w).sum() for v, w in zip(leaves, weights, strict=True))


def gradients(loss: mg.Tensor, module: Any, **inputs: Any) -> dict[str, Array]:
    """∂loss by every parameter and every (nested) input, zeros where there is none; leaves no gradient behind."""
    leaves = {
        **(dict(module.named_parameters()) if isinstance(module, nn.Module) else {}),
        **{f"{name}[{k}]": t for name, value in inputs.items() for k, t in enumerate(trees.flatten(value)[0])},
    }
    loss.backward()
    found = {n: np.zeros(t.shape) if t.grad is None else t.grad.numpy() for n, t in leaves.items()}
    for t in leaves.values():
        t.grad = None
    return found


def near(found: Any, expected: Any, bound: float = 1e-12, what: str = "") -> None:
    """Assert that arrays (or dicts and sequences of them) are equal up to `bound` times the largest number."""
    if isinstance(expected, Mapping):
        assert list(found) == list(expected), what
        for name in expected:
            near(found[name], expected[name], bound, f"{what} {name}")
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected), what
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            near(a, b, bound, f"{what} [{k}]")
    else:
        a, b = (np.asarray(v.numpy() if isinstance(v, mg.Tensor) else v) for v in (found, expected))
        assert a.shape == b.shape, what
        limit = bound * max(np.abs(b).max(initial=0), 1e-3)
        np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=what)


@contextmanager
def parameters_replaced(module: Any, values: Mapping[str, mg.Tensor]) -> Iterator[None]:
    """Other tensors in the place of parameters: the module as a function of them."""
    places = [(m, a, getattr(m, a), values[name]) for name, m, a in module._places("parameters")]
    try:
        for m, attribute, _, value in places:
            object.__setattr__(m, attribute, value)
        yield
    finally:
        for m, attribute, before, _ in places:
            object.__setattr__(m, attribute, before)
