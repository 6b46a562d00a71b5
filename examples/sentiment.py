"""Sentiment: a network reads opinions word by word, and a bag of the same words shows the value of word order.

    python examples/sentiment.py [--data TRAIN TEST]
    python examples/sentiment.py --load out/sentiment.safetensors "the acting is fine but the story is not convincing"

The default opinions are made by a small grammar in which order decides: "not", "hardly" and "never" turn a word
around, and what comes after "but" outweighs what came before. The files of `--data` have a label, 0 or 1, and a
sentence in each line (such as SST-2); or they are parquet files with columns `label` and `sentence` or `text`, which
Hugging Face's `datasets` reads from the disk (pip install datasets). Into `--out` go

    sentiment.safetensors  the model with its words
    sentiment-verdict.png  the verdict after each word of a sentence
    sentiment-losses.png   the losses
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import numpy as np

import nlp
import nn

Opinion = tuple[str, int]
GOOD = "good great fine funny clever moving charming convincing lovely brilliant touching fresh".split()
BAD = "bad poor dull slow silly boring clumsy hollow annoying dreadful tired shallow".split()
THINGS = "film story acting plot dialogue ending music cast director camera humour script".split()
TURNS, STRENGTHENS = "not hardly never".split(), "very really truly quite so".split()


def opinions(count: int, rng: np.random.Generator) -> list[Opinion]:
    """Sentences, each with 1 if it is positive, else 0."""

    def clause() -> Opinion:
        positive = bool(rng.integers(2))
        words = [str(rng.choice(GOOD if positive else BAD))]
        for _ in range(rng.choice(3, p=[0.5, 0.35, 0.15])):
            turns = rng.random() < 0.5
            words.insert(0, str(rng.choice(TURNS if turns else STRENGTHENS)))
            positive ^= turns
        thing = rng.choice(THINGS)
        return f"the {thing} is {' '.join(words)}", int(positive)

    def sentence() -> Opinion:
        (one, first), (other, second) = clause(), clause()
        kind = rng.integers(4)
        if kind == 0:
            return one, first
        if kind == 1:
            return f"{one} but {other}", second
        if kind == 2:
            return f"although {one} , {other}", second
        return f"{one} , even if {other}", first

    return [sentence() for _ in range(count)]


def read(path: Any) -> list[Opinion]:
    """Lines of a label and a sentence, or a parquet file with such columns."""
    if str(path).endswith(".parquet"):
        return columns(path)
    rows = list(nlp.read_tsv(path, separator=" ", fields=2))
    if wrong := [label for label, _ in rows if label not in ("0", "1")]:
        raise ValueError(f"{path}: a line begins with {wrong[0]!r}, not with the label 0 or 1")
    return [(sentence, int(label)) for label, sentence in rows]


def columns(path: Any) -> list[Opinion]:
    """The rows of a parquet file."""
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=str(path), split="train")  # mapped from the disk
    text = next((name for name in ("sentence", "text") if name in rows.column_names), None)
    if text is None or "label" not in rows.column_names:
        raise ValueError(
            f"{path}: the columns are {', '.join(rows.column_names)}; needed are label and sentence or text"
        )
    return [(row[text], int(row["label"])) for row in rows]


def bag_of_words(train: Any, test: Any, V: int) -> float:
    """The accuracy of a linear classifier of word counts, without word order."""

    def bags(part: Any) -> tuple[Any, Any]:
        return np.stack([np.bincount(ids, minlength=V) for ids, _ in part]).astype(np.float32), [y for _, y in part]

    (x, y), (unseen, gold) = bags(train), bags(test)
    linear = nn.Linear(V, 2)
    optimizer, criterion = nn.Adam(linear.named_parameters(), lr=0.02, weight_decay=1e-5), nn.CrossEntropyLoss()
    for _ in range(150):
        optimizer.zero_grad()
        criterion(linear(x), y).backward()
        optimizer.step()
    return nlp.accuracy(np.argmax(linear(unseen).data, axis=-1), gold)


def classify(model: Any, sentences: list[str]) -> Any:
    """The probability that each sentence is positive."""
    words = model.texts["words"]
    ids = words.encode_batch(sentences)
    if empty := [sentence for sentence, one in zip(sentences, ids, strict=True) if not len(one)]:
        raise ValueError(f"there is no word in {empty[0]!r}")
    return model.predict(nlp.pad(ids))[1][:, 1]


def draw_verdicts(model: Any, sentences: list[str], path: Any) -> None:
    """For each sentence, the probability after each of its words."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(sentences), figsize=(9, 1.9 * len(sentences)), layout="constrained", squeeze=False)
    for ax, sentence in zip(axes[:, 0], sentences, strict=True):
        words = sentence.split()
        p = classify(model, [" ".join(words[: n + 1]) for n in range(len(words))])
        ax.axhline(0.5, color="0.7", linewidth=0.8)
        ax.plot(p, color="#4477AA", marker="o", markersize=4)
        ax.fill_between(range(len(words)), 0.5, p, color="#4477AA", alpha=0.15)
        ax.set_xticks(range(len(words)), words)
        ax.set_ylim(-0.03, 1.03)
        ax.set_yticks([0, 1], ["bad", "good"])
    figure.savefig(path, dpi=130)
    plt.close(figure)


def train(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(args.seed)
    if args.data and len(args.data) != 2:
        raise ValueError("--data takes two files, for training and for testing")
    known, unseen = [read(path) for path in args.data] if args.data else [opinions(n, rng) for n in (4000, 1000)]
    words = nlp.WordTokenizer(min_freq=2, lowercase=True).fit([sentence for sentence, _ in known])
    print(f"{len(known):,} opinions, {len(words):,} different words; {len(unseen):,} for testing")

    def encoded(part: list[Opinion]) -> list[tuple[Any, int]]:
        return [(words.encode(sentence), label) for sentence, label in part]

    model = nlp.SequenceClassifier(
        len(words), 2, args.embedding, args.hidden, args.layers, pooling=args.pooling, mlp=[args.hidden],
        dropout=args.dropout, device=args.device,
    )  # fmt: skip
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=5.0)
    batches = nlp.Batches(encoded(known), batch_size=50, shuffle=True, by_length=True, seed=args.seed, shard=args.group)
    tests = nlp.Batches(encoded(unseen), batch_size=200, by_length=True, shard=args.group)
    common.fit(args, model, optimizer, batches, tests, items=lambda batch: len(batch[1]), restore_best=True)
    model.eval().save(args.out / "sentiment.safetensors", words=words)

    found = [(model.predict(batch)[0], labels) for batch, labels in tests]
    right = nlp.accuracy(*(np.concatenate(part) for part in zip(*found, strict=True)))
    print(f"{right:.1%} of the opinions for testing are understood; without the order of words, "
          f"{bag_of_words(encoded(known), encoded(unseen), len(words)):.1%}")  # fmt: skip
    shown = sorted((sentence for sentence, _ in unseen[:60]), key=lambda s: abs(len(s.split()) - 11))[:3]
    draw_verdicts(model, shown, args.out / "sentiment-verdict.png")
    for sentence, p in zip(shown, classify(model, shown), strict=True):
        print(f"  {'good' if p > 0.5 else 'bad ':5} {sentence}")
    print(f"see {args.out / 'sentiment-verdict.png'}; the model is in {args.out / 'sentiment.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.SequenceClassifier.load(args.load, device=args.device)
    for sentence, p in zip(args.input, classify(model, args.input), strict=True):
        print(f"{'good' if p > 0.5 else 'bad'} ({max(p, 1 - p):.1%})  {sentence}")


if __name__ == "__main__":
    parser = common.options("sentiment", __doc__, epochs=4, data="two files with a label and a sentence in each line, "
                            "or parquet files (default: opinions from a grammar)", use="sentences")  # fmt: skip
    parser.add_argument("--embedding", type=int, default=50, help="size of a word's vector (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=64, help="size H of each direction (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--pooling", choices=("last", "max", "mean"), default="last", help="(default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.1, help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3e-3, help="Adam's learning rate (default: %(default)s)")
    common.run(parser, train, use)
