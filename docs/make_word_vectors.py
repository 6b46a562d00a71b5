"""Make the pictures of docs/word-vectors.md: `python docs/make_word_vectors.py [folder]`, docs/word-vectors if none.

The graphs are those of the loss of one window, before training; the map is that of examples/word2vec.py.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

import minigrad as mg
import nlp
from nlp.word2vec import WindowLoss

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
    """Write the graphs; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [graph(*kind).render(folder / name) for name, kind in GRAPHS.items()]


def make_map(path: Path) -> None:
    """The words of Python's documentation, drawn as in the example."""
    sys.path.insert(0, str(HERE.parent / "examples"))
    from word2vec import GROUPS

    with tempfile.TemporaryDirectory() as out:
        example = HERE.parent / "examples" / "word2vec.py"
        subprocess.run([sys.executable, str(example), "--out", out], check=True, stdout=subprocess.DEVNULL)
        vectors = nlp.WordVectors.load(Path(out, "vectors.txt"))
    groups = {name: [word for word in group if word in vectors] for name, group in GROUPS.items()}
    with mpl.rc_context({"svg.hashsalt": "word vectors"}):
        vectors.plot(groups).savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "word-vectors"
    make_graphs(target)
    make_map(target / "map.svg")
