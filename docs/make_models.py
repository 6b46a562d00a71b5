"""Make the pictures of docs/models.md: `python docs/make_models.py [folder]`, docs/models if none.

Each shows a model as in its file: inputs below, outputs above, the path of the state through time in red.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from drawing import LINE, Boxes, Place, save, style
from matplotlib.figure import Figure

from nn.diagnose.result import BLUE, GOLD, GREEN, RED

FOLDER = Path(__file__).parent / "models"


def stacked(d: Boxes, columns: Sequence[Sequence[Place]]) -> None:
    """Arrows upward in each column."""
    for column in columns:
        for below, above in pairwise(column):
            d.up(below, above)


def labels(d: Boxes, texts: Sequence[str], x: float = -0.65) -> None:
    """A name for each row, on its left."""
    for y, text in enumerate(texts):
        d.text(x, y, text, ha="right")


def language_model() -> Figure:
    """Each word is guessed from those before it."""
    d, words = Boxes(4.6, 6.0, left=2.2), ["the", "cat", "sat", "down"]
    tokens = [d.box(1.2 * k, 0, word, BLUE, 0.66) for k, word in enumerate(words[:3])]
    vectors = [d.box(1.2 * k, 1, f"$v_{k + 1}$", GREEN) for k in range(3)]
    lower, upper = (d.chain(y, ["LSTM"] * 3, pitch=1.2) for y in (2, 3))
    maps = [d.box(1.2 * k, 4, "out", RED) for k in range(3)]
    guessed = [d.box(1.2 * k, 5, word, GOLD, 0.66) for k, word in enumerate(words[1:])]
    stacked(d, list(zip(tokens, vectors, lower, upper, maps, guessed, strict=True)))
    labels(d, ["words so far", "embedding", "layer 1", "layer 2", "softmax", "the next word"])
    return d.drawing


def tagger() -> Figure:
    """Words with their letters, both directions, and tags decoded jointly."""
    d, words, tags = Boxes(5.3, 6.0, left=2.4), ["Anna", "met", "Paul", "Klee"], ["B-PER", "O", "B-PER", "I-PER"]
    pitch = 1.25
    tokens = [d.box(pitch * k, 0, word, BLUE, 0.66) for k, word in enumerate(words)]
    vectors = [d.box(pitch * k, 1, f"$[v_{k + 1}, c_{k + 1}]$", GREEN, 0.78) for k in range(4)]
    layers = [[d.box(pitch * k, y, arrow) for k in range(4)] for y, arrow in ((2, "→"), (3, "←"))]
    emissions = [d.box(pitch * k, 4, f"$e_{k + 1}$") for k in range(4)]
    chosen = [d.box(pitch * k, 5, tag, GOLD, 0.74) for k, tag in enumerate(tags)]
    for row in (layers[0], layers[1][::-1]):
        for a, b in pairwise(row):
            d.along(a, b)
    for k in range(4):
        x = pitch * k
        d.up(tokens[k], vectors[k])
        d.up(vectors[k], layers[0][k])
        d.arrow((x + 0.3, 1.2), (x + 0.2, 2.78), bend=0.25)
        d.arrow((x - 0.2, 2.22), (x - 0.3, 3.78), bend=-0.25)
        d.up(layers[1][k], emissions[k])
        d.up(emissions[k], chosen[k])
    for a, b in pairwise(chosen):
        d.ax.plot([a[0] + 0.4, b[0] - 0.4], [a[1], b[1]], color=GOLD, linewidth=1.6)
    labels(d, ["words", "vectors of word and letters", "forward", "backward", "emissions", "tags, joined by the CRF"])
    return d.drawing


def written(d: Boxes, first: float, given: Sequence[str], guessed: Sequence[str], pitch: float = 1.3) -> list[Place]:
    """A decoder that generates a sequence; returns the positions of its cells."""
    cells = d.chain(1, ["cell"] * len(given), start=first, pitch=pitch)
    for k, cell in enumerate(cells):
        d.up(d.box(cell[0], 0, given[k], BLUE, 0.66), cell)
        d.up(cell, d.box(cell[0], 2, guessed[k], GOLD, 0.66))
    for cell in cells[:-1]:
        d.feed((cell[0] + 0.06, 2), (cell[0] + pitch - 0.06, 0))
    return cells


def captioner() -> Figure:
    """A vector is the first state of the decoder."""
    d = Boxes(6.6, 3.0, below=0.3)
    v, bridge = d.box(0, 0, "v", BLUE), d.box(0, 1, "bridge", RED, 0.72)
    d.up(v, bridge)
    cells = written(d, 1.4, ["bos", "a", "red", "ball"], ["a", "red", "ball", "eos"])
    d.arrow((0.4, 1), (cells[0][0] - 0.3, 1), state=True)
    return d.drawing


def seq2seq() -> Figure:
    """An encoder, attention, and a decoder."""
    d = Boxes(9.0, 4.2, below=0.5)
    encoder = d.chain(1, ["cell"] * 4, pitch=1.0)
    for k, cell in enumerate(encoder):
        d.up(d.box(k, 0, f"$x_{k + 1}$", BLUE), cell)
    bridge = d.box(4.1, 1, "bridge", RED, 0.72)
    d.arrow((3.3, 1), (3.7, 1), state=True)
    cells = written(d, 5.4, ["bos", "$y_1$", "$y_2$"], ["$y_1$", "$y_2$", "eos"])
    d.arrow((bridge[0] + 0.4, 1), (cells[0][0] - 0.3, 1), state=True)
    d.box(1.5, 3, "attention", GREEN, 1.0)
    for k, cell in enumerate(encoder):
        d.arrow((cell[0], 1.22), (1.2 + 0.2 * k, 2.78))
    for cell in cells:
        d.arrow((cell[0] - 0.45, 3), (cell[0] - 0.2, 1.22), elbow=True)
    d.ax.plot([2.03, cells[-1][0] - 0.45], [3, 3], color=LINE, linewidth=1.0)
    d.text(2.3, 3.2, "for each step a mean of the encoder's outputs, with weights of its own")
    d.text(1.5, -0.62, "encoder", ha="center")
    d.text(6.7, -0.62, "decoder", ha="center")
    return d.drawing


PICTURES: dict[str, Callable[[], Figure]] = {
    "language-model.svg": language_model, "tagger.svg": tagger, "captioner.svg": captioner, "seq2seq.svg": seq2seq,
}  # fmt: skip


def make_all(folder: Path = FOLDER) -> list[Path]:
    """Write all pictures; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        return [save(make(), folder / name) for name, make in PICTURES.items()]


if __name__ == "__main__":
    for path in make_all(*map(Path, sys.argv[1:2])):
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")
