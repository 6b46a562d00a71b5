"""Make every figure of the course: `python docs/make_figures.py [folder]`, docs/course/figures if none is given.

Each function below makes the figure of its name, from the packages' own code. The graphs are drawn by `mg.graph`, the
rest by Matplotlib in the same colours. The files do not depend on the date or the machine's clock.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import LogLocator

import minigrad as mg
import nn
from nn.diagnose.result import BLUE, GOLD, GREEN, GREY, INK, PLOT_STYLE, RED

FOLDER = Path(__file__).parent / "course" / "figures"
FLOAT: Any = {"dtype": np.float64}

FAINT = {BLUE: "#CCDDEE", GREY: "#F4F4F4", GOLD: "#F6E3AE"}
STYLE: dict[str, Any] = PLOT_STYLE | {
    "svg.hashsalt": "course",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
}

Made = Figure | mg.Graph
FIGURES: dict[str, Callable[[], Made]] = {}


def figure(make: Callable[[], Made]) -> Callable[[], Made]:
    """Register a figure under its function's name: bptt_terms makes bptt-terms.svg."""
    FIGURES[make.__name__.replace("_", "-") + ".svg"] = make
    return make


def make_all(folder: Path = FOLDER) -> list[Path]:
    """Write every figure; the paths, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context(STYLE):
        for name, make in FIGURES.items():
            mg.manual_seed(0)
            made, path = make(), folder / name
            if isinstance(made, Figure):
                made.savefig(path, dpi=200, metadata={"Date": None}, bbox_inches="tight", pad_inches=0.08)
            else:
                made.render(path)
            paths.append(path)
    return paths


def axes(width: float = 6.4, height: float = 3.0, **options: Any) -> tuple[Figure, Any]:
    """A figure with its axes, without a window."""
    drawing = Figure(figsize=(width, height), layout="constrained")
    return drawing, drawing.subplots(**options)


def at_end(ax: Any, x: float, y: float, text: str, color: str) -> None:
    """A curve's name beside its last point."""
    place: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
    ax.annotate(text, (x, y), color=color, annotation_clip=False, **place)


# ---- 1 and 2: the vanilla network --------------------------------------------------------------------------------


def picture_of(page: str) -> mg.Graph:
    """The picture made by a page's own code: its examples are run up to the one with `picture = ...`."""
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples((FOLDER.parent / page).read_text(encoding="utf-8")):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(example.source, page, "single"), names)
        if example.source.startswith("picture = "):
            found: mg.Graph = names["picture"]
            return found
    raise ValueError(f"{page} makes no picture")


@figure
def unrolled() -> mg.Graph:
    """Three steps, as recorded by the engine."""
    return picture_of("1-vanilla-rnn.md")


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
    colours = mpl.colors.LinearSegmentedColormap.from_list("blues", ["#F2F6FA", "#A9C4DE", BLUE, "#16324F"])
    scale = mpl.colors.LogNorm(1e-5, 10)
    mesh = ax.pcolormesh(
        edges, edges, np.clip(norms, 1e-5, 10), norm=scale, cmap=colours, edgecolor="white", linewidth=0.4,
        rasterized=True,
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
    """tanh and the logistic function, with the derivatives that the engine computes."""
    drawing, (left, right) = axes(6.8, 2.6, ncols=2, sharey=True)
    a = mg.tensor(np.linspace(-5, 5, 121))
    named: Sequence[tuple[Any, Any, str, str]] = (
        (left, np.tanh, "tanh", BLUE), (right, mg.sigmoid, "σ, the logistic function", GREEN),
    )  # fmt: skip
    for ax, f, title, color in named:
        slope = mg.grad(lambda a, f=f: f(a).sum())(a)
        ax.axhline(0, color=GREY, linewidth=0.7)
        ax.plot(a.numpy(), f(a).numpy(), color=color, label="value")
        ax.plot(a.numpy(), slope.numpy(), color=RED, linestyle=(0, (4, 2)), label="derivative")
        ax.set(title=title, xlabel="a", xticks=[-4, -2, 0, 2, 4], yticks=[-1, -0.5, 0, 0.25, 0.5, 1])
        ax.legend(frameon=False, loc="lower right" if f is np.tanh else "upper left", handlelength=2.2)
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


# ---- 4 and 5: gates ----------------------------------------------------------------------------------------------


@figure
def lstm_step() -> mg.Graph:
    """One step of an LSTM, written as its equations."""
    return picture_of("4-lstm.md")


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
    return picture_of("5-gru.md")


# ---- 6 and 7: boxes and arrows -----------------------------------------------------------------------------------


class Boxes:
    """A drawing of boxes on a grid, and arrows between them: red along the time, grey upward."""

    def __init__(self, columns: float, rows: float, below: float = 0.0) -> None:
        self.drawing = Figure(figsize=(0.92 * columns + 0.3, 0.82 * (rows + below) + 0.2))
        self.ax = self.drawing.add_axes((0, 0, 1, 1))
        self.ax.set(xlim=(-0.65, columns - 0.35), ylim=(-0.4 - below, rows - 0.6), aspect="equal")
        self.ax.axis("off")

    def box(self, x: float, y: float, text: str, color: str = GREY) -> tuple[float, float]:
        """Draw a box around (x, y), and return that point."""
        patch = FancyBboxPatch(
            (x - 0.27, y - 0.19), 0.54, 0.38, boxstyle="round,pad=0.02,rounding_size=0.09", facecolor=FAINT[color],
            edgecolor=color, linewidth=1,
        )  # fmt: skip
        self.ax.add_patch(patch)
        self.ax.text(x, y, text, ha="center", va="center", fontsize=10)
        return x, y

    def text(self, x: float, y: float, text: str, **options: Any) -> None:
        """Plain text."""
        self.ax.text(x, y, text, va="center", color="#555555", **options)

    def arrow(self, a: tuple[float, float], b: tuple[float, float], state: bool = False, bend: float = 0.0) -> None:
        """From box to box."""
        patch = FancyArrowPatch(
            a, b, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, color=RED if state else "#777777",
            linewidth=1.9 if state else 1.0, connectionstyle=f"arc3,rad={bend}",
        )  # fmt: skip
        self.ax.add_patch(patch)

    def up(self, a: tuple[float, float], b: tuple[float, float]) -> None:
        """From the top of one box to the bottom of another."""
        self.arrow((a[0], a[1] + 0.22), (b[0], b[1] - 0.22))

    def along(self, a: tuple[float, float], b: tuple[float, float]) -> None:
        """Draw the state from the side of one box to the side of the next."""
        sign = 1 if b[0] > a[0] else -1
        self.arrow((a[0] + 0.3 * sign, a[1]), (b[0] - 0.3 * sign, b[1]), state=True)

    def chain(self, y: float, texts: Sequence[str], start: float = 0, color: str = GREY) -> list[tuple[float, float]]:
        """Boxes side by side, with the state from each to the next."""
        boxes = [self.box(start + k, y, text, color) for k, text in enumerate(texts)]
        for a, b in pairwise(boxes):
            self.along(a, b)
        return boxes


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


class MGU(nn.Module):
    """The minimal gated unit of page 6."""

    states, gates = ("h",), ("f",)

    def __init__(self, d_in: int, d_s: int) -> None:
        super().__init__()
        self.d_s = d_s
        self.forget, self.candidate = nn.Linear(d_in + d_s, d_s), nn.Linear(d_in + d_s, d_s)

    def initial_state(self, batch: int) -> tuple[mg.Tensor, ...]:
        """Zeros."""
        return (mg.zeros((batch, self.d_s)),)

    def step(self, x: mg.Tensor, state: tuple[mg.Tensor, ...]) -> tuple[mg.Tensor, ...]:
        """The next state and the gate."""
        (h,) = state
        f = mg.sigmoid(self.forget(np.concatenate([x, h], axis=-1)))
        candidate = np.tanh(self.candidate(np.concatenate([x, f * h], axis=-1)))
        return mg.name((1 - f) * h + f * candidate, "h"), mg.name(f, "f")


@figure
def minimal_gated_unit() -> mg.Graph:
    """Two steps of it."""
    cell = MGU(3, 4)
    state = cell.initial_state(2)
    for _, x in mg.steps(mg.randn(2, 2, 3)):
        state = cell.step(x, state)[:1]
    return mg.graph(state, params=cell.named_parameters())


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
