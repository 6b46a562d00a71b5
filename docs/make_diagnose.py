"""Make the pictures of docs/diagnose.md: `python docs/make_diagnose.py [folder]`, docs/diagnose if none.

Most are plots made by the page's own code. `report.svg` shows the page that the report of that code writes;
`four-networks.svg` is a plot of examples/vanishing_gradients.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from drawing import adapt, examples, pictures_of, save, style

import minigrad as mg
import nn

HERE = Path(__file__).parent
FOLDER = HERE / "diagnose"
SAVES = 'found.save("report.html")'
REPORT_SIZE = (860, 1350)  # of the page in a browser: the height is that of its longer column


def make_plots(folder: Path = FOLDER) -> list[Path]:
    """Write the page's plots; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        return [save(made, folder / name) for name, made in pictures_of(HERE / "diagnose.md")]


def make_report(path: Path) -> Path:
    """Write the page of the report, as HTML in an SVG, so that it follows the reader's theme; returns its path."""
    with style():
        found = next(names["found"] for example, names in examples(HERE / "diagnose.md") if SAVES in example.source)
    width, height = REPORT_SIZE
    page = found._repr_html_().replace("<div", '<div xmlns="http://www.w3.org/1999/xhtml"', 1)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        f'<foreignObject width="{width}" height="{height}">{page}</foreignObject>\n</svg>\n',
        encoding="utf-8",
    )
    return path


def make_four(path: Path) -> Path:
    """Write the plot of the gradient in the example's four networks; returns its path."""
    sys.path.insert(0, str(HERE.parent / "examples"))
    from vanishing_gradients import draw_flow, make_layers

    flows = {}
    with style():
        layers = make_layers(4, 32)
        xs = 0.01 * mg.randn(60, 8, 4, dtype=np.float64)
        for name, layer in layers.items():
            outputs, _, states = layer(xs, return_states=True)
            carried = states.c if hasattr(states, "c") else states.h
            flows[name] = nn.diagnose.gradient_flow((outputs[-1] ** 2).sum(), carried)
        draw_flow(flows, path)
    return adapt(path)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for written in [*make_plots(target), make_report(target / "report.svg"), make_four(target / "four-networks.svg")]:
        print(f"{written} ({written.stat().st_size / 1000:.0f} kB)")
