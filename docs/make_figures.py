"""Make every figure of the course: `python docs/make_figures.py [folder]`, docs/course/figures if none is given.

Each function below makes the figure of its name, from the packages' own code. The graphs are drawn by `mg.graph`, the
rest by Matplotlib in the same colours. The files do not depend on the date or the machine's clock.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from drawing import FAINT, Boxes, at_end, axes, examples, pictures_of, save, style
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.ticker import LogLocator

import minigrad as mg
import nn
from nn.diagnose.result import BLUE, GOLD, GREEN, GREY, INK, RED

FOLDER = Path(__file__).parent / "course" / "figures"
FLOAT: Any = {"dtype": np.float64}

Made = Figure | mg.Graph
FIGURES: dict[str, Callable[[], Made]] = {}


def figure(make: Callable[[], Made]) -> Callable[[], Made]:
    """Register a figure under its function's name: bptt_terms makes bptt-terms.svg."""
    FIGURES[make.__name__.replace("_", "-") + ".svg"] = make
    return make


def make_all(folder: Path = FOLDER) -> list[Path]:
    """Write every figure; returns the paths, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, make in FIGURES.items():
        with style():
            paths.append(save(make(), folder / name))
    return paths


def picture_of(page: str, name: str) -> mg.Graph:
    """The picture of this name, made by a page's own code."""
    found = next(made for made_name, made in pictures_of(FOLDER.parent / page) if made_name == name)
    assert isinstance(found, mg.Graph)
    return found


# ---- 1 and 2: the vanilla network --------------------------------------------------------------------------------


@figure
def unrolled() -> mg.Graph:
    """Three steps, as recorded by the engine."""
    return picture_of("1-vanilla-rnn.md", "unrolled.svg")


@figure
def bptt_three() -> Figure:
    """The paths of the gradient through three steps: six from a loss to a use of the state map."""
    d = Boxes(5.4, 3.75)
    columns = [0.2, 2.2, 4.2]
    states = [d.box(x, 1.5, f"$s_{k}$") for k, x in enumerate(columns, 1)]
    for k, (x, s) in enumerate(zip(columns, states, strict=True), 1):
        loss = d.box(x, 2.8, f"$L_{k}$", GOLD)
        use = d.box(x, 0.2, "$W_s$", BLUE)
        d.arrow((loss[0], loss[1] - 0.22), (s[0], s[1] + 0.22))
        d.arrow((s[0], s[1] - 0.22), (use[0], use[1] + 0.22))
        d.text(x + 0.1, 2.15, rf"$\partial L_{k}/\partial s_{k}$")
        d.text(x + 0.1, 0.85, rf"$\partial^{{+}} s_{k}/\partial W_s$")
    for k, (a, b) in enumerate(pairwise(states), 2):
        d.along(b, a)
        d.text((a[0] + b[0]) / 2, 1.68, rf"$\partial s_{k}/\partial s_{k - 1}$", RED, ha="center")
    return d.drawing


@figure
def bptt_terms() -> Figure:
    """The norm of each term (t, k) of the BPTT sum, for the network of page 2."""
    rng = np.random.default_rng(0)
    T, N, d_in, d_s, d_out = 20, 3, 4, 5, 2
    W_in, W_s, W_out, b_in, b_s, b_out = [
        0.5 * rng.standard_normal(shape) for shape in ((d_in, d_s), (d_s, d_s), (d_s, d_out), d_s, d_s, d_out)
    ]
    xs, s_0 = rng.standard_normal((T, N, d_in)), rng.standard_normal((N, d_s))
    targets = rng.standard_normal((T, N, d_out))
    s = [s_0]
    for x in xs:
        s.append(np.tanh(x @ W_in + b_in + s[-1] @ W_s + b_s))
    norms = np.full((T, T), np.nan)
    for t in range(1, T + 1):
        delta = (s[t] @ W_out + b_out - targets[t - 1]) @ W_out.T  # (N, d_s)
        for k in range(t, 0, -1):
            da = delta * (1 - s[k] ** 2)
            terms = s[k - 1][:, :, None] * da[:, None, :]  # (N, d_s, d_s)
            norms[t - 1, k - 1] = np.mean(np.linalg.norm(terms, axis=(1, 2)))
            delta = da @ W_s.T
    drawing, ax = axes(4.6, 3.7)
    edges = np.arange(T + 1) + 0.5
    colours = mpl.colors.LinearSegmentedColormap.from_list("blues", ["#F2F6FA", "#A9C4DE", BLUE, "#1F4A73"])
    scale = mpl.colors.LogNorm(1e-5, 10)
    mesh = ax.pcolormesh(
        edges, edges, np.clip(norms, 1e-5, 10), norm=scale, cmap=colours, rasterized=True,
    )  # fmt: skip
    ax.set(xlabel="step k at which the weight acts", ylabel="step t of the loss", aspect="equal")
    ax.set_xticks([1, 5, 10, 15, 20])
    ax.set_yticks([1, 5, 10, 15, 20])
    ax.invert_yaxis()
    ax.grid(False)
    ax.spines[:].set_visible(False)
    bar = drawing.colorbar(mesh, ax=ax, shrink=0.85, label="norm of the term", extend="min")
    bar.outline.set_visible(False)
    bar.solids.set_rasterized(True)  # 256 rectangles otherwise
    return drawing


# ---- 3: vanishing and exploding gradients ------------------------------------------------------------------------


@figure
def tanh() -> Figure:
    """tanh, the logistic function and ReLU, with the derivatives of the engine."""
    drawing, panels = axes(8.4, 2.7, ncols=3)
    a = mg.tensor(np.linspace(-5, 5, 122))  # without the kink at 0
    named: Sequence[tuple[Any, str, str]] = (
        (np.tanh, "tanh", BLUE), (mg.sigmoid, "σ, the logistic function", GREEN), (mg.relu, "ReLU", GOLD),
    )  # fmt: skip
    for ax, (f, title, color) in zip(panels, named, strict=True):
        slope = mg.grad(lambda a, f=f: f(a).sum())(a)
        ax.axhline(0, color=GREY, linewidth=0.7)
        ax.plot(a.numpy(), f(a).numpy(), color=color, label="value")
        ax.plot(a.numpy(), slope.numpy(), color=RED, linestyle=(0, (4, 2)), label="derivative")
        ax.set(title=title, xlabel="a", xticks=[-4, -2, 0, 2, 4], yticks=[-1, -0.5, 0, 0.25, 0.5, 1], ylim=(-1.1, 1.1))
        ax.legend(frameon=False, loc="upper left" if f is mg.relu else "lower right", handlelength=2.2)
    panels[2].set(ylim=(-1.1, 3.1), yticks=[-1, 0, 1, 2, 3])
    return drawing


@figure
def jacobian_products() -> Figure:
    """Norms of products of Jacobians, for orthogonal weights of five sizes, with the bounds."""
    d, steps = 32, 60
    Q = nn.init.orthogonal_(mg.zeros((d, d), **FLOAT)).numpy()
    drawing, ax = axes(6.4, 3.6)
    powers = np.arange(1, steps + 1)
    for size, color in ((3.0, RED), (1.5, GOLD), (1.0, INK), (0.9, GREEN), (0.5, BLUE)):
        rng = np.random.default_rng(0)
        W, s, product, norms = size * Q, 0.1 * rng.standard_normal(d), np.eye(d), []
        for _ in range(steps):
            s = np.tanh(0.1 * rng.standard_normal(d) + s @ W)
            product = np.diag(1 - s**2) @ W.T @ product
            norms.append(np.linalg.norm(product, 2))
        ax.plot(powers, size**powers, color=color, linestyle=(0, (1, 2)), linewidth=1.1)
        ax.plot(powers, norms, color=color)
        at_end(ax, steps, norms[-1], f"σ = {size:g}", color)
    ax.set(yscale="log", ylim=(1e-20, 1e20), xlim=(0, steps), xlabel="number of steps, t − k")
    ax.set_ylabel("norm of the product")
    ax.yaxis.set_major_locator(LogLocator(base=10, numticks=6))
    ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    return drawing


@figure
def clipping() -> Figure:
    """Gradients of two weights, clipped by three norms and by range."""
    drawing, panels = axes(8.8, 2.75, ncols=4, sharey=True)
    gradients = [(1.7, 1.1), (-0.6, 1.9), (-1.8, -0.5), (0.5, 0.35), (0.4, -1.7)]
    corners = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
    round_ = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 73)[:-1]])
    square = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    for ax, title, outline, p in zip(
        panels, ("by the 1-norm", "by the 2-norm", "by the ∞-norm", "by range"), (corners, round_, square, square),
        (1, 2, np.inf, None), strict=True,
    ):  # fmt: skip
        ax.add_patch(Polygon(outline, facecolor=FAINT[BLUE], edgecolor=BLUE, linewidth=0.8))
        for gradient in gradients:
            w = mg.zeros(2, requires_grad=True)
            w.grad = mg.tensor(np.array(gradient, np.float32))
            _ = nn.clip_grad_value_([w], 1.0) if p is None else nn.clip_grad_norm_([w], 1.0, norm_type=p)
            after = w.grad.numpy()
            ax.plot([0, gradient[0]], [0, gradient[1]], color=GREY, linewidth=1.0)
            ax.plot(*gradient, "o", color=GREY, markersize=4)
            ax.plot([gradient[0], after[0]], [gradient[1], after[1]], color=RED, linewidth=1.2, linestyle=(0, (2, 1.5)))
            ax.plot(*after, "o", color=RED, markersize=4.5)
        ax.set(title=title, xlim=(-2.1, 2.1), ylim=(-2.1, 2.1), aspect="equal", xlabel="$g_1$")
        ax.set(xticks=[-2, -1, 0, 1, 2], yticks=[-2, -1, 0, 1, 2])
    panels[0].set_ylabel("$g_2$")
    return drawing


# ---- 4 and 5: gates ----------------------------------------------------------------------------------------------


@figure
def lstm_step() -> mg.Graph:
    """One step of an LSTM, written as its equations."""
    return picture_of("4-lstm.md", "lstm-step.svg")


@figure
def forgetting() -> Figure:
    """The forget gate and the memory of both units of the restaurant's network, from the code of page 4."""
    names = next(names for _, names in examples(FOLDER.parent / "4-lstm.md") if "reading" in names)
    words, reading = names["sentence"], names["reading"]
    drawing, panels = axes(7.6, 3.4, nrows=2, sharex=True)
    steps = np.arange(len(words))
    for unit, (name, color) in enumerate((("topic", BLUE), ("opinion", RED))):
        f, C = (values.numpy()[:, 0, unit] for values in (reading.f, reading.c))
        panels[0].plot(steps, f, color=color, marker="o" if unit else "s", markersize=6 if not unit else 4, label=name)
        panels[1].bar(steps + (unit - 0.5) * 0.36, C, 0.34, color=color, label=name)
    panels[0].set(ylim=(-0.08, 1.12), yticks=[0, 0.5, 1], title="forget gate f: 1 keeps, 0 forgets")
    panels[1].set(ylim=(-1.15, 1.15), yticks=[-1, 0, 1], title="memory C")
    panels[1].axhline(0, color=GREY, linewidth=0.7)
    panels[1].set_xticks(steps, words)
    panels[0].legend(frameon=False, loc="center right")
    for ax in panels:
        ax.axvspan(3.5, 4.5, color=GREY, alpha=0.15, linewidth=0)
    return drawing


@figure
def gradient_flow() -> Figure:
    """The share of the gradient of a loss at the last step that arrives at each step."""
    T, d_in, d_s = 100, 8, 32
    xs = mg.randn(T, 4, d_in, **FLOAT)
    cells = [("RNN", nn.RNNCell(d_in, d_s, **FLOAT), INK), ("GRU", nn.GRUCell(d_in, d_s, **FLOAT), GREEN)]
    for bias, color in ((0.0, BLUE), (1.0, GOLD), (3.0, RED)):
        cells.append(
            (f"LSTM, $b_f$ = {bias:g}", nn.init.forget_gate_bias_(nn.LSTMCell(d_in, d_s, **FLOAT), bias), color)
        )
    drawing, ax = axes(6.4, 3.4)
    for label, cell, color in cells:
        state = cell.initial_state(4)
        projected = cell.inputs(xs)
        states = []
        for _, x in mg.steps(projected):
            state = cell.step(x, state)[: len(state)]
            for s in state:
                s.retain_grad()
            states.append(state)
        (state[0] ** 2).sum().backward()
        norms = [max(np.linalg.norm(s.grad.numpy()) for s in state if s.grad is not None) for state in states]
        ax.plot(np.arange(1, T + 1), np.array(norms) / norms[-1], color=color)
        lift = {"GRU": 5, "LSTM, $b_f$ = 0": -5}.get(label, 0)  # these two end side by side
        ax.annotate(
            label, (1, norms[0] / norms[-1]), xytext=(-6, lift), textcoords="offset points", ha="right", va="center",
            color=color, annotation_clip=False,
        )  # fmt: skip
    ax.set(yscale="log", xlim=(1, T), xlabel="step t", xticks=[1, 25, 50, 75, 100])
    ax.set_title("norm of ∂L/∂(state at t), relative to the last step", loc="right")
    ax.yaxis.tick_right()
    ax.spines["left"].set_visible(False)
    ax.yaxis.set_major_locator(LogLocator(base=10, numticks=8))
    ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    return drawing


@figure
def gru_step() -> mg.Graph:
    """One step of a GRU, written as its equations."""
    return picture_of("5-gru.md", "gru-step.svg")


# ---- 6 and 7: boxes and arrows -----------------------------------------------------------------------------------


@figure
def deep_bidirectional() -> Figure:
    """Two bidirectional layers over four steps."""
    d = Boxes(7.2, 6.1)
    columns = [2.0 + 1.4 * k for k in range(4)]
    below = [d.box(x, 0, f"x{'₁₂₃₄'[k]}", BLUE) for k, x in enumerate(columns)]
    for layer, y in ((1, 0.85), (2, 3.4)):
        there = [d.box(x - 0.35, y, "→") for x in columns]
        back = [d.box(x + 0.35, y + 0.8, "←") for x in columns]
        for row in (there, back[::-1]):
            for a, b in pairwise(row):
                d.along(a, b)
        color, label = (GREY, "h") if layer == 1 else (GOLD, "y")
        above = [d.box(x, y + 1.65, f"{label}{'₁₂₃₄'[k]}", color) for k, x in enumerate(columns)]
        for source, forward, backward, joined in zip(below, there, back, above, strict=True):
            for x, cell in ((-0.2, forward), (0.2, backward)):
                d.arrow((source[0] + x, source[1] + 0.22), (cell[0] - x / 4, cell[1] - 0.22))
                d.arrow((cell[0] - x / 4, cell[1] + 0.22), (joined[0] + x, joined[1] - 0.22))
        d.text(-0.5, y, f"layer {layer}, forward")
        d.text(-0.5, y + 0.8, f"layer {layer}, backward")
        below = above
    return d.drawing


@figure
def minimal_gated_unit() -> mg.Graph:
    """A custom cell."""
    return picture_of("6-deep-and-bidirectional.md", "minimal-gated-unit.svg")


@figure
def deep_transition() -> Figure:
    """Two stacked layers beside one layer whose step has two maps."""
    d = Boxes(8.9, 3.25, below=0.5)
    for k, (lower, upper) in enumerate(
        zip(
            d.chain(1.1, [f"$h^{{(1)}}_{t}$" for t in (1, 2, 3)], pitch=1.3),
            d.chain(2.2, [f"$h^{{(2)}}_{t}$" for t in (1, 2, 3)], pitch=1.3),
            strict=True,
        ),
        1,
    ):
        d.up(d.box(lower[0], 0, f"$x_{k}$", BLUE), lower)
        d.up(lower, upper)
    d.text(1.3, -0.62, "stacked: one map from state to state", ha="center")
    parts = d.chain(1.6, ["$u_1$", "$s_1$", "$u_2$", "$s_2$", "$u_3$", "$s_3$"], start=3.9, pitch=0.84)
    for k, u in enumerate(parts[::2], 1):
        d.up(d.box(u[0], 0, f"$x_{k}$", BLUE), u)
    d.text(6.0, -0.62, "deep transition: two maps from state to state", ha="center")
    return d.drawing


@figure
def many_to_one() -> Figure:
    """The last state becomes the output."""
    d = Boxes(4, 3)
    states = d.chain(1, ["s₁", "s₂", "s₃", "s₄"])
    for k, s in enumerate(states):
        d.up(d.box(k, 0, f"x{'₁₂₃₄'[k]}", BLUE), s)
    d.up(states[-1], d.box(3, 2, "y", GOLD))
    return d.drawing


@figure
def sentiment() -> Figure:
    """Many to one as part of a whole model: tokens, embedding, two layers, an MLP, classes."""
    words = ["the", "food", "is", "good"]
    d = Boxes(5.4, 6.2, left=2.1)
    pitch = 1.15
    lower = d.chain(2, ["LSTM"] * 4, pitch=pitch)
    upper = d.chain(3, ["LSTM"] * 4, pitch=pitch)
    for k, word in enumerate(words):
        token, vector = d.box(pitch * k, 0, word, BLUE, 0.62), d.box(pitch * k, 1, f"$v_{k + 1}$", GREEN)
        for below, above in pairwise((token, vector, lower[k], upper[k])):
            d.up(below, above)
    mlp, out = d.box(3 * pitch, 4, "MLP", RED), d.box(3 * pitch, 5, "good 0.9 · bad 0.1", GOLD, 1.8)
    for below, above in pairwise((upper[-1], mlp, out)):
        d.up(below, above)
    for y, label in enumerate(("tokens", "embedding: a vector each", "layer 1", "layer 2", "maps and ReLU", "a class")):
        d.text(-0.65, y, label, ha="right")
    return d.drawing


@figure
def many_to_many() -> Figure:
    """Each state becomes an output."""
    d = Boxes(4, 3)
    for k, s in enumerate(d.chain(1, ["s₁", "s₂", "s₃", "s₄"])):
        d.up(d.box(k, 0, f"x{'₁₂₃₄'[k]}", BLUE), s)
        d.up(s, d.box(k, 2, f"y{'₁₂₃₄'[k]}", GOLD))
    return d.drawing


@figure
def one_to_many() -> Figure:
    """Each output is the next input."""
    d = Boxes(4, 3)
    states = d.chain(1, ["s₁", "s₂", "s₃", "s₄"])
    d.up(d.box(0, 0, "x", BLUE), states[0])
    for k, s in enumerate(states):
        y = d.box(k, 2, f"y{'₁₂₃₄'[k]}", GOLD)
        d.up(s, y)
        if k < 3:
            d.arrow((y[0] + 0.3, y[1] - 0.08), (k + 0.86, 1.22))
    d.text(0.64, 1.34, "feed", ha="right", fontsize=9)
    return d.drawing


def through_time(d: Boxes, inputs: Sequence[str], pitch: float) -> list[tuple[float, float]]:
    """Inputs, states and outputs of four steps; returns the positions of the outputs."""
    outputs = []
    for k, s in enumerate(d.chain(1, ["$s_1$", "$s_2$", "$s_3$", "$s_4$"], pitch=pitch)):
        d.up(d.box(s[0], 0, inputs[k], BLUE), s)
        outputs.append(d.box(s[0], 2, f"$y_{k + 1}$", GOLD))
        d.up(s, outputs[-1])
    return outputs


@figure
def reinjection() -> Figure:
    """In use, each output is the next input."""
    d = Boxes(5.4, 3.0)
    pitch = 1.5
    outputs = through_time(d, ["$x$", "$y_1$", "$y_2$", "$y_3$"], pitch)
    for y in outputs[:-1]:
        d.feed(y, (y[0] + pitch, 0))
    return d.drawing


@figure
def teacher_forcing() -> Figure:
    """In training, the right word is the next input, and the outputs go to the losses."""
    d = Boxes(5.4, 5.0)
    pitch = 1.5
    outputs = through_time(d, ["$x$", "$y^*_1$", "$y^*_2$", "$y^*_3$"], pitch)
    for k, y in enumerate(outputs):
        loss, right = d.box(y[0], 3, f"$L_{k + 1}$"), d.box(y[0], 4, f"$y^*_{k + 1}$", GREEN)
        d.up(y, loss)
        d.arrow((right[0], right[1] - 0.22), (loss[0], loss[1] + 0.22))
        if k < 3:
            d.feed(right, (right[0] + pitch, 0))
    return d.drawing


@figure
def encode_decode() -> Figure:
    """The encoder's last state is the decoder's first."""
    d = Boxes(7, 3, below=0.35)
    states = d.chain(1, ["s₁", "s₂", "s₃", "s₄", "s₁", "s₂", "s₃"])
    for k in range(4):
        d.up(d.box(k, 0, f"x{'₁₂₃₄'[k]}", BLUE), states[k])
    for k in range(3):
        d.up(d.box(4 + k, 0, ("start", "y₁", "y₂")[k], BLUE), states[4 + k])
        d.up(states[4 + k], d.box(4 + k, 2, f"y{'₁₂₃'[k]}", GOLD))
    d.ax.axvline(3.5, 0.06, 0.94, color="#C8C8C8", linewidth=1, linestyle=(0, (3, 3)), zorder=0)
    d.text(1.5, -0.5, "encoder", ha="center")
    d.text(5, -0.5, "decoder", ha="center")
    return d.drawing


# ---- 8: in practice ----------------------------------------------------------------------------------------------


@figure
def truncated() -> mg.Graph:
    """Two windows of two steps; the state between them is detached."""
    W_in, W_s = mg.randn(3, 5, requires_grad=True), mg.randn(5, 5, requires_grad=True)
    s, losses = mg.zeros((2, 5)), []
    xs = mg.randn(4, 2, 3)
    for t, x in mg.steps(xs):
        s = mg.name(np.tanh(x @ W_in + s @ W_s), "s")
        if t % 2:
            losses.append(mg.name((s**2).sum(), "loss"))
            s = nn.detach(s)
    return mg.graph(losses, params={"W_in": W_in, "W_s": W_s})


def state_gradient(layer: Any, stream: mg.Tensor, k: int) -> np.ndarray[Any, Any]:
    """The gradient by the state map of a loss at the last step, cut k steps before it."""
    layer.zero_grad()
    state = None if k == len(stream) else nn.detach(layer(stream[:-k])[1])
    output, _ = layer(stream[-k:], state)
    (output[-1] ** 2).sum().backward()
    gradient: np.ndarray[Any, Any] = layer.weight_hh_l0.grad.numpy().ravel()
    return gradient


@figure
def truncation() -> Figure:
    """Direction and length of the truncated gradient against the full one, over the number of steps."""
    T, N, d_in, d_s = 64, 3, 4, 8
    stream = mg.randn(T, N, d_in, **FLOAT)
    drawing, (left, right) = axes(6.8, 2.8, ncols=2, sharey=True)
    ks = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    for bias, color in ((0.0, BLUE), (2.0, GOLD), (4.0, RED)):
        layer = nn.init.forget_gate_bias_(nn.LSTM(d_in, d_s, **FLOAT), bias)
        full = state_gradient(layer, stream, T)
        cuts = [state_gradient(layer, stream, k) for k in ks]
        cosines = [c @ full / np.linalg.norm(c) / np.linalg.norm(full) for c in cuts]
        left.plot(ks, cosines, color=color, marker="o", markersize=3.5)
        right.plot(
            ks, [np.linalg.norm(c) / np.linalg.norm(full) for c in cuts], color=color, marker="o", markersize=3.5,
            label=f"$b_f$ = {bias:g}",
        )  # fmt: skip
    for ax, title in ((left, "cosine with the full gradient"), (right, "length relative to it")):
        ax.set(title=title, xscale="log", xticks=[1, 2, 4, 8, 16, 32, 64], ylim=(0, 1.05))
        ax.set_xlabel("steps k that are kept")
        ax.xaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
        ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    right.legend(frameon=False, loc="lower right")
    return drawing


@figure
def memory() -> Figure:
    """Peak memory of a forward and a backward pass, over the number of steps."""
    layer = nn.GRU(16, 16, **FLOAT)
    lengths = [25, 100, 400, 1600]

    def whole(xs: mg.Tensor) -> None:
        (layer(xs)[1] ** 2).sum().backward()

    def segmented(xs: mg.Tensor) -> None:
        state = mg.zeros((1, 8, 16), **FLOAT)
        for segment in np.split(xs, round(len(xs) ** 0.5)):
            state = mg.checkpoint(lambda xs, state: layer(xs, state)[1], segment, state)
        (state**2).sum().backward()

    def windows(xs: mg.Tensor) -> None:
        tbptt = nn.TBPTT(k1=25)
        for window in np.split(xs, len(xs) // 25):
            (tbptt(layer, window) ** 2).sum().backward()

    drawing, ax = axes(6.4, 3.2)
    for label, run, color in (
        ("whole", whole, RED), ("checkpoints, √T segments", segmented, BLUE), ("TBPTT, windows of 25", windows, GREEN),
    ):  # fmt: skip
        peaks = []
        for T in lengths:
            xs = mg.randn(T, 8, 16, **FLOAT)
            run(xs)  # fused kernels are made at their first use
            layer.zero_grad()
            tracemalloc.start()
            run(xs)
            peaks.append(float(f"{tracemalloc.get_traced_memory()[1] / 1e6:.2g}"))
            tracemalloc.stop()
        ax.plot(lengths, peaks, color=color, marker="o", markersize=4)
        at_end(ax, lengths[-1], peaks[-1], label, color)
    ax.set(xscale="log", yscale="log", xlabel="steps T", ylabel="peak memory, MB", xticks=lengths)
    ax.xaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
    ax.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    ax.minorticks_off()
    return drawing


if __name__ == "__main__":
    for path in make_all(*map(Path, sys.argv[1:2])):
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")
