"""Make docs/cells.md and its pictures: `python docs/make_cells.py`, from the numbers in docs/cells/measured.json.

`python docs/make_cells.py --measure` trains and times the cells again first; `--measure times` only times them, which
takes about four minutes. Nothing else should run meanwhile. Both need PyTorch and JAX.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `benchmarks` is

from drawing import axes, save, style

import minigrad as mg
import nn
from benchmarks import compare
from benchmarks.cases.zoo import SIZES, case, made, presented
from benchmarks.report import processor
from nn.diagnose.result import COLORS, GREY

DOCS = Path(__file__).parent
FOLDER = DOCS / "cells"
MEASURED = FOLDER / "measured.json"
HIDDEN, STEPS, BATCH = 32, 300, 32  # of the trained networks
LEAST = -6  # of the exponents that are drawn
SETTLED, COUNTED, SEQUENCES = 50, 150, 8  # steps before and of the Lyapunov spectra, and how many sequences
ADDING, COPYING = 50, 20  # how many steps there are; how many steps the symbols are remembered
EFFORT = compare.Effort(warmups=1, calls=3, seconds=0.1, longest=5.0, rest=0.05, rounds=5)  # of the times
GROUPS = {
    "Gates": ["MGUCell", "UGRNNCell", "NBRCCell", "RHNCell"],
    "Element by element": ["IndRNNCell", "SRUCell", "QRNNCell", "MinGRUCell", "MinLSTMCell"],
    "Memories": ["JANETCell", "LayerNormLSTMCell", "MultiplicativeLSTMCell", "ONLSTMCell", "SLSTMCell"],
    "Time": ["PhasedLSTMCell", "GRUDCell", "ClockworkRNNCell"],
    "Dynamics": ["AntisymmetricRNNCell", "OrthogonalRNNCell", "LMUCell", "LRUCell"],
}
INTRODUCTION = """# The zoo: cells from papers

`nn.zoo` has cells of the literature. Each is a `step` of about ten lines that follows the paper's equations, with the
interface of `nn.cells`. So each works in `nn.Recurrent`, `nn.Stacked`, `nn.Bidirectional` and `nn.TBPTT`, on ragged
batches, and can be drawn and diagnosed like any other cell. No cell declares itself pure: the bytecode of its step is
checked for side effects, and the loop is [rolled](programs.md). The cells have no `recurrent_dropout` and no `zoneout`,
because most of the papers have neither.

```python
>>> import minigrad as mg, nn
>>> layer = nn.Bidirectional(nn.zoo.MGUCell(3, 5), nn.zoo.SRUCell(3, 5))
>>> output, state = layer(mg.randn(7, 2, 3), lengths=[7, 4])
>>> output.shape
(7, 2, 10)

```

This page is made by `docs/make_cells.py`.
"""


# ---- measurements ------------------------------------------------------------------------------------------------


def parameters_of(name: str) -> int:
    """The number of parameters for 64 features and 128 units."""
    return sum(p.size for p in made(name, 64, 128).parameters())


def rolled(name: str) -> bool:
    """True if a layer's loop runs as a program."""
    layer = nn.Recurrent(made(name, 2, 8))
    layer(presented(name, np.zeros((2, 1, 2), np.float32)))
    return layer.rolled is True


def spectrum(name: str) -> list[float | None]:
    """The Lyapunov spectrum at initialisation, of 16 units that see 8 features of N(0, 1); None for −∞."""
    mg.manual_seed(0)
    cell = made(name, 8, 16, dtype=np.float64)
    xs = presented(name, np.random.default_rng(0).standard_normal((SETTLED + COUNTED, SEQUENCES, 8)))
    found = list(nn.diagnose.lyapunov(cell, xs, discard=SETTLED).exponents)
    if name == "ClockworkRNNCell":  # without the clock, which only counts
        del found[int(np.argmin(np.abs(found)))]
    return [round(float(each), 4) if np.isfinite(each) else None for each in found]


def adding(rng: np.random.Generator) -> Any:
    """The adding problem (Hochreiter & Schmidhuber 1997): the sum of the two marked numbers."""
    numbers = rng.random((ADDING, BATCH, 1))
    marks = np.zeros((ADDING, BATCH, 1))
    half = ADDING // 2
    for first, last in ((0, half), (half, ADDING)):
        marks[rng.integers(first, last, BATCH), np.arange(BATCH)] = 1
    return np.concatenate([numbers, marks], axis=-1).astype(np.float32), (numbers * marks).sum(axis=0).astype(
        np.float32
    )


def copying(rng: np.random.Generator) -> Any:
    """Copy memory (Arjovsky, Shah & Bengio 2016): 5 of 8 symbols, blanks, a sign; then the symbols again."""
    symbols = rng.integers(1, 9, (5, BATCH))
    xs = np.zeros((COPYING + 10, BATCH), np.int64)
    xs[:5], xs[COPYING + 4] = symbols, 9
    targets = np.zeros_like(xs)
    targets[-5:] = symbols
    return np.eye(10, dtype=np.float32)[xs], targets


def curve(name: str, problem: str) -> list[float]:
    """The loss of each step of training, averaged over ten."""
    mg.manual_seed(0)
    rng = np.random.default_rng(0)
    data, D, outputs = (adding, 2, 1) if problem == "adding" else (copying, 10, 9)
    layer = nn.Recurrent(made(name, D, HIDDEN))
    head = nn.Linear(HIDDEN, outputs)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = nn.Adam(parameters, lr=5e-3)
    loss_of: Any = nn.MSELoss() if problem == "adding" else nn.CrossEntropyLoss()
    losses = []
    for _ in range(STEPS):
        xs, targets = data(rng)
        states, _ = layer(presented(name, xs))
        y = head(states[-1] if problem == "adding" else states.reshape((-1, HIDDEN)))
        loss = loss_of(y, targets if problem == "adding" else targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(float(loss))
    return [round(float(m), 5) for m in np.mean(np.reshape(losses, (-1, 10)), axis=1)]


def times() -> dict[str, Any]:
    """The times of all cells on one core, which libraries look up when they are imported: in a process of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return {name: pool.submit(times_of, name).result() for name in cells()}


def times_of(name: str) -> list[dict[str, list[float]]]:
    """For each size and library, the milliseconds of forward and backward, and their ratio to minigrad's."""
    found = []
    for size in SIZES:
        rows, missing = compare.measure(case(name, size), EFFORT)
        if missing:
            raise ModuleNotFoundError(f"the times need {' and '.join(sorted(missing))}")
        ratios = [1 / median(row.ratios) if row.ratios else 1.0 for row in rows]
        each = {r.side: [round(1e3 * r.seconds, 2), round(x, 2)] for r, x in zip(rows, ratios, strict=True)}
        print(name, size, each, flush=True)
        found.append(each)
    return found


def measure(only_times: bool) -> None:
    """Measure, and write the numbers to a file."""
    found: dict[str, Any] = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    load = round(os.getloadavg()[0], 1)  # by other programs
    for name in () if only_times else cells():
        found[name] = {"spectrum": spectrum(name)} | {p: curve(name, p) for p in ("adding", "copying")}
        print(name, found[name]["spectrum"][0], found[name]["adding"][-1], found[name]["copying"][-1], flush=True)
        MEASURED.write_text(json.dumps(found, indent=1) + "\n")
    found["times"] = {"processor": processor(), "load": load, "cells": times()}
    MEASURED.write_text(json.dumps(found, indent=1) + "\n")


# ---- the page ----------------------------------------------------------------------------------------------------


def cells() -> Iterator[str]:
    """The names of all cells."""
    for names in GROUPS.values():
        yield from names


def head(name: str) -> str:
    """The docstring of a cell up to the end of its equations."""
    lines = (inspect.getdoc(getattr(nn.zoo, name)) or "").split("\n")
    first = next(k for k, line in enumerate(lines) if line.startswith("    "))
    last = next((k for k in range(first, len(lines)) if lines[k] and not lines[k].startswith("    ")), len(lines))
    equations = "\n".join(line[4:] for line in lines[first:last]).rstrip()
    return "\n".join(lines[:first]).rstrip() + f"\n\n```text\n{equations}\n```\n"


def picture(name: str) -> mg.Graph:
    """One step, from its input and state to the new state."""
    mg.manual_seed(0)
    cell = made(name, 3, 4)
    x = mg.tensor(presented(name, np.ones((1, 1, 3), np.float32)))[0]
    state = tuple(cell.initial_state(1))
    return mg.graph(cell, x, state if len(state) > 1 else state[0], params=cell.named_parameters(), style="textbook")


def plot(problem: str, measured: Any, path: Path, chance: float, unit: str) -> None:
    """The curves of all cells, a panel for each family."""
    with panels(path) as drawn:
        for panel, names in drawn:
            for name, color in zip(names, COLORS, strict=False):
                values = measured[name][problem]
                label = name.removesuffix("Cell")
                panel.plot(np.arange(1, len(values) + 1) * 10, values, label=label, color=color, linewidth=1.4)
            panel.axhline(chance, color=GREY, linewidth=0.8, linestyle=":")
            panel.set(xlabel="steps of training", yscale="log")
            panel.legend(fontsize=9, frameon=False, loc="lower left")
        first, third = drawn[0][0], drawn[2][0]
        first.set_ylim(bottom=first.get_ylim()[0] / 5)  # room for the legends
        for panel in (first, third):
            panel.set_ylabel(unit)


@contextmanager
def panels(path: Path) -> Iterator[list[tuple[Any, list[str]]]]:
    """A panel for each family, in two rows, with the names of its cells; the picture is then written to `path`."""
    with style():
        figure, ((*upper, spare), lower) = axes(9.6, 6.0, nrows=2, ncols=3, sharey=True)
        spare.set_visible(False)
        drawn = []
        for panel, (title, names) in zip([*upper, *lower], GROUPS.items(), strict=True):
            panel.set_title(title)
            drawn.append((panel, names))
        yield drawn
        save(figure, path)


def plot_spectra(measured: Any, path: Path) -> None:
    """The exponents of all cells in order, a panel for each family."""
    with panels(path) as drawn:
        for panel, names in drawn:
            for name, color in zip(names, COLORS, strict=False):
                values = [np.nan if each is None or each < LEAST else each for each in measured[name]["spectrum"]]
                ranks = np.arange(1, len(values) + 1) / len(values)
                label = name.removesuffix("Cell")
                panel.plot(ranks, values, ".-", label=label, color=color, linewidth=1.2, markersize=4)
            panel.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
            panel.set(xlabel="i / S", ylim=(LEAST, 0.3))
            panel.legend(fontsize=9, frameon=False, loc="lower left")
        for panel, _ in (drawn[0], drawn[2]):
            panel.set_ylabel("exponent $λ_i$, a step")


def table(measured: Any) -> str:
    """A line for each cell."""
    lines = [
        "| cell | state | parameters | rolled | λ | adding | copying |",
        "| --- | --- | --: | --- | --: | --: | --: |",
    ]
    for name in cells():
        found = measured[name]
        fields = [
            f"[{name}](#{name.lower()})", ", ".join(made(name, 3, 4).states), f"{parameters_of(name):,}",
            "yes" if rolled(name) else "no",
            "−∞" if found["spectrum"][0] is None else f"{found['spectrum'][0]:.3f}".replace("-", "−"),
            *[f"{found[problem][-1]:.3f}" for problem in ("adding", "copying")],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(fields)} |")
    return "\n".join(lines)


def timings(measured: Any) -> str:
    """A line for each cell, with the times of all sizes side by side."""
    lines = [
        f"| cell | {' | '.join(f'T = {T}: minigrad | PyTorch | JAX' for _, T, _, _ in SIZES)} |",
        "| --- |" + " --: |" * (3 * len(SIZES)),
    ]
    for name in cells():
        fields = [f"[{name}](#{name.lower()})"]
        for (ours, _), *peers in (found.values() for found in measured["times"]["cells"][name]):
            fields += [f"{ours:.2f}", *[f"{milliseconds:.2f} ({ratio:.1f})" for milliseconds, ratio in peers]]
        lines.append(f"| {' | '.join(fields)} |")
    return "\n".join(lines)


def page(measured: Any, drawn: dict[str, Path]) -> str:
    """The whole text."""
    parts = [INTRODUCTION, TABLE.format(**numbers(measured))]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        for name in names:
            parts.append(f"### {name}\n\n{head(name)}\n![One step of {name}](cells/{drawn[name].name})\n")
    return "\n".join(parts)


def numbers(measured: Any) -> dict[str, Any]:
    """The tables and the settings for the page."""
    tables = {"table": table(measured), "timings": timings(measured)}
    lyapunov = {"sequences": SEQUENCES, "counted": COUNTED, "settled": SETTLED}
    learning = {"hidden": HIDDEN, "steps": STEPS, "batch": BATCH, "adding": ADDING, "copying": COPYING}
    speed = {"sizes": " and ".join(map(str, SIZES)), "rounds": EFFORT.rounds}
    machine = {key: measured["times"][key] for key in ("processor", "load")}
    return tables | lyapunov | learning | speed | machine


TABLE = """## All of them

{table}

* **parameters** for 64 features and 128 units. GRU-D has three inputs for each feature, the phased LSTM one for the
  time.
* **rolled**: the loop runs as a program.
* **λ**: the largest Lyapunov exponent, see below.
* **adding**, **copying**: the losses after training, see below.

## Lyapunov spectra

The rates per step at which small changes of the state shrink or grow, before training: `nn.diagnose.lyapunov` of 16
units that see 8 features from N(0, 1), in {sequences} sequences of {counted} steps after {settled} that do not count.
Near 0 a change lasts, below it is forgotten. A cell with several states has an exponent for each of their numbers. An
exponent is −∞ if ReLUs were closed at some step, or if a part of the state is not carried on (the output of an SRU,
QRNN or LRU, the inputs that a QRNN holds). These, and changes that shrink below 1/400 in a step, are not in the
picture. The clock of the clockwork RNN is left out.

![Lyapunov spectra](cells/spectra.svg)

## Two problems of memory

The adding problem: two of {adding} numbers are marked, and the target is their sum (mean squared error; always
answering 1 gives 1/6). Copy memory: 5 symbols out of 8 are repeated after {copying} steps (cross-entropy over all
{copying} + 10 steps; blanks, and then guesses, give 5 log 8/({copying} + 10)). The dotted lines are these two losses.
All cells have {hidden} units, their own defaults, and {steps} steps of Adam at 0.005 on batches of {batch}, with
gradients clipped at 1 and one seed. The runs are short: they show which cells learn soon, not which are best.

![Losses of the adding problem](cells/adding.svg)

![Losses of copy memory](cells/copying.svg)

## Speed

Milliseconds of forward and backward, to inputs and all weights, float32, for N T D H =
{sizes}: a layer of ours, beside the same equations as a loop in PyTorch and as
`lax.scan` under `jax.jit`. These compute everything that does not depend on the state before the loop (`python -m
benchmarks --only zoo`). Medians of {rounds} rounds in which the sides take turns; in brackets, the ratio to our time.
Compilation is not counted. On one core of {processor}; the load by other programs was {load} before.

{timings}

## Beside public implementations

Each cell has a public implementation. The tests compute with its conventions (`tests/nn/test_zoo_references.py` and
`test_zoo_references_memory.py`); with the weights in our order, the outputs are equal. The implementations differ as
follows:

| cell | implementation | differences |
| --- | --- | --- |
| MGUCell | chaobrain/brainstate | one matrix for x and h, orthogonal at first |
| UGRNNCell | TensorFlow, contrib.rnn.UGRNNCell | 1 is added to b_g: with that, its test's numbers are ours |
| NBRCCell | nvecoven/BRC | no b_h |
| RHNCell | jzilly/RecurrentHighwayNetworks | dropout of x and s, one mask for all steps; b_t starts at −2 or −4 |
| IndRNNCell | batzner/indrnn | u is clipped, if wanted; its test's numbers are ours |
| IndRNNCell | Sunnydreamrain/IndRNN_pytorch | batch normalisation of W x + b: a part of W and b in evaluation |
| SRUCell | asappresearch/sru | α = √(1 + 2 exp b) if b_r starts at b; if D ≠ H, W_x contains α |
| QRNNCell | salesforce/pytorch-qrnn | its F is 1 − f; widths 1 and 2 |
| MinGRUCell | lucidrains/minGRU-pytorch | no biases; n = v + ½ for v = W_n x ≥ 0, else σ(v): logarithms |
| MinLSTMCell | lucidrains/minGRU-pytorch | no biases; n as in its minGRU |
| JANETCell | JosvanderWesthuizen/janet | n before f; β = 1; b_f starts at 1, or as log U(1, max_steps) |
| LayerNormLSTMCell | ryankiros/layer-norm | gates i, f, o, g; LN(W x + b), too: equal if b is one number for all |
| MultiplicativeLSTMCell | benkrause/mLSTM, Chainer | a unit's g, i, f, o together; MATLAB: h' = tanh(σ(z_o)·c' + b) |
| ONLSTMCell | yikangshen/Ordered-Neurons | gates in the order I, F, o, g, i, f; two biases |
| SLSTMCell | NX-AI/xlstm | m is set by the first step; group normalisation follows |
| PhasedLSTMCell | TensorFlow, contrib.rnn.PhasedLSTMCell | r = 0.1, trained; periods 1 to 1000; p are matrices |
| GRUDCell | PeterChe1990/GRU-D | z keeps h, not ĥ: equal if γ_h = 1; V of 1 − m; x̄ = 0 |
| GRUDCell | zhiyongc/GRU-D | l comes with the data; as many units as features |
| ClockworkRNNCell | IDSIA/brainstorm | each unit has a period; U is full |
| AntisymmetricRNNCell | KurochkinAlexey/AntisymmetricRNN | M is its Wᵀ, of deviation 1/H at first; ε = 0.01 |
| OrthogonalRNNCell | SpartinStuff/scoRNN | Q is its Wᵀ, and A is −D A D; the −1 of D are last; b starts at 0 |
| LMUCell | nengo/keras-lmu | the same A and B; several memories, and any layer as the hidden one |
| LRUCell | NicolasZucchet/minimal-LRU | D is a vector: as many outputs as inputs |
"""


def files() -> Iterator[Path]:
    """Write the page and its pictures; returns their paths."""
    FOLDER.mkdir(exist_ok=True)
    measured = json.loads(MEASURED.read_text())
    drawn = {}
    for name in cells():
        drawn[name] = picture(name).render(FOLDER / f"{name.removesuffix('Cell').lower()}.svg")
        yield drawn[name]
    shares: dict[str, tuple[float, str]] = {
        "adding": (1 / 6, "mean squared error"), "copying": (5 * math.log(8) / (COPYING + 10), "cross-entropy"),
    }  # fmt: skip
    for problem, (chance, unit) in shares.items():
        path = FOLDER / f"{problem}.svg"
        plot(problem, measured, path, chance, unit)
        yield path
    path = FOLDER / "spectra.svg"
    plot_spectra(measured, path)
    yield path
    path = DOCS / "cells.md"
    path.write_text(page(measured, drawn), encoding="utf-8")
    yield path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="?", const="everything", choices=["everything", "times"])
    measuring = parser.parse_args().measure
    if measuring:
        FOLDER.mkdir(exist_ok=True)
        measure(only_times=measuring == "times")
    for written in files():
        print(f"{written} ({written.stat().st_size / 1000:.0f} kB)")
