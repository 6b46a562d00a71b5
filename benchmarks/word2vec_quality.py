"""`python -m benchmarks.word2vec_quality`: quality of word vectors and speed of training, compared with gensim's.

Both sides learn from WikiText-2 with the same settings, seed by seed in turns, and all vectors are judged by the same
code: WordSim-353 (Spearman's correlation) and Google's analogies (share of right answers, 3CosAdd). Words per second
are those of the text, including counting. Needs MINIGRAD_DATA, the folder of the data sets.

Under `mpiexec -n N` the sides are one process and N ranks.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import nn
from nlp import Word2Vec, WordVectors, read_lines

Sentences = Sequence[Sequence[str]]
SETTINGS = {
    "skip-gram, negative": ("skipgram", "negative"),
    "skip-gram, hierarchical": ("skipgram", "hierarchical"),
    "CBOW, negative": ("cbow", "negative"),
    "CBOW, hierarchical": ("cbow", "hierarchical"),
}


def ours(
    sentences: Sentences, mode: Any, loss: Any, seed: int, epochs: int, workers: int, group: Any = None
) -> WordVectors:  # fmt: skip
    model = Word2Vec(mode, loss, seed=seed, epochs=epochs, workers=workers)
    return model.fit(sentences, progress=False, group=group).vectors


def gensims(sentences: Sentences, mode: Any, loss: Any, seed: int, epochs: int, workers: int) -> WordVectors:
    import gensim

    model = gensim.models.Word2Vec(
        sentences, sg=mode == "skipgram", hs=loss == "hierarchical", negative=5 * (loss == "negative"), seed=seed,
        epochs=epochs, workers=workers, vector_size=100, window=5, min_count=5, sample=1e-3, alpha=0.025,
    )  # fmt: skip
    return WordVectors(model.wv.index_to_key, model.wv.vectors)


SIDES: dict[str, Callable[..., WordVectors]] = {"nlp.Word2Vec": ours, "gensim": gensims}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.word2vec_quality", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="settings with NAME in their name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if "MINIGRAD_DATA" not in os.environ:
        parser.error("MINIGRAD_DATA must name the folder of the data sets")
    data = Path(os.environ["MINIGRAD_DATA"])
    sentences = list(read_lines(data / "wikitext-2" / "wiki.train.tokens.txt.gz").map(str.split).filter(len))
    words = options.epochs * sum(map(len, sentences))
    group, sides = nn.distributed.group(), SIDES
    if group.size > 1:
        sides = {"one process": ours, f"{group.size} ranks": partial(ours, group=group)}
    if not group.first:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    for side in sides.values():  # compile, import
        side(sentences[:20], "cbow", "negative", 0, 1, 1)

    print("| setting | side | words/s | WordSim-353 | analogies |\n| --- | --- | ---: | ---: | ---: |")
    for name, (mode, loss) in SETTINGS.items():
        if options.only and options.only not in name:
            continue
        results: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
        for seed in range(options.seeds):
            for side, train in sides.items():
                group.barrier()
                start = time.perf_counter()
                vectors = train(sentences, mode, loss, seed, options.epochs, options.workers)
                seconds = time.perf_counter() - start
                spearman = vectors.evaluate_pairs(data / "word_similarity" / "wordsim353.tsv").spearman
                analogies = vectors.evaluate_analogies(data / "word_similarity" / "questions-words.txt").accuracy
                results[side].append((words / seconds, spearman, analogies))
        for side, rows in results.items():
            speed, spearman, analogies = (mean(column) for column in zip(*rows, strict=True))
            similar, right = " ".join(f"{row[1]:.3f}" for row in rows), " ".join(f"{row[2]:.1%}" for row in rows)
            print(f"| {name} | {side} | {speed / 1e3:,.0f} k |", end=" ")
            print(f"{spearman:.3f} ({similar}) | {analogies:.1%} ({right}) |")


if __name__ == "__main__":
    main()
