"""Make the pictures of docs/decoding.md: `python docs/make_decoding.py [folder]`, docs/decoding if none.

The trees are of the searches on the page. The map is that of a small network that learns to reverse sequences of words,
which takes some seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from drawing import adapt, save, style

import minigrad as mg
import nlp
import nn

HERE = Path(__file__).parent
CORPUS = [
    "the cat sleeps", "the dog barks", "the rain falls", "the sun shines", "the wind blows",
    "dogs bark", "dogs bark", "dogs bark loudly", "dogs sleep",
]  # fmt: skip
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SOURCE = ["one", "five", "two", "eight", "nine", "three", "</s>"]


class Pairs:
    """A model in which a word depends on the previous one, by counts from a corpus."""

    def __init__(self, corpus: list[str]) -> None:
        self.vocabulary = v = nlp.Vocabulary(bos="<s>", eos="</s>").fit(map(str.split, corpus))
        self.eos_id = v.eos_id
        counts = np.zeros((len(v), len(v)))
        for sentence in corpus:
            ids = v.encode(["<s>", *sentence.split(), "</s>"])
            np.add.at(counts, (ids[:-1], ids[1:]), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.log_p = np.nan_to_num(np.log(counts / counts.sum(axis=1, keepdims=True)), nan=-np.inf, neginf=-np.inf)

    def start(self, N: int) -> nlp.Start:
        return nlp.Start(np.full(N, self.vocabulary.bos_id), state=None)

    def step(self, ids: Any, state: Any, memory: Any) -> nlp.Step:
        return nlp.Step(self.log_p[ids], state)


def make_trees(folder: Path) -> list[Path]:
    """Write the trees; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    model = Pairs(CORPUS)
    found = nlp.beam_search(model, model.start(1), beam=3, max_length=5)
    return [adapt(found.tree(0, model.vocabulary).render(folder / "tree.svg"))]


def make_map(path: Path) -> None:
    """The attention of a network that reverses its source."""
    mg.manual_seed(0)
    rng = np.random.default_rng(0)
    v = nlp.Vocabulary.of(NUMBERS, bos="<s>", eos="</s>")
    model = nlp.Seq2Seq(len(v), len(v), 16, 32, bos_id=v.bos_id, eos_id=v.eos_id)
    optimizer = nn.Adam(model.named_parameters(), lr=1e-2, clip_norm=1.0)
    for _ in range(200):
        texts = [rng.integers(2, len(v), length) for length in rng.integers(3, 9, 32)]
        source = nlp.pad([[*ids, v.eos_id] for ids in texts])
        target = nlp.pad([[v.bos_id, *ids[::-1], v.eos_id] for ids in texts])
        optimizer.zero_grad()
        model.loss(source, target).backward()
        optimizer.step()
    model.eval()
    found = nlp.beam_search(model, model.start(v.encode(SOURCE)[:, None]), max_length=10)
    with style():
        save(found.attention_map(0, source=SOURCE, target=v), path)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "decoding"
    make_trees(target)
    make_map(target / "attention.svg")
