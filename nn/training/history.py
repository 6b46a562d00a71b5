"""History: the measurements of a training run, as a list of records and as a picture."""

from __future__ import annotations

import io
from html import escape
from typing import Any

from .files import StrPath


class History(list[dict[str, Any]]):
    """A list of records, dicts with "epoch" (from 1), "step" (from 1) and the measurements of that time:

    "loss", "lr", "grad_norm"           of single steps; the norm is before clipping, if the optimizer computes it
    "mean_loss", "validation", "lr"     of whole epochs
    """

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """The steps at which a quantity was measured, and its values."""
        found = [(record["step"], record[name]) for record in self if name in record]
        return [step for step, _ in found], [value for _, value in found]

    def _repr_html_(self) -> str:
        """A table of the epochs, or of the last steps if none is complete; and the picture, with matplotlib."""
        epochs = [record for record in self if "mean_loss" in record]
        shown = epochs or self[-10:]
        names = list(dict.fromkeys(name for record in shown for name in record))
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        rows = "".join("<tr>" + "".join(f"<td>{_number(record.get(name))}</td>" for name in names) + "</tr>"
                       for record in shown)  # fmt: skip
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        try:
            figure = self.plot()
        except ImportError:
            return table
        picture = io.StringIO()
        figure.savefig(picture, format="svg")
        return table + picture.getvalue()[picture.getvalue().index("<svg") :]

    def plot(self, path: StrPath | None = None) -> Any:
        """Losses and, below, the learning rate and the norm of the gradient, over steps.

        path  a file to write the picture to: .png, .svg, .pdf

        Returns the matplotlib Figure. Raises ImportError without matplotlib.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("History.plot needs matplotlib: pip install 'minigrad[viz]'") from error
        below = {"lr": "learning rate", "grad_norm": "norm of the gradient"}
        below = {name: label for name, label in below.items() if self.column(name)[0]}
        figure = Figure(figsize=(7, 3 + 1.5 * len(below)), layout="constrained")
        axes = figure.subplots(1 + len(below), sharex=True, squeeze=False, height_ratios=[2.5] + [1] * len(below))
        losses, *others = axes[:, 0]
        for name, label, style in (
            ("loss", "loss of a step", {"color": "0.7", "linewidth": 0.8}),
            ("mean_loss", "mean of an epoch", {"color": "C0", "marker": "."}),
            ("validation", "validation", {"color": "C1", "marker": "."}),
        ):
            steps, values = self.column(name)
            if steps:
                losses.plot(steps, values, label=label, **style)
        if losses.lines:
            losses.legend()
        losses.set_ylabel("loss")
        for ax, (name, label) in zip(others, below.items(), strict=True):
            ax.plot(*self.column(name), linewidth=0.8)
            ax.set_ylabel(label)
        axes[-1, 0].set_xlabel("step")
        if path is not None:
            figure.savefig(path)
        return figure


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else escape(str(value))
