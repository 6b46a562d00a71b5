"""The common part of adding_problem.py and copy_memory.py: they train several cells on one task, one after the other,
and compare them in a table and a picture. Run those two.

Each cell starts from the same seed and sees the same batches. At every test the whole run is saved in a checkpoint,
TASK-CELL.ckpt in `--out`; `--resume` continues exactly from there.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import minigrad as mg
import nn
from minigrad import Tensor

Batch = tuple[np.ndarray, np.ndarray]
COLORS = {"gru": "#228833", "lstm": "#4477AA", "rnn": "#333333", "irnn": "#BB5566"}
NAMES = {"gru": "GRU", "lstm": "LSTM", "rnn": "tanh RNN", "irnn": "IRNN"}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Sequences of `steps` steps, with a target.

    make_batch   (rng, N) -> inputs (T, N, inputs) and targets
    mapping      nn.many_to_one for an output of each sequence, nn.many_to_many for one of each step
    loss         (outputs, targets) -> a Tensor without axes; `measure` is its name
    recalled     the part of the loss that needs memory; its gradient is drawn
    baseline     the least loss without memory; `solved` is one far below
    spans        named ranges of the sequence (first, last), counted from 1, for the picture
    """

    name: str
    title: str
    steps: int
    inputs: int
    outputs: int
    make_batch: Callable[[np.random.Generator, int], Batch]
    mapping: Callable[..., Any]
    loss: Callable[[Tensor, Tensor], Tensor]
    recalled: Callable[[Tensor, Tensor], Tensor]
    measure: str
    baseline: float
    solved: float
    spans: dict[str, tuple[int, int]]


@dataclass
class Run:
    """The progress of a cell's training, and its measurements."""

    step: int = 0
    tests: list[tuple[int, float]] = field(default_factory=list)  # (step, loss on the test set)
    flow: dict[str, np.ndarray] = field(default_factory=dict)  # ‖∂L/∂x_t‖ of each step, before and after training
    seconds: float = 0.0  # of training, tests excluded


# ---- the network -------------------------------------------------------------------------------------------------


class Network(nn.Module):
    """A recurrent layer, and a linear map of its last state or of its states at all steps."""

    def __init__(self, task: Task, cell: str, hidden: int, device: str) -> None:
        super().__init__()
        self.layer = make_layer(cell, task.inputs, hidden, task.steps, device)
        self.head = nn.Linear(hidden, task.outputs, device=device)
        self.mapping = task.mapping

    def forward(self, xs: Tensor) -> Tensor:
        return self.mapping(self.layer, xs, self.head)


def make_layer(cell: str, inputs: int, hidden: int, steps: int, device: str) -> nn.OverTime:
    """A new layer of the cell's kind, for sequences of `steps` steps."""
    if cell == "gru":
        return nn.GRU(inputs, hidden, device=device)
    if cell == "lstm":  # a forget gate at σ(ln T) = 1 − 1/(T + 1) loses most of its memory in T steps, not in two
        return nn.init.forget_gate_bias_(nn.LSTM(inputs, hidden, device=device), math.log(steps))
    if cell == "rnn":
        return nn.RNN(inputs, hidden, device=device)
    layer = nn.RNN(inputs, hidden, nonlinearity="relu", device=device)  # IRNN: it initially keeps its state
    nn.init.eye_(layer.weight_hh_l0)
    nn.init.normal_(layer.weight_ih_l0, std=0.001)
    nn.init.zeros_(layer.bias_ih_l0)
    nn.init.zeros_(layer.bias_hh_l0)
    return layer


# ---- training ----------------------------------------------------------------------------------------------------


def train(task: Task, cell: str, args: argparse.Namespace) -> Run:
    """Train one cell up to args.steps; with args.resume, from its checkpoint."""
    mg.manual_seed(args.seed)
    model = Network(task, cell, args.hidden, args.device)
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=args.clip)
    rng = np.random.default_rng(args.seed)
    test = tensors(task.make_batch(np.random.default_rng([args.seed, 1]), 1000), args.device)
    run = Run(flow={"before training": gradient_flow(task, model, args.seed)})
    checkpoint = args.out / f"{task.name}-{cell}.ckpt"
    if args.resume and checkpoint.exists():
        go_back(checkpoint, model, optimizer, rng, run, args)

    with tqdm(total=args.steps, initial=run.step, desc=f"{NAMES[cell]:>8}", unit="step") as bar:
        began = time.perf_counter()
        while run.step < args.steps:
            xs, targets = tensors(task.make_batch(rng, args.batch), args.device)
            loss = task.loss(model(xs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step += 1
            bar.update()
            if run.step % args.every == 0 or run.step == args.steps:
                loss.item()  # wait for the device
                run.seconds += time.perf_counter() - began
                with mg.no_grad():
                    run.tests.append((run.step, task.loss(model(test[0]), test[1]).item()))
                bar.set_postfix_str(f"{task.measure} {run.tests[-1][1]:.4f}")
                nn.save_checkpoint(
                    checkpoint, model=model, optimizer=optimizer, random=rng.bit_generator.state, step=run.step,
                    tests=run.tests, seconds=run.seconds, settings=settings(args),
                )  # fmt: skip
                began = time.perf_counter()

    run.flow["after training"] = gradient_flow(task, model, args.seed)
    return run


def go_back(
    path: Path, model: Network, optimizer: nn.Optimizer, rng: np.random.Generator, run: Run, args: argparse.Namespace
) -> None:
    """Restore the state of the checkpoint."""
    try:
        found = nn.load_checkpoint(path, device=args.device, model=model, optimizer=optimizer)
    except ValueError as error:
        raise SystemExit(f"--resume: {error}") from None
    now = settings(args)
    if other := [
        f"--{name} {value}, not {now[name]}" for name, value in found["settings"].items() if value != now[name]
    ]:
        raise SystemExit(f"--resume: {path} is of a run with {', '.join(other)}")
    rng.bit_generator.state = found["random"]
    run.step, run.tests, run.seconds = found["step"], found["tests"], found["seconds"]


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that must not change when a run is resumed."""
    return {name: getattr(args, name) for name in ("length", "hidden", "batch", "lr", "clip", "seed")}


def tensors(batch: Batch, device: str) -> tuple[Tensor, Tensor]:
    xs, targets = batch
    return mg.tensor(xs, device=device), mg.tensor(targets, device=device)


def gradient_flow(task: Task, model: Network, seed: int) -> np.ndarray:
    """‖∂L/∂x_t‖ of each step t, (T,), for 100 sequences: the information that training can get from that step."""
    xs, targets = tensors(task.make_batch(np.random.default_rng([seed, 2]), 100), model.head.weight.device)
    xs.requires_grad = True
    task.recalled(model(xs), targets).backward()
    model.zero_grad()
    return np.linalg.norm(xs.grad.numpy().astype(np.float64), axis=(1, 2))


# ---- comparing ---------------------------------------------------------------------------------------------------


def table(task: Task, runs: dict[str, Run]) -> str:
    """A line for each cell: its last test loss, its first step below `solved`, and the time of a step."""
    lines = [f"{'cell':8}  {task.measure:>18}  {f'below {task.solved:.3g}':>16}  {'ms/step':>8}"]
    for cell, run in runs.items():
        below = next((f"{step:,} steps" for step, loss in run.tests if loss < task.solved), "not reached")
        lines.append(f"{NAMES[cell]:8}  {run.tests[-1][1]:18.4f}  {below:>16}  {1000 * run.seconds / run.step:8.1f}")
    return "\n".join([*lines, f"without memory: {task.baseline:.4f}"])


GREY, DASHED, DOTTED = "#9A9A9A", (0, (4, 2)), (0, (1, 1.5))
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "long memory",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8E8E8",
    "legend.frameon": False,
}


def plot(task: Task, runs: dict[str, Run], path: Path) -> None:
    """Draw the test losses, and the gradient flow that explains them."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.7), layout="constrained")
        left, right = figure.subplots(ncols=2)
        plot_tests(left, task, runs)
        plot_flow(right, task, runs)
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


def plot_tests(ax: Any, task: Task, runs: dict[str, Run]) -> None:
    """The test loss over training, compared with the baseline without memory."""
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    ax.axhline(task.baseline, color=GREY, linestyle=DASHED, label=f"no memory: {task.baseline:.3f}")
    for cell, run in runs.items():
        ax.plot(*zip(*run.tests, strict=True), color=COLORS[cell], marker=".", label=NAMES[cell])
    ax.set(yscale="log", xlabel="training steps", ylabel=task.measure, title=task.title)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.legend()


def plot_flow(ax: Any, task: Task, runs: dict[str, Run]) -> None:
    """The gradient that reaches each step of the input, before and after training."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullLocator

    t = np.arange(1, task.steps + 1)
    styles: dict[str, Any] = {"before training": {"linestyle": DOTTED}, "after training": {"linewidth": 2}}
    for when, style in styles.items():
        for cell, run in runs.items():
            ax.plot(t, run.flow[when], color=COLORS[cell], **style)
    for name, (first, last) in task.spans.items():
        ax.axvspan(first - 0.5, last + 0.5, color="#F2F2F2", linewidth=0, zorder=0)
        ax.annotate(name, ((first + last) / 2, 1), (0, -3), ("data", "axes fraction"), "offset points",
                    ha="center", va="top", color="#777777")  # fmt: skip
    ax.set(yscale="log", xlabel="step t of the sequence", xlim=(0.5, task.steps + 0.5))
    if task.spans:
        ax.set_ylim(top=20 * ax.get_ylim()[1])  # room for their names
    ax.set_title(r"Gradient that reaches step t, $\|\partial L / \partial x_t\|$")
    ax.yaxis.set_major_locator(LogLocator(numticks=9))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.legend([Line2D([], [], color=GREY, **style) for style in styles.values()], styles, loc="lower right")


# ---- the command line --------------------------------------------------------------------------------------------


def arguments(
    doc: str, *, cells: str, length: int, steps: int, batch: int, lr: float, clip: float
) -> argparse.Namespace:
    """The options of both programs, with their defaults."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--cells", default=cells, help=f"which of {','.join(NAMES)} to train (default: %(default)s)")
    parser.add_argument("--length", type=int, default=length, help="how long to remember (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=steps, help="training steps (default: %(default)s)")
    parser.add_argument("--every", type=int, default=100, help="steps between tests (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=100, help="size H of the state (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=batch, help="sequences N in a batch (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=lr, help="Adam's learning rate (default: %(default)s)")
    parser.add_argument("--clip", type=float, default=clip, help="largest norm of the gradient (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda"')
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture and the checkpoints")
    parser.add_argument("--format", choices=("png", "svg", "pdf"), default="png", help="of the picture")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out")
    args = parser.parse_args()
    args.cells = args.cells.split(",")
    if unknown := [cell for cell in args.cells if cell not in NAMES]:
        parser.error(f"--cells: {', '.join(unknown)} is not one of {', '.join(NAMES)}")
    for name in ("length", "steps", "every", "hidden", "batch"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(args, name)}")
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def compare(task: Task, args: argparse.Namespace) -> None:
    """Train the requested cells, print the table, draw the picture."""
    runs = {cell: train(task, cell, args) for cell in args.cells}
    print(f"{task.title}, seed {args.seed}")
    print(table(task, runs))
    path = args.out / f"{task.name}.{args.format}"
    plot(task, runs, path)
    print(f"see {path}")
