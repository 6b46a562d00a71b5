"""Named entities of CoNLL-2003: both directions of an LSTM with a CRF, and the characters of words, without pre-trained
vectors (Huang, Xu & Yu 2015; Lample et al. 2016).

    python -m benchmarks.reproduce.conll2003
    python -m benchmarks.reproduce.conll2003 --characters 0

LSTM 100 each way, embeddings 100 of lower-cased words (0 for digits), characters 25 + 25 each way, dropout 0.5, tags in
IOB2, Adam with lr 2e-3 falling to a tenth, B 20, clip 5; words that occur once are unknown.
"""

from __future__ import annotations

import re
from typing import Any

import nlp
import nn

from .common import Run, begin, options, write_row

Sentence = tuple[list[str], list[str]]

if __name__ == "__main__":
    args = begin(options(__doc__, epochs=15, characters=1))

    def sentences(part: str) -> list[Sentence]:
        columns = nlp.read_columns(args.data / "conll2003" / f"eng.{part}.txt", columns=(0, 3))
        return [(list(words), nlp.convert_tags(tags, "IOB2")) for words, tags in columns]

    def normal(word: str) -> str:
        return re.sub(r"\d", "0", word.lower())

    known = sentences("train")
    v = nlp.Vocabulary(min_freq=2, pad="<pad>", unk="<unk>").fit([normal(w) for w in words] for words, _ in known)
    letters = nlp.Vocabulary(unk="<unk>").fit(list(word) for words, _ in known for word in words)
    kinds = nlp.Vocabulary.of(sorted({tag for _, tags in known for tag in tags}))

    def batches(part: list[Sentence], **order: Any) -> nlp.Batches:
        def joined(batch: list[Sentence]) -> tuple[Any, Any, Any]:
            words = nlp.pad([v.encode([normal(w) for w in words]) for words, _ in batch])
            tags = nlp.pad([kinds.encode(tags) for _, tags in batch])
            return words, tags, nlp.spell([words for words, _ in batch], letters) if args.characters else None

        return nlp.Batches(part, batch_size=20, by_length=True, seed=args.seed, collate=joined, **order)

    model = nlp.SequenceTagger(
        len(v), len(kinds), 100, 100, characters=len(letters) if args.characters else None, dropout=0.5,
        constraints=nlp.tag_constraints(kinds.tokens), device=args.device,
    )  # fmt: skip
    nn.init.uniform_(model.embedding.weight, -0.17, 0.17)  # ±√(3 / 100), as in Lample et al.
    optimizer = nn.Adam(model.named_parameters(), lr=2e-3, clip_norm=5.0)
    train = batches(known, shuffle=True)
    run = Run(
        model, optimizer, lambda model, batch: model.loss(*batch), items=lambda batch: len(batch[0].lengths),
        schedule=nn.LinearLR(optimizer, 1.0, 0.1, total_iters=args.epochs), restore_best=True, progress=False,
        log_every=100,
    )  # fmt: skip
    run.go(args.out / f"conll2003-{args.characters}-{args.seed}.ckpt", train, args.epochs, batches(sentences("testa")))
    model.eval()

    def scores(part: str) -> nlp.SpanScores:
        ours, gold = [], []
        for words, tags, spelled in batches(sentences(part)):
            ours += [kinds.decode(found) for found in model.predict(words, spelled)]
            gold += [kinds.decode(tags.values[:n, k]) for k, n in enumerate(tags.lengths)]
        return nlp.span_f1(gold, ours)

    dev, test = scores("testa"), scores("testb")
    print(test)
    how = "BiLSTM 100 + CRF" + (", characters" if args.characters else "")
    write_row("CoNLL-2003 English entities, F1", args, f"{how}, no pre-trained vectors, {args.epochs} epochs",
              f"dev {100 * dev.f1:.1f}, test {100 * test.f1:.1f}",
              "without pre-trained vectors: see Lample et al. 2016, table 5; 90.4 needs GloVe (Huang et al. 2015)",
              run.seconds, dev=dev.f1, test=test.f1)  # fmt: skip
