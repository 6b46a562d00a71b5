"""The scaling of training over processes: measured for the available ones, planned for more.

    mpiexec -n 2 python -m benchmarks.scaling           # efficiency of two ranks, in blocks that take turns with one
    python -m benchmarks.scaling --link 12.5            # a table for 8 to 1,024 ranks and a link of 12.5 GB/s

Every rank has its own batch, of the size in the table (weak scaling); one thread a rank, unless OMP_NUM_THREADS says
otherwise. Efficiency is the words/s of N ranks over N times those of one.

The plan is a simulation. One process is measured: the time of forward, of backward and of the update, and the moments
of backward at which gradients are complete. Buckets then go over a link one after the other, each as a ring (Patarasuk
& Yuan 2009): 2 (N − 1) / N of its bytes, and 2 (N − 1) messages, each with the link's latency, or 2 log₂ N in a tree,
whichever is faster. Buckets not summed when backward ends are waited for. The link serves one rank alone, and no rank
is late: if several ranks share a network card, divide its speed among them.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import minigrad as mg
import nlp
import nn
from minigrad import backward
from nn.distributed import reduction

from .cases.models import CLIP, LR, SIZES, text, weights

RANKS = (8, 32, 128, 512, 1024)


class Timeline(NamedTuple):
    """A step of one process.

    forward, update  seconds
    ready            (seconds since backward began, bytes) of each bucket, in order of completion
    backward         seconds
    """

    forward: float
    update: float
    ready: Sequence[tuple[float, int]]
    backward: float

    @property
    def step(self) -> float:
        return self.forward + self.backward + self.update


def transfer(size: float, ranks: int, link: float, latency: float) -> float:
    """Seconds to sum `size` bytes over the ranks: the faster of a ring and a tree."""
    ring = 2 * (ranks - 1) * (latency + size / ranks / link)
    tree = 2 * math.ceil(math.log2(ranks)) * (latency + size / link)
    return min(ring, tree) if ranks > 1 else 0.0


def simulated(one: Timeline, ranks: int, link: float, latency: float) -> float:
    """Seconds of a step of `ranks` ranks. Before backward, the number of items is summed."""
    end = 0.0
    for ready, size in one.ready:
        end = max(end, ready) + transfer(size, ranks, link, latency)
    small = 2 * transfer(8, ranks, link, latency)  # and after it, which gradients exist
    return one.forward + max(one.backward, end) + one.update + small


class Training:
    """A language model, its data and its optimizer."""

    def __init__(self, name: str, group: nn.distributed.Group) -> None:
        V, H, L, B, T = SIZES[name]
        self.words, self.group = B * T, group
        self.model = nlp.LanguageModel(V, H, H, L)
        self.model.load_state_dict(weights(V, H, L))
        self.ids, self.targets = text(V, B, T)
        self.optimizer = nn.distributed.DataParallel(
            nn.SGD(self.model.named_parameters(), lr=LR, clip_norm=CLIP), group, self.model
        )

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss, _ = self.model.loss(self.ids, self.targets)
        _, total = self.optimizer.mean(loss, self.words)
        self.optimizer.backward(loss, self.words, total)
        self.optimizer.step()

    def measured(self, steps: int) -> tuple[float, float]:
        """Seconds and CPU seconds of a step, averaged over several; the ranks begin together."""
        self.group.barrier()
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step()
        cpu = time.process_time() - cpu
        self.group.barrier()
        return (time.perf_counter() - start) / steps, cpu / steps


class _Watch(mg.tape.Observer):
    """Notes the moments at which gradients are complete."""

    inside, leaves = False, True

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seen: list[tuple[float, int]] = []

    def whole(self, leaf: Any, gradient: Any) -> None:
        self.seen.append((self.clock(), gradient.nbytes))


def timeline(name: str, rounds: int) -> Timeline:
    """The fastest of some steps of one process; with one thread in CPU time, which excludes other work."""
    clock = time.process_time if os.environ["OMP_NUM_THREADS"] == "1" else time.perf_counter
    made, best = Training(name, nn.distributed.Group()), None
    for _ in range(rounds):
        made.optimizer.zero_grad()
        watch, t0 = _Watch(clock), clock()
        loss, _ = made.model.loss(made.ids, made.targets)
        t1 = clock()
        for leaf, g in backward.walk([(loss.edge, np.ones_like(loss.data))], observers=(watch,)).items():
            backward.accumulate(leaf, g)
        t2 = clock()
        made.optimizer.optimizer.step()
        t3 = clock()
        found = Timeline(t1 - t0, t3 - t2, buckets([(t - t1, size) for t, size in watch.seen]), t2 - t1)
        if best is None or found.step < best.step:
            best = found
    assert best is not None
    return best


def buckets(seen: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Gradients put into buckets as in `nn.distributed`: large ones alone, small ones until a bucket is full."""
    found: list[tuple[float, int]] = []
    small, last = 0, 0.0
    for ready, size in seen:
        if size >= reduction.BUCKET:
            found.append((ready, size))
            continue
        small, last = small + size, ready
        if small >= reduction.BUCKET:
            found.append((last, small))
            small = 0
    return [*found, (last, small)] if small else found


def plan(names: Sequence[str], rounds: int, link: float, latency: float) -> None:
    """Print the table."""
    print(f"A link of {link:g} GB/s and {latency:g} µs; one process measured, the fastest of {rounds} steps.\n")
    heads = " | ".join(f"{ranks:,}" for ranks in RANKS)
    print(f"| model | step | MB a step | sent before the end | efficiency at {heads} |")
    print("| --- " + "| ---: " * (3 + len(RANKS)) + "|")
    for name in names:
        one = timeline(name, rounds)
        size = sum(size for _, size in one.ready)
        early = sum(size for ready, size in one.ready if ready < 0.9 * one.backward) / size
        found = [one.step / simulated(one, ranks, link * 1e9, latency * 1e-6) for ranks in RANKS]
        cells = " | ".join(f"{efficiency:.2f}" for efficiency in found)
        print(f"| {name} | {one.step * 1e3:,.0f} ms | {size / 1e6:.1f} | {early:.0%} | {cells} |", flush=True)


def measure(group: nn.distributed.Group, names: Sequence[str], rounds: int, steps: int) -> None:
    """Blocks of rank 0 alone and of all ranks take turns.

    The last column compares CPU time, including waiting, as the minimum over blocks. It is the relevant one on a busy
    machine: two ranks in step wait for each other whenever one of them is descheduled.
    """
    if group.first:
        print(f"{group.size} ranks, {os.environ['OMP_NUM_THREADS']} thread each; {rounds} rounds of {steps} steps\n")
        print("| model | one rank | all ranks | efficiency: medians | fastest blocks | CPU time |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        alone, together = Training(name, nn.distributed.Group()), Training(name, group)
        alone.step(), together.step(), together.step()
        single, whole = [], []
        for _ in range(rounds):
            if group.first:
                single.append(alone.measured(steps))
            whole.append(together.measured(steps))
        if group.first:
            (wall, cpu), (shared_wall, shared_cpu) = (zip(*blocks, strict=True) for blocks in (single, whole))
            ratios = [median(wall) / median(shared_wall), min(wall) / min(shared_wall), min(cpu) / min(shared_cpu)]
            speeds = [alone.words / median(wall), group.size * alone.words / median(shared_wall)]
            print(f"| {name} |", " | ".join([f"{s:,.0f} words/s" for s in speeds] + [f"{r:.2f}" for r in ratios]), "|")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", metavar="NAME", action="append", choices=SIZES, help="one of the models; repeatable")
    parser.add_argument("--rounds", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="of a block (default: %(default)s)")
    parser.add_argument("--link", type=float, default=12.5, help="GB/s of a rank's link (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=5.0, help="of a message, in µs (default: %(default)s)")
    options = parser.parse_args()
    group = nn.distributed.group()
    if group.size > 1:
        measure(group, options.only or list(SIZES), options.rounds, options.steps)
    else:
        plan(options.only or list(SIZES), options.rounds, options.link, options.latency)


if __name__ == "__main__":
    main()
