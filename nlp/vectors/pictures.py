"""Words in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.diagnose.result import BLUE, COLORS, drawing
from nn.training.files import StrPath

if TYPE_CHECKING:
    from .wordvectors import WordVectors

Array = Any


def plot(
    vectors: WordVectors, words: Sequence[str] | Mapping[str, Sequence[str]], path: StrPath | None, method: str,
    title: str | None, seed: int,
) -> Any:  # fmt: skip
    """See `WordVectors.plot`."""
    if isinstance(words, str):
        raise TypeError(f"WordVectors.plot: give a list of words, such as {words.split()}")
    if method not in ("pca", "tsne"):
        raise ValueError(f"WordVectors.plot: method must be 'pca' or 'tsne', not {method!r}")
    groups = dict(words) if isinstance(words, Mapping) else {"": list(words)}
    names = [word for group in groups.values() for word in group]
    if len(names) < 3:
        raise ValueError(f"WordVectors.plot: at least three words are needed, not {len(names)}")
    directions = vectors.unit(names)  # (N, D)
    places = pca(directions) if method == "pca" else tsne(directions, seed)  # (N, 2)
    with drawing("WordVectors", path, 8, 6) as figure:
        ax = figure.subplots()
        start = 0
        for k, (group, members) in enumerate(groups.items()):
            mine = places[start : start + len(members)]
            color = COLORS[k % len(COLORS)] if len(groups) > 1 else BLUE
            ax.scatter(*mine.T, s=14, color=color, label=group, linewidths=0, zorder=3)
            start += len(members)
        ax.set(xticks=[], yticks=[], title=title or "")
        ax.margins(0.08)
        ax.spines[:].set_visible(False)  # coordinates have no meaning
        if len(groups) > 1:
            ax.legend(frameon=False)
        _label(figure, ax, places, names)
    return figure


def pca(x: Array) -> Array:
    """(N, 2): the coordinates of (N, D) along the two directions of largest variance."""
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    places = u[:, :2] * s[:2]  # (N, 2), or (N, 1) for D = 1
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def tsne(x: Array, seed: int) -> Array:
    """(N, 2) by t-SNE, from the library scikit-learn."""
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ImportError("WordVectors.plot(method='tsne') needs scikit-learn: pip install 'minigrad[tsne]'") from error
    perplexity = min(30, (len(x) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(x)


def _label(figure: Any, ax: Any, places: Array, names: Sequence[str]) -> None:
    """Write each word beside its point, on a side where it covers neither a label nor a point; or omit it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.draw_without_rendering()  # positions are known only after drawing
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    points = ax.transData.transform(places)  # (N, 2) pixels
    frame = ax.get_window_extent(renderer)
    legend = ax.get_legend()
    taken = [] if legend is None else [legend.get_window_extent(renderer)]
    sides: list[tuple[tuple[float, float], str, str]] = [
        ((4, 0), "left", "center"),
        ((-4, 0), "right", "center"),
        ((0, 3), "center", "bottom"),
        ((0, -3), "center", "top"),
    ]
    for name, place in zip(names, places, strict=True):
        for offset, ha, va in sides:
            text = ax.annotate(name, place, offset, textcoords="offset points", ha=ha, va=va, fontsize=8)
            box = text.get_window_extent(renderer)
            inside = np.all((points > box.min) & (points < box.max), axis=1)
            fits = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if fits and not inside.any() and not box.count_overlaps(taken):
                taken.append(box)
                break
            text.remove()
