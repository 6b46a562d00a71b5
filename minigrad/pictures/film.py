"""A film of a graph: values forward, then gradients backward, as SVG that plays by itself or as GIF.

SVG is moved by its style sheet alone, without a script, so that it also plays as an image inside of a page. A reader
who wants less motion is shown the end: all values, coloured by the gradients' norms.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .drawing import ending_of, write
from .graph import Graph, GraphEdge
from .labels import SIZE
from .palette import INK, RED, norm_of
from .places import scene
from .playback import BY, Moment, playback
from .scene import PAD, Label, Line, Scene, Shape
from .svg import Writer, number
from .themes import check_theme

ENDINGS = ("svg", "gif")
FAINT = 0.2  # the opacity of what is still to come
FADE = 0.2  # seconds of a change
HOLD = {"": 0.4, "forward": 1.0, "backward": 3.0}  # seconds that the end of each phase stays, besides its own
FORWARD = "#4477AA"  # values as they are computed
CAPTIONS = {"forward": "forward: values", "backward": "backward: gradients"}
CAPTION = 20.0  # the height of that line
MOST = 400  # moments
GIF_DPI = 110


@dataclass(frozen=True)
class Film:
    """The pictures that a film is made of, and how long each moment takes.

    plain    the graph, as it is computed
    turned   the same with its gradients: colours by norm, edges turned around
    moments, seconds
             what is shown, and for how long
    flows    for each edge, True if a gradient flows along it
    """

    graph: Graph
    plain: Scene
    turned: Scene
    moments: list[Moment]
    seconds: list[float]
    flows: list[bool]

    # ---- how much of each thing is seen at a moment --------------------------------------------------------------

    def node(self, id: str, moment: Moment) -> float:
        """The opacity of a node as it is computed."""
        return 1.0 if id in moment.computed else FAINT

    def gradient(self, id: str, moment: Moment) -> float:
        """The opacity of a node in the colour of its gradient."""
        return moment.arrived.get(id, 0.0)

    def now(self, id: str, phase: str, moment: Moment) -> float:
        """The opacity of the ring around a node that is being computed, or whose gradient is arriving."""
        return float(moment.phase == phase and id in moment.now)

    def during(self, phase: str, moment: Moment) -> float:
        """The opacity of elements that are seen in one phase."""
        return float(moment.phase == phase)

    def edge(self, k: int, moment: Moment) -> float:
        """The opacity of an edge to its operation."""
        edge = self.graph.edges[k]
        if edge.target in moment.flowed and self.flows[k]:
            return 0.0
        return 1.0 if {edge.source, edge.target} <= moment.computed else FAINT

    def back(self, k: int, moment: Moment) -> float:
        """The opacity of an edge as the gradient flows."""
        return float(self.flows[k] and self.graph.edges[k].target in moment.flowed)


def animate(
    self: Graph, path: str | os.PathLike[str], *, by: str | None = None, seconds: float = 0.7, theme: str = "auto"
) -> Path:  # fmt: skip
    """Write the playback to a file that plays by itself: values forward, then gradients backward; the path.

    path     .svg, which needs nothing, plays inside of any page, and stands still for readers who want less motion;
             .gif is drawn by Matplotlib
    by       "operation", or "time": a time step at a time. None: "time" where there are steps and many operations
    seconds  for each
    theme    "light", "dark", or "auto": see `render`

    Colours are the norms of gradients, where the graph knows them: `mg.graph(f, x)`, or `grads=True`. With
    `backward=True` each edge shows the norm that flows along it. All of the file is written, or nothing.

    Raises ValueError for another ending or too many moments, OSError where the file cannot be written, ImportError for
    .gif without Matplotlib.
    """
    ending = ending_of("animate", path, ENDINGS)
    check_theme("animate", theme)
    if by is not None and by not in BY:
        raise ValueError(f"animate: by must be {' or '.join(map(repr, BY))}, got {by!r}")
    if self.options.color == "change":
        raise ValueError("animate: a film shows gradients, and this graph has changes; use .render() or .html()")
    if not seconds > 0:
        raise ValueError(f"animate: seconds must be positive, got {seconds}")
    found = film(self, by, seconds)
    return write(path, _svg(found, theme).encode() if ending == "svg" else _gif(found, theme))


def film(graph: Graph, by: str | None, seconds: float) -> Film:
    """Lay out and time a film."""
    moments = playback(graph, by)
    if len(moments) > MOST:
        raise ValueError(
            f"animate: {len(moments):,} moments are more than anybody watches; by='time', view= or depth= make fewer, "
            "and .html() writes a page to step through all of them"
        )
    moments.append(replace(moments[-1], now=frozenset()))
    ends = [k + 1 == len(moments) or moments[k + 1].phase != one.phase for k, one in enumerate(moments)]
    times = [seconds + HOLD[one.phase] * end for one, end in zip(moments, ends, strict=True)]
    bare = graph.options.replace(backward=False, color=None)
    norms = [norm_of(node) is not None for node in graph.nodes]
    known = any(norms)
    measured = any(edge.grad is not None for edge in graph.edges)
    plain = scene(graph.replace(options=bare))
    turned = scene(graph.replace(options=bare.replace(color="grad" if known else None, backward=measured)))
    flows = [_flows(edge, graph, known, measured) for edge in graph.edges]
    nodes = [b if on else a for a, b, on in zip(plain.nodes, turned.nodes, norms, strict=True)]
    turned = replace(turned, nodes=tuple(nodes))
    if not measured:
        lines = [_turned(line) if on else line for line, on in zip(turned.lines, flows, strict=True)]
        turned = replace(turned, lines=tuple(lines))
    (a, b, c, d), (e, f, g, h) = plain.bounds, turned.bounds
    bounds = (min(a, e), min(b, f) - CAPTION, max(c, g), max(d, h))
    note = tuple([label for label in turned.labels if label.text == graph.options.note])
    return Film(graph, replace(plain, bounds=bounds, labels=note), turned, moments, times, flows)


def _flows(edge: GraphEdge, graph: Graph, known: bool, measured: bool) -> bool:
    """True if a gradient flows along an edge."""
    ends = [node for node in graph.nodes if node.id in (edge.source, edge.target)]
    if edge.kind == "detached" or any(node.kind in ("detached", "input") and norm_of(node) is None for node in ends):
        return False
    return edge.grad is not None if measured else not known or all(norm_of(n) is not None or n.count > 1 for n in ends)


def _turned(line: Line) -> Line:
    """An edge as the gradient flows."""
    return replace(line, way=tuple(reversed(line.way)), color=RED, mark=None, dots=())


def _ring(shape: Shape, color: str) -> Shape:
    """A line around a node that is being computed, or whose gradient is arriving."""
    form = shape.form if shape.form in ("box", "circle", "ellipse") else "round"
    width, height = shape.width + 8, shape.height + 8
    return replace(shape, form=form, width=width, height=height, fill=None, stroke=color, thick=2.4, dash=(), labels=())


def _captions(film: Film) -> Iterator[tuple[Label, str]]:
    """The text below the picture, and the phase that it describes."""
    x0, y0, _, _ = film.plain.bounds
    for phase, text in CAPTIONS.items():
        yield Label(text, x0 + PAD, y0 + CAPTION / 2, SIZE, INK if phase == "forward" else RED, True, "start"), phase


# ---- SVG -------------------------------------------------------------------------------------------------------------


class _Sheet:
    """Classes of things that come and go alike; for each, how opaque it is through time."""

    def __init__(self, film: Film) -> None:
        self.film = film
        self.starts = [math.fsum(film.seconds[:k]) for k in range(len(film.seconds))]
        self.length = math.fsum(film.seconds)
        self.classes: dict[tuple[float, ...], str] = {}

    def group(self, opacity: Callable[[Moment], float], lines: Iterable[str]) -> Iterator[str]:
        """Lines that are seen as much as a function of the moment says; nothing, if they never are."""
        values = tuple([opacity(moment) for moment in self.film.moments])
        if not any(values):
            return
        name = self.classes.setdefault(values, f"a{len(self.classes)}")
        yield f'<g class="{name}">'
        yield from lines
        yield "</g>"

    def rules(self) -> Iterator[str]:
        """The style sheet. Without motion, all is as it is at the end."""
        for values, name in self.classes.items():
            motion = f"animation: {name} {number(self.length)}s linear infinite"
            yield f".{name} {{ opacity: {number(values[-1])}; {motion} }}"
            stops = [(0.0, values[0])]
            for start, before, value in zip(self.starts[1:], values, values[1:], strict=False):
                if value != before:
                    stops += [(start, before), (start + FADE, value)]
            stops += [(self.length - FADE, values[-1]), (self.length, values[0])]
            frames = " ".join(f"{number(100 * at / self.length)}% {{ opacity: {number(to)} }}" for at, to in stops)
            yield f"@keyframes {name} {{ {frames} }}"
        yield "@media (prefers-reduced-motion: reduce) { .minigrad g { animation: none } }"


def _svg(film: Film, theme: str) -> str:
    """The text of a file that plays by itself."""
    writer, sheet = Writer(theme), _Sheet(film)
    body: list[str] = []
    for frame in film.plain.frames:
        body += [*writer.shape(frame), *map(writer.label, frame.labels)]
    for k, (line, back) in enumerate(zip(film.plain.lines, film.turned.lines, strict=True)):
        body += sheet.group(partial(film.edge, k), writer.line(line))
        body += sheet.group(partial(film.back, k), writer.line(back))
    for node, colored in zip(film.plain.nodes, film.turned.nodes, strict=True):
        for phase, color in (("forward", FORWARD), ("backward", RED)):
            body += sheet.group(partial(film.now, node.id, phase), writer.shape(_ring(node, color)))
        body += sheet.group(partial(film.node, node.id), _written(writer, node))
        if colored != node:
            body += sheet.group(partial(film.gradient, node.id), _written(writer, colored))
    body += map(writer.label, film.plain.labels)
    legend = [writer.swatch(*one) for one in film.turned.swatches]
    legend += [writer.label(one) for one in film.turned.labels if one not in film.plain.labels]
    body += sheet.group(partial(film.during, "backward"), legend)
    for label, phase in _captions(film):
        body += sheet.group(partial(film.during, phase), [writer.label(label)])
    style = ["<style>", *sheet.rules(), "</style>"]
    return "\n".join([*writer.head(film.plain.bounds), *style, *body, "</svg>"]) + "\n"


def _written(writer: Writer, shape: Shape) -> Iterator[str]:
    yield from writer.shape(shape)
    yield from map(writer.label, shape.labels)


# ---- GIF -------------------------------------------------------------------------------------------------------------


def _gif(film: Film, theme: str) -> bytes:
    """A picture for each moment, drawn by Matplotlib. Raises ImportError without it."""
    try:
        from PIL import Image

        from .plots import plotted
    except ModuleNotFoundError as error:
        raise ImportError(
            "to draw .gif, install matplotlib (pip install 'minigrad[viz]'); .svg needs nothing"
        ) from error
    frames = [Image.open(io.BytesIO(plotted(frame, "png", theme, GIF_DPI))).convert("RGB") for frame in _frames(film)]
    both = Image.new("RGB", (frames[0].width, 2 * frames[0].height))  # one table of colours for all, or they flicker
    both.paste(frames[[one.phase for one in film.moments].index("backward") - 1], (0, 0))
    both.paste(frames[-1], (0, frames[0].height))
    reduced = both.quantize(256, kmeans=2)
    found = [frame.quantize(palette=reduced, dither=Image.Dither.NONE) for frame in frames]
    table: Any = found[0].getpalette()
    paper: Any = found[0].getpixel((0, 0))
    table[3 * paper : 3 * paper + 3] = both.getpixel((0, 0))  # exactly, or the film stands out from its page
    for frame in found:
        frame.putpalette(table)
    out = io.BytesIO()
    times = [round(1000 * seconds) for seconds in film.seconds]
    found[0].save(out, "GIF", save_all=True, append_images=found[1:], duration=times, loop=0)
    return out.getvalue()


def _frames(film: Film) -> Iterator[Scene]:
    """The picture of each moment."""
    plain, turned = film.plain, film.turned
    for moment in film.moments:
        lines = [replace(line, opacity=film.edge(k, moment)) for k, line in enumerate(plain.lines)]
        lines += [replace(line, opacity=film.back(k, moment)) for k, line in enumerate(turned.lines)]
        nodes: list[Shape] = []
        for node, colored in zip(plain.nodes, turned.nodes, strict=True):
            share = film.gradient(node.id, moment) * (colored != node)
            nodes += [
                replace(_ring(node, FORWARD), opacity=film.now(node.id, "forward", moment)),
                replace(_ring(node, RED), opacity=film.now(node.id, "backward", moment)),
                replace(node, opacity=film.node(node.id, moment) * (share < 1)),
                replace(colored, opacity=share, labels=colored.labels * (share == 1)),
            ]
        back = moment.phase == "backward"
        labels = (
            *(turned if back else plain).labels,
            *[one for one, phase in _captions(film) if phase == moment.phase],
        )
        seen = tuple([one for one in lines if one.opacity]), tuple([one for one in nodes if one.opacity])
        yield Scene(plain.bounds, plain.frames, *seen, labels, turned.swatches if back else ())
