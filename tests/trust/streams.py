"""Streams: memory stays flat over a long stream of truncated windows, and over many steps under every observer.

After a warm-up neither Python's allocations nor the process grow: a stream through `nn.TBPTT`, the same in a compiled
step with a carried state, and training with hooks, anomaly detection and diagnosis.
"""

from __future__ import annotations

import gc
import resource
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import minigrad as mg
import nn
from tests.trust.common import arguments, conclude

WINDOW, N, D, H, PARTS = 10, 2, 4, 16, 5
ALLOCATED, RESIDENT = 128 << 10, 4 << 20  # bytes of growth allowed after the warm-up


def stream() -> Callable[[], None]:
    """A window of an endless stream, in which single rows begin anew."""
    layer, tbptt = nn.LSTM(D, H), nn.TBPTT(k1=WINDOW, k2=2 * WINDOW)
    optimizer = nn.Adam(layer.named_parameters(), lr=1e-3, clip_norm=1.0)
    rng = np.random.default_rng(0)

    def window() -> None:
        optimizer.zero_grad()
        output = tbptt(layer, mg.randn(WINDOW, N, D), reset=rng.random(N) < 0.1)
        (output**2).mean().backward()
        optimizer.step()

    return window


def compiled() -> Callable[[], None]:
    """The same without a reset, replayed."""
    layer = nn.GRU(D, H)
    optimizer = nn.SGD(layer.named_parameters(), lr=1e-3, momentum=0.9)

    @mg.compile
    def step(x: Any, state: Any) -> Any:
        optimizer.zero_grad()
        output, state = layer(x, state)
        (output**2).mean().backward()
        optimizer.step()
        return nn.detach(state)

    state = mg.zeros((1, N, H))

    def window() -> None:
        nonlocal state
        state = step(mg.randn(WINDOW, N, D), state)

    return window


def observed() -> Callable[[], None]:
    """A training step with hooks on a module, a weight and a state, under anomaly detection, with diagnosis."""
    model = nn.Recurrent(nn.LSTMCell(D, H, recurrent_dropout=0.1))
    optimizer = nn.Adam(model.named_parameters(), lr=1e-3)
    model.register_forward_hook(lambda module, inputs, output: None)
    next(iter(model.parameters())).register_hook(lambda gradient: gradient * 1.0)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        optimizer.zero_grad()
        with mg.detect_anomaly():
            output, _, states = model(mg.randn(WINDOW, N, D), return_states=True)
            output.register_hook(lambda gradient: None)
            states.c.retain_grad()
            loss = (output**2).mean()
            if count % 10 == 0:
                nn.diagnose.gradient_flow(loss, [states.h])
                nn.diagnose.bptt_terms(loss, model.cell.weight_hh)
            loss.backward()
        optimizer.step()

    return step


def grown(step: Callable[[], None], count: int) -> tuple[float, float]:
    """The growth in bytes of Python's allocations and of the process after a tenth of the steps: five times the median
    of five parts, since tables of the interpreter grow at once and then not for long."""
    for _ in range(max(count // 10, 50)):
        step()
    tracemalloc.start()
    step()
    seen = [_used()]
    for _ in range(PARTS):
        for _ in range(count // PARTS):
            step()
        seen.append(_used())
    tracemalloc.stop()
    growth = np.diff(np.array(seen, float), axis=0)  # (PARTS, 2)
    allocated, resident = PARTS * np.median(growth, axis=0)
    return float(allocated), float(resident)


def _used() -> tuple[int, int]:
    gc.collect()
    return tracemalloc.get_traced_memory()[0], _resident()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    options = arguments(__doc__, steps=(10_000, 100_000), observed=(1000, 10_000))
    mg.manual_seed(options.seed)
    faults, figures = [], []
    for title, make, count in (
        (f"{options.steps:,} steps of a stream", stream, options.steps // WINDOW),
        (f"{options.steps:,} compiled", compiled, options.steps // WINDOW),
        (f"{options.observed:,} observed training steps", observed, options.observed),
    ):
        allocated, resident = grown(make(), count)
        figures.append(f"{title}: {allocated / 1024:+.1f} KiB allocated, {resident / 2**20:+.1f} MiB resident")
        if allocated > ALLOCATED or resident > RESIDENT:
            faults.append(figures[-1])
    conclude("streams", "; ".join(figures), faults)


if __name__ == "__main__":
    main()
