"""The effect of truncated back-propagation on the gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.backward import key_of
from minigrad.leaves import seed

from ..layers.dropout import undropped
from ..modules import Module, beside
from ..sequences.packing import checked_lengths
from ..sequences.truncation import detach
from ..training.files import StrPath
from .result import BLUE, GREY, RED, Array, Result, drawing

NEAR = 0.9  # a cosine from which on the direction counts as kept


@dataclass(frozen=True, repr=False, eq=False)
class TruncationReport(Result):
    """The truncated gradient g_k compared with the full one, g, for windows of k steps.

    ks          (K,): the windows' lengths
    cosine      (K,): ⟨g_k, g⟩ / ‖g_k‖‖g‖ over all parameters together; NaN where one of them is zero
    ratio       (K,): ‖g_k‖ / ‖g‖
    cosines, ratios   the same for each parameter by its name
    """

    ks: Array
    cosine: Array
    ratio: Array
    cosines: Mapping[str, Array] = field(repr=False)
    ratios: Mapping[str, Array] = field(repr=False)

    @property
    def verdict(self) -> str:
        """The smallest k that keeps the direction."""
        good = np.flatnonzero(self.cosine >= NEAR)
        if np.isnan(self.cosine).all():
            return "no window keeps anything of the gradient"
        if not good.size:
            k, best = self.ks[np.nanargmax(self.cosine)], np.nanmax(self.cosine)
            return f"no window keeps the direction of the gradient; the best, {_steps(k)}, has a cosine of {best:.2g}"
        k = good[0]
        norm = f"{self.ratio[k]:.3g} {'of' if self.ratio[k] < 1 else 'times'} its norm"
        cosine = f"a cosine of {self.cosine[k]:.3g}"
        return f"windows of {_steps(self.ks[k])} keep the direction of the gradient: {cosine}, and {norm}"

    def _table(self) -> tuple[list[str], list[list[Any]]]:
        return ["k", "cosine", "norm ratio"], [list(row) for row in zip(self.ks, self.cosine, self.ratio, strict=True)]

    def plot(self, path: StrPath | None = None) -> Any:
        """Cosine and norm ratio over k, single parameters in grey. Returns the matplotlib Figure, and writes it to
        `path`."""
        with drawing("TruncationReport", path, 7.2, 3.2) as figure:
            pairs = ((self.cosine, self.cosines, "cosine"), (self.ratio, self.ratios, "‖truncated‖ / ‖full‖"))
            for ax, (whole, single, title) in zip(figure.subplots(1, 2), pairs, strict=True):
                for values in single.values():
                    ax.plot(self.ks, values, color=GREY, linewidth=0.8, alpha=0.8)
                ax.plot(self.ks, whole, color=BLUE, marker=".")
                ax.axhline(1, color=RED, linewidth=0.8)
                ax.set_xscale("log", base=2)
                ax.set_xticks(self.ks, [str(k) for k in self.ks])
                ax.minorticks_off()
                ax.set(xlabel="steps k in a window", title=title)
            figure.suptitle(self.verdict, x=0.01, ha="left", fontsize=10)
        return figure


def _steps(count: int) -> str:
    return f"{count} step{'s' if count > 1 else ''}"


def truncation_report(
    layer: Any, xs: Any, loss_fn: Callable[[Any], Any], ks: Sequence[int] | None = None, *, state: Any = None,
    lengths: Any = None, mask: Any = None, parameters: Mapping[str, mg.Tensor] | None = None,
) -> TruncationReport:  # fmt: skip
    """Direction and size of the gradient of truncated back-propagation, in windows of k steps, relative to the full
    one.

    layer       a layer over time
    xs          its input, (T, N, D), or (N, T, D) with batch_first
    loss_fn     from the outputs (T, N, H) of all steps to a scalar loss
    ks          lengths of windows; 1, 2, 4, ... up to T if None
    state, lengths, mask   as for the layer
    parameters  by name; those of the layer if None

    The state is detached at the end of each window, as in `nn.TBPTT(k)` (Williams & Peng 1990), so the loss at a step
    reaches back to the beginning of its window. Values do not change, only the gradient does. The layer runs once for
    the full gradient and once for each k.

    >>> import minigrad as mg, nn
    >>> report = nn.diagnose.truncation_report(nn.GRU(3, 5), mg.randn(16, 2, 3), lambda y: (y[-1] ** 2).sum())
    >>> report.ks
    array([ 1,  2,  4,  8, 16])

    Raises ValueError for a k outside 1 to T, if the layer's outputs in windows differ from those at once (a backward
    direction, or dropout: call `layer.eval()`), or if the loss depends on none of the parameters.
    """
    xs = beside(layer, xs)
    time = 1 if getattr(undropped(layer), "batch_first", False) else 0
    if xs.ndim < 2:
        raise ValueError(f"truncation_report: expected an input (T, N, D), got shape {xs.shape}")
    if xs.ndim == 2:
        time = 0
    T = xs.shape[time]
    ks = [2**j for j in range(T.bit_length())] if ks is None else list(ks)
    if not ks or any(isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= T for k in ks):
        raise ValueError(f"truncation_report: ks must be integers from 1 to T = {T}, got {ks}")
    if parameters is None:
        if not isinstance(layer, Module):
            raise TypeError(f"truncation_report: {type(layer).__name__} is not a Module; pass its parameters by name")
        parameters = dict(layer.named_parameters())
    parameters = {name: p for name, p in parameters.items() if p.requires_grad}
    mask = _mask(xs, time, lengths, mask)
    random = mg.get_random_state()

    def run(k: int) -> tuple[Any, dict[str, Array]]:
        mg.set_random_state(random)
        outputs, carried = [], state
        for t in range(0, T, k):
            window = (slice(None),) * time + (slice(t, t + k),)
            more = {} if mask is None else {"mask": mask[window]}
            output, carried = layer(xs[window], carried, **more)
            outputs.append(output)
            carried = detach(carried)
        joined = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=time)
        return joined.data, _gradients(loss_fn(joined), parameters)

    whole, full = run(T)
    if not any(g.any() for g in full.values()):
        raise ValueError("truncation_report: the loss has no gradient by any of the parameters")
    cosines: dict[str, list[float]] = {name: [] for name in [*parameters, ""]}
    ratios: dict[str, list[float]] = {name: [] for name in [*parameters, ""]}
    for k in ks:
        output, part = run(int(k))
        if not bool(np.allclose(output, whole, rtol=1e-3, atol=1e-5)):
            raise ValueError(
                f"truncation_report: the layer gives other outputs in windows of {k} steps than at once. A backward "
                "direction cannot be cut; where dropout or zoneout is the reason, call layer.eval()"
            )
        for name in parameters:
            _compare(part[name], full[name], cosines[name], ratios[name])
        joined = [np.concatenate([g.reshape(-1) for g in each.values()]) for each in (part, full)]
        _compare(joined[0], joined[1], cosines[""], ratios[""])
    cosine, ratio = np.array(cosines.pop("")), np.array(ratios.pop(""))
    return TruncationReport(
        np.array(ks), cosine, ratio, {n: np.array(v) for n, v in cosines.items()},
        {n: np.array(v) for n, v in ratios.items()},
    )  # fmt: skip


def _mask(xs: Any, time: int, lengths: Any, mask: Any) -> Any:
    """A mask in the layout of xs, which can be cut into windows; None if every step is real."""
    if mask is not None:
        return mask.data if isinstance(mask, mg.Tensor) else np.asarray(mask) if isinstance(mask, list) else mask
    if lengths is None:
        return None
    T, N = xs.shape[time], xs.shape[1 - time]
    real = np.arange(T)[:, None] < checked_lengths("truncation_report", lengths, T, N)
    return real.T if time else real


def _gradients(loss: mg.Tensor, parameters: Mapping[str, mg.Tensor]) -> dict[str, Array]:
    """The gradient of the loss by each parameter, in float64; no `.grad` changes."""
    found = mg.walk(
        [(loss.edge or loss, seed(loss, None, "truncation_report"))],
        wanted={key_of(p.edge or p) for p in parameters.values()},
        within=True,
    )
    gradients = {}
    for name, p in parameters.items():
        g = found.get(key_of(p.edge or p))
        g = g.dense() if isinstance(g, mg.RowSparse) else g
        gradients[name] = np.zeros(p.shape) if g is None else backend.to_numpy(g).astype(np.float64)
    return gradients


def _compare(part: Array, full: Array, cosines: list[float], ratios: list[float]) -> None:
    sizes = float(np.linalg.norm(part)), float(np.linalg.norm(full))
    cosines.append(float(np.vdot(part, full)) / (sizes[0] * sizes[1]) if all(sizes) else np.nan)
    ratios.append(sizes[0] / sizes[1] if sizes[1] else np.nan)
