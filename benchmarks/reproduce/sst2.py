"""Sentiment of sentences, SST-2 without phrases: both directions of an LSTM, the maximum over the steps.

    python -m benchmarks.reproduce.sst2 --seed 0

LSTM 150 each way over embeddings 300 of words that occur twice, U(±0.25) at first as in Kim 2014, dropout 0.5, Adam
with lr 1e-3, B 50; the weights after 5 epochs, when the loss on the development set rises again, but not the errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import nlp
import nn

from .common import Run, begin, options, write_row

if __name__ == "__main__":
    args = begin(options(__doc__, epochs=5))

    def sentences(part: str) -> list[tuple[list[str], int]]:
        rows = nlp.read_tsv(args.data / "sst2" / f"{part}.txt", separator=" ", fields=2)
        return [(sentence.split(), int(label)) for label, sentence in rows]

    known = sentences("train")
    v = nlp.Vocabulary(min_freq=2, pad="<pad>", unk="<unk>").fit(words for words, _ in known)

    def batches(part: list[tuple[list[str], int]], **order: Any) -> nlp.Batches:
        examples = [(v.encode(words), label) for words, label in part]
        return nlp.Batches(examples, batch_size=50, by_length=True, seed=args.seed, **order)

    model = nlp.SequenceClassifier(len(v), 2, 300, 150, pooling="max", dropout=0.5, device=args.device)
    nn.init.uniform_(model.embedding.weight, -0.25, 0.25)  # from N(0, 1) it learns too slowly for 5 epochs
    optimizer = nn.Adam(model.named_parameters(), lr=1e-3, clip_norm=5.0)
    run = Run(
        model, optimizer, lambda model, batch: model.loss(*batch), items=lambda batch: len(batch[1]), progress=False,
        log_every=50,
    )  # fmt: skip
    run.go(args.out / f"sst2-{args.seed}.ckpt", batches(known, shuffle=True), args.epochs, batches(sentences("dev")))
    model.eval()

    def accuracy(part: str) -> float:
        found = [(model.predict(words)[0], labels) for words, labels in batches(sentences(part))]
        return nlp.accuracy(*(np.concatenate(each) for each in zip(*found, strict=True)))

    dev, test = accuracy("dev"), accuracy("test")
    write_row("SST-2, sentences only, accuracy", args, f"BiLSTM 150, max-pool, random embeddings, {args.epochs} epochs",
              f"dev {dev:.1%}, test {test:.1%}", "test 79.5–82.6 % (PyTorch, 3 seeds)", run.seconds, dev=dev,
              test=test)  # fmt: skip
