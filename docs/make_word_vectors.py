"""Make the pictures of docs/word-vectors.md: `python docs/make_word_vectors.py [folder]`, docs/word-vectors if none.

The windows are drawn by hand. The graphs are those of the loss of one window, before training; the map is that of
examples/word2vec.py.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from drawing import Boxes, save, style
from matplotlib.figure import Figure

import minigrad as mg
import nlp
from nlp.word2vec import WindowLoss
from nn.diagnose.result import BLUE, GOLD, GREEN, GREY

HERE = Path(__file__).parent
SENTENCE = ["I", "go", "to", "the", "mall", "today"]


def graph(mode: str, loss: str) -> mg.Graph:
    """The graph for "to" in "I go _ the mall", distinguished from "today"."""
    mg.manual_seed(0)
    vocabulary = nlp.Vocabulary().fit([SENTENCE])
    objective = WindowLoss(vocabulary.counts, 4, mode, loss)
    context = vocabulary.encode(["I", "go", "the", "mall"])
    negatives = vocabulary.encode(["today"]) if loss == "negative" else None
    return mg.graph(objective, context, vocabulary["to"], negatives, shapes=True)


GRAPHS = {"cbow.svg": ("cbow", "softmax"), "skip-gram.svg": ("skipgram", "negative")}


def make_graphs(folder: Path) -> list[Path]:
    """Write the graphs and the windows; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        drawn = save(windows(), folder / "windows.svg")
    return [drawn, *(graph(*kind).render(folder / name) for name, kind in GRAPHS.items())]


def windows() -> Figure:
    """Both models over the window "go to the": from the neighbours to the middle, and from the middle to them."""
    d = Boxes(7.6, 4.6, below=0.5, left=0.9)
    for label, y in (("guessed", 3.4), ("h", 2.3), ("vector", 1.1), ("given", 0.0)):
        d.text(-0.5, y, label, ha="right")
    hidden, out = d.box(1, 2.3, "Σ", GREY), d.box(1, 3.4, "to", GOLD)
    for x, word in ((0, "go"), (2, "the")):
        given, vector = d.box(x, 0, word, BLUE), d.box(x, 1.1, f"$v_{{{word}}}$", GREEN)
        d.up(given, vector)
        d.arrow((x, 1.32), (0.85 + 0.15 * x, 2.08))
    d.text(1, 0, "to", "#999999", ha="center", fontsize=11)
    d.up(hidden, out)
    d.text(1.15, 2.85, "U, softmax")
    d.text(1, -0.62, "CBOW", ha="center", fontsize=11)
    given, vector = d.box(5, 0, "to", BLUE), d.box(5, 1.1, "$v_{to}$", GREEN)
    d.up(given, vector)
    for x, word in ((4, "go"), (6, "the")):
        d.box(x, 3.4, word, GOLD)
        d.arrow((4.85 + 0.15 * (x - 4), 1.32), (x, 3.18))
        d.text(x, 0, word, "#999999", ha="center", fontsize=11)
    d.text(5, 2.85, "U, softmax", ha="center")
    d.text(5, -0.62, "skip-gram", ha="center", fontsize=11)
    return d.drawing


def make_map(path: Path) -> None:
    """The words of Python's documentation, drawn as in the example."""
    sys.path.insert(0, str(HERE.parent / "examples"))
    from word2vec import GROUPS

    with tempfile.TemporaryDirectory() as out:
        example = HERE.parent / "examples" / "word2vec.py"
        subprocess.run([sys.executable, str(example), "--out", out], check=True, stdout=subprocess.DEVNULL)
        vectors = nlp.WordVectors.load(Path(out, "vectors.txt"))
    groups = {name: [word for word in group if word in vectors] for name, group in GROUPS.items()}
    with style():
        save(vectors.plot(groups), path)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "word-vectors"
    make_graphs(target)
    make_map(target / "map.svg")
