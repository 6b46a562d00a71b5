"""A scene as TikZ: `\\input{graph.tex}` in a document with `\\usepackage{tikz}`. It uses the document's fonts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .detours import Point
from .scene import Label, Line, Scene, Shape
from .scripts import clusters, tex, tex_letter
from .themes import themed

Namer = Callable[[str], str]  # a colour's name in the document


def tikz(scene: Scene, theme: str = "light") -> str:
    """The picture's text."""
    colors: dict[str, str] = {}

    def name(color: str) -> str:
        return colors.setdefault(themed(color, theme)[:7].upper(), f"mg{len(colors)}")

    body: list[str] = []
    for frame in scene.frames:
        body += _shape(frame, name)
    for line in scene.lines:
        body += _line(line, name)
    for node in scene.nodes:
        body += _shape(node, name)
    for (a, b, c, d), color in scene.swatches:
        body.append(rf"\fill[{name(color)}] {_p((a, b))} rectangle {_p((c, d))};")
    body += [_label(one, name) for one in scene.labels]
    defined = [rf"\definecolor{{{key}}}{{HTML}}{{{color[1:]}}}" for color, key in colors.items()]
    return (
        "\n".join([*defined, r"\begin{tikzpicture}[x=1pt,y=1pt,line join=round]", *body, r"\end{tikzpicture}"]) + "\n"
    )


def _shape(one: Shape, name: Namer) -> Iterator[str]:
    options = []
    if one.fill is not None:
        opacity = f",fill opacity={int(one.fill[7:], 16) / 255:.3g}" if len(one.fill) > 7 else ""
        options.append(f"fill={name(one.fill)}{opacity}")
    if one.stroke is not None:
        options.append(f"draw={name(one.stroke)},line width={one.thick:g}pt")
    if one.dash:
        options.append("dash pattern=on {:g}pt off {:g}pt".format(*one.dash[:2]))
    x0, y0, x1, y1 = one.rect()
    if one.form in ("ellipse", "circle"):
        radii = f"({one.width / 2:.4g} and {one.height / 2:.4g})"
        yield rf"\path[{','.join(options)}] {_p((one.x, one.y))} ellipse {radii};"
    elif one.form != "none":
        corners = ["rounded corners=5pt"] if one.form in ("round", "frame", "pages") else []
        look = ",".join([*options, *corners])
        if one.form == "pages":
            yield rf"\path[{look}] {_p((x0 + 3, y0 + 3))} rectangle {_p((x1 + 3, y1 + 3))};"
        yield rf"\path[{look}] {_p((x0, y0))} rectangle {_p((x1, y1))};"
    for label in one.labels:
        yield _label(label, name)


def _line(line: Line, name: Namer) -> Iterator[str]:
    way = line.way
    pieces = "".join(
        f" .. controls {_p(way[k + 1])} and {_p(way[k + 2])} .. {_p(way[k + 3])}" for k in range(0, len(way) - 1, 3)
    )
    dash = ",dash pattern=on {:g}pt off {:g}pt".format(*line.dash[:2]) if line.dash else ""
    yield rf"\draw[{name(line.color)},line width={line.thick:g}pt,-stealth{dash}] {_p(way[0])}{pieces};"
    for dot in line.dots:
        yield rf"\fill[{name(line.color)}] {_p(dot)} circle (1.6);"
    if line.mark is not None:
        yield _label(line.mark, name)


def _label(one: Label, name: Namer) -> str:
    text = f"${tex(one.text)}$" if one.scripts else _words(one.text)
    text = rf"\textbf{{{text}}}" if one.bold else text
    anchor = ",anchor=west" if one.anchor == "start" else ""
    size = rf"\fontsize{{{one.size:g}}}{{{one.size * 1.2:g}}}\selectfont"
    return rf"\node[{name(one.color)},inner sep=0pt{anchor},font={size}] at {_p((one.x, one.y))} {{{text}}};"


def _words(text: str) -> str:
    """Plain text in TeX: special characters escaped, mathematical signs as commands."""
    out = []
    for letter in clusters(text):
        code = tex_letter(letter)
        plain = letter.isascii() and code == letter
        out.append(letter if plain else code if code in (r"\%", r"\&", r"\#", r"\$", r"\_") else f"${code}$")
    return "".join(out)


def _p(point: Point) -> str:
    return f"({point[0]:.2f},{point[1]:.2f})"
