"""Gradient flow in four networks that differ in the map from one state to the next.

    python examples/vanishing_gradients.py [--length 60] [--hidden 32] [--seed 0] [--out out/vanishing]

The networks are untrained and get the same small random inputs: tanh networks with a small and with a large W_s, a ReLU
network with an orthogonal one, and an LSTM whose forget gate begins open. `nn.diagnose` reads everything from the tape;
the networks are plain layers of `nn`. The program prints one verdict a line. `--out` receives

    flow.png      ‖∂L/∂s_t‖ for a loss at the last step: the gradient that arrives at each earlier state
    terms.png     the terms of back-propagation through time, ∂L/∂W_s = Σ_t Σ_k, for a loss at every step
    lyapunov.png  all Lyapunov exponents: how fast a change of the state grows or shrinks, in every direction
    graph.svg     the four networks over eight steps, each value coloured by the norm of the gradient that reaches it

A tanh network vanishes where its W_s is small (Hochreiter 1991; Bengio, Simard & Frasconi 1994) and explodes where it
is large, as long as its states stay small. An LSTM carries the gradient in its memory (Hochreiter & Schmidhuber 1997).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import minigrad as mg
import nn

Layers = dict[str, Any]
COLORS = ("#4477AA", "#BB5566", "#CC9922", "#228833")  # P. Tol's, which colour-blind readers can distinguish
STYLE: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8E8E8",
    "axes.titlesize": 10,
    "font.size": 10,
}


# ---- the networks ------------------------------------------------------------------------------------------------


def make_layers(inputs: int, hidden: int) -> Layers:
    """The networks by name, in float64, so that 60 steps of vanishing are still above the rounding."""
    made: dict[str, Any] = {"dtype": np.float64}
    layers: Layers = {}
    for name, size, nonlinearity in (
        ("tanh, W_s of size 0.6", 0.6, "tanh"),
        ("tanh, W_s of size 1.5", 1.5, "tanh"),
        ("ReLU, W_s of size 1", 1.0, "relu"),
    ):
        layer = nn.RNN(inputs, hidden, nonlinearity=nonlinearity, bias=False, **made)
        nn.init.orthogonal_(layer.weight_hh_l0, gain=size)  # every singular value is `size`
        layers[name] = layer
    lstm = nn.LSTM(inputs, hidden, **made)
    nn.init.forget_gate_bias_(lstm, 4.0)  # σ(4) = 0.98
    layers["LSTM, forget gate open"] = lstm
    return layers


# ---- the diagnoses -----------------------------------------------------------------------------------------------


def diagnose(layer: Any, xs: mg.Tensor) -> tuple[Any, Any, Any]:
    """The flow to the states, the terms of W_s by loss and use step, and the Jacobians."""
    outputs, _, states = layer(xs, return_states=True)
    carried = states.c if hasattr(states, "c") else states.h  # the memory is the carried state of an LSTM
    flow = nn.diagnose.gradient_flow((outputs[-1] ** 2).sum(), carried)
    terms = nn.diagnose.bptt_terms((outputs**2).sum(), layer.weight_hh_l0, by="loss")
    return flow, terms, nn.diagnose.state_jacobians(layer, xs)


# ---- the pictures ------------------------------------------------------------------------------------------------


def _written(name: str) -> str:
    """A network's name with its subscripts, for a plot."""
    return name.replace("W_s", "$W_s$")


def draw_flow(flows: dict[str, Any], path: Path) -> None:
    """One curve a network; on a logarithmic axis an exponential is a straight line."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    ax = figure.subplots()
    for (name, flow), color in zip(flows.items(), COLORS, strict=True):
        size = flow.norms / flow.norms[np.flatnonzero(flow.norms)[-1]]
        ax.plot(np.where(size > 0, size, np.nan), color=color, label=_written(name))
    ax.axhline(1, color="#9A9A9A", linewidth=0.8)
    ax.set_yscale("log")
    ax.set_title("The gradient at each state, of a loss at the last step")
    ax.set(xlabel="step t", ylabel="‖∂L/∂$s_t$‖, in units of the last")
    ax.legend(frameon=False)
    figure.savefig(path, dpi=160)


def draw_terms(terms: dict[str, Any], path: Path) -> None:
    """One map a network: the loss of step t over the use in step k, each in units of its largest term."""
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    axes = figure.subplots(1, len(terms), sharey=True)
    for ax, (name, each) in zip(axes, terms.items(), strict=True):
        norms = each.norms / each.norms.max()
        shown = np.where(norms > 0, norms, np.nan)
        image = ax.imshow(shown, norm=LogNorm(1e-8, 1), cmap="cividis", origin="lower", interpolation="nearest")
        ax.set(xlabel="step k of the use", title=_written(name))
        ax.grid(visible=False)
    axes[0].set_ylabel("step t of the loss")
    figure.colorbar(image, ax=axes, label="‖term‖, in units of the largest", extend="min", shrink=0.75)
    figure.savefig(path, dpi=160)


def draw_exponents(jacobians: dict[str, Any], path: Path) -> None:
    """All exponents of each network, from the largest to the smallest."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    ax = figure.subplots()
    for (name, each), color in zip(jacobians.items(), COLORS, strict=True):
        values = each.exponents
        ax.plot(
            np.linspace(0, 1, len(values)),
            np.where(np.isfinite(values), values, np.nan),
            color=color,
            label=_written(name),
        )
    ax.axhline(0, color="#9A9A9A", linewidth=0.8)
    ax.set_ylim(-4, 1)
    ax.set(xlabel="directions of the state, the most expanding first", ylabel="exponent a step")
    ax.set_title("Lyapunov exponents: above 0 a change grows, below it shrinks")
    ax.legend(frameon=False)
    figure.savefig(path, dpi=160)


def draw_graph(layers: Layers, xs: mg.Tensor, path: Path) -> None:
    """All networks in one picture, so that they share one scale of colours; the loss is at the last step of each."""

    def loss(xs: mg.Tensor) -> mg.Tensor:
        losses = []
        for name, layer in layers.items():
            with mg.scope(name):  # a separate lane
                losses.append((layer(xs)[0][-1] ** 2).sum())
        return np.stack(losses).sum()

    params = {f"{name}: {p}": weight for name, layer in layers.items() for p, weight in layer.named_parameters()}
    mg.graph(loss, xs, params=params, color="grad", view="full").render(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=60, help="steps of the sequences")
    parser.add_argument("--hidden", type=int, default=32, help="size of the states")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/vanishing"), help="folder for the pictures")
    options = parser.parse_args()
    if options.length < 2 or options.hidden < 1:
        parser.error("--length must be at least 2 and --hidden at least 1")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out: {error}")

    mg.manual_seed(options.seed)
    inputs = 4
    layers = make_layers(inputs, options.hidden)
    xs = 0.01 * mg.randn(options.length, 8, inputs, dtype=np.float64)
    flows, terms, jacobians = {}, {}, {}
    for name, layer in layers.items():
        flows[name], terms[name], jacobians[name] = diagnose(layer, xs)
    width = max(map(len, layers))
    for title, found in (("gradient", flows), ("terms of W_s", terms), ("states", jacobians)):
        print(f"{title}")
        for name, each in found.items():
            print(f"  {name:<{width}}  {each.verdict}")
    with mpl.rc_context(STYLE):
        draw_flow(flows, options.out / "flow.png")
        draw_terms(terms, options.out / "terms.png")
        draw_exponents(jacobians, options.out / "lyapunov.png")
    draw_graph(layers, xs[:8], options.out / "graph.svg")
    print(f"pictures: {options.out}")


if __name__ == "__main__":
    main()
