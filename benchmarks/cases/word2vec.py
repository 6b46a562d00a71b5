"""Word2Vec compared with gensim's: one epoch over text, including counting, with the same settings.

The text is the beginning of WikiText-2's, if MINIGRAD_DATA names the folder, else Python's documentation, which is
smaller. It is in memory as lists of words. Both sides return the word counts; `python -m benchmarks.word2vec_quality`
measures the quality of the vectors, and times five epochs over the whole text.
"""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from nlp import Word2Vec, python_documentation, read_lines

from ..compare import WHOLE_CALL, Call, Case

DATA = os.environ.get("MINIGRAD_DATA")
WORDS = 500_000 if DATA else 50_000
SETTINGS = {
    "skip-gram, negative": ("skipgram", "negative"),
    "CBOW, negative": ("cbow", "negative"),
    "skip-gram, hierarchical": ("skipgram", "hierarchical"),
}


@cache
def sentences() -> list[list[str]]:
    """WORDS words."""
    lines = (
        read_lines(Path(DATA, "wikitext-2", "wiki.train.tokens.txt.gz")) if DATA else python_documentation().split("\n")
    )
    found, left = [], WORDS
    for line in lines:
        if words := line.split()[:left]:
            found.append(words)
            left -= len(words)
    return found


def here(mode: Any, loss: Any, workers: int) -> Call:
    corpus = sentences()

    def call() -> list[Any]:
        return [Word2Vec(mode, loss, epochs=1, workers=workers).fit(corpus, progress=False).vectors.counts]

    return call


def there(mode: str, loss: str, workers: int) -> Call:
    from gensim.models import Word2Vec as Theirs

    corpus = sentences()

    def call() -> list[Any]:
        v = Theirs(
            corpus, sg=mode == "skipgram", hs=loss == "hierarchical", negative=5 * (loss == "negative"),
            workers=workers, epochs=1, vector_size=100, window=5, min_count=5, sample=1e-3,
        ).wv  # fmt: skip
        return [np.array([v.get_vecattr(word, "count") for word in v.index_to_key])]

    return call


CASES = [
    Case(
        f"word2vec: {name}, {workers} worker{'s' * (workers > 1)}",
        {"minigrad": partial(here, *setting, workers), "gensim": partial(there, *setting, workers)},
        per=WORDS,
        unit="word",
        memory=WHOLE_CALL if workers == 1 else (),
    )
    for name, setting in SETTINGS.items()
    for workers in (1, 2)
]
