"""A word language model: how well can the next word be predicted, and what does such a model write?

    python examples/word_lm.py [--data TRAIN [VALID]]
    python examples/word_lm.py --load out/word_lm.safetensors "the value of the"

Words are embedded, and the embedding is also the output map (tied weights); dropout leaves whole words out. The default
text is the documentation that ships inside Python. The perplexity is compared with that of counting: a model of single
words, and one of pairs (interpolated Kneser-Ney). Without a second file, the last tenth of the text is held out.
`--out` receives

    word_lm.safetensors  the model with its words
    word_lm-losses.png   the losses
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import common
import numpy as np

import nlp
import nn


def bigram_perplexity(train: np.ndarray, test: np.ndarray, vocabulary: int, discount: float = 0.75) -> float:
    """The perplexity of interpolated Kneser-Ney with pairs of words (Kneser & Ney 1995)."""
    pairs, counts = np.unique(train[:-1] * vocabulary + train[1:], return_counts=True)
    first, second = pairs // vocabulary, pairs % vocabulary
    of_first = np.bincount(first, counts, vocabulary)  # how often a word has a successor
    kinds = np.bincount(first, minlength=vocabulary)  # the number of different successors
    novel = np.bincount(second, minlength=vocabulary)  # the number of different predecessors
    back_off = (novel + 0.1) / (novel + 0.1).sum()
    wanted = test[:-1] * vocabulary + test[1:]
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    seen = np.where(pairs[at] == wanted, counts[at] - discount, 0)
    total, n = np.maximum(of_first[test[:-1]], 1), kinds[test[:-1]]
    left = np.where(n > 0, discount * n / total, 1)
    return float(np.exp(-np.log(seen / total + left * back_off[test[1:]]).mean()))


def go_on(model: Any, beginnings: list[str], args: argparse.Namespace) -> list[str]:
    """The model's continuation of each beginning, up to the end of a sentence."""
    words = model.texts["words"]
    v = words.vocabulary
    prompts = nlp.pad([words.encode(f"{text}") if text else np.array([v.eos_id]) for text in beginnings])
    found = nlp.sample(model, model.start(prompts), max_length=args.length, min_length=5, seed=args.seed,
                       temperature=args.temperature, top_p=args.top_p, forbidden=[v.unk_id, v.pad_id])  # fmt: skip
    return [f"{text} {more}".strip() for text, more in zip(beginnings, found.texts(words), strict=True)]


def train(args: argparse.Namespace) -> None:
    if args.data:
        texts = [list(nlp.read_lines(path).filter(str.strip)) for path in args.data[:2]]
    else:
        texts = [[" ".join(p.split()) for p in nlp.python_documentation().split("\n\n") if p.strip()]]
    if len(texts) == 1:
        lines = texts[0]
        cut = len(lines) * 9 // 10
        texts = [lines[:cut], lines[cut:]]
    words = nlp.WordTokenizer(min_freq=args.min_freq, lowercase=True, bos=None).fit(texts[0])
    v = words.vocabulary
    train_ids, test_ids = (np.concatenate([words.encode(line, eos=True) for line in lines]) for lines in texts)
    if len(test_ids) < 100:
        raise ValueError(f"{len(train_ids) + len(test_ids)} words are too few to learn from")
    print(f"{len(train_ids):,} words for training, {len(test_ids):,} held out; {len(words):,} different ones")

    model = nlp.LanguageModel(
        len(words), args.embedding, args.hidden, args.layers, tied=True, dropout=args.dropout,
        embedding_dropout=args.dropout / 5, eos_id=v.eos_id, device=args.device,
    )  # fmt: skip
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=1.0)
    history = common.fit_text(args, model, optimizer, train_ids, test_ids, restore_best=True)
    model.eval().save(args.out / "word_lm.safetensors", words=words)

    counts = np.bincount(train_ids, minlength=len(words)) + 0.1
    single = math.exp(-np.log(counts / counts.sum())[test_ids].mean())
    pairs = bigram_perplexity(train_ids, test_ids, len(words))
    held_out = math.exp(min(history.column("validation")[1]))
    print(f"held-out perplexity: {held_out:.1f}; counting pairs of words gives {pairs:.1f}, single words {single:.1f}")
    for text in go_on(model, ["", "", "the value of the", "if the class"], args):
        print(f"  {text}")
    print(f"the model is in {args.out / 'word_lm.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.LanguageModel.load(args.load, device=args.device)
    for text in go_on(model, args.input or [""], args):
        print(text)


if __name__ == "__main__":
    parser = common.options("word_lm", __doc__, epochs=8, data="a text in UTF-8, and perhaps a second one to test on "
                            "(default: Python's documentation)", use="beginnings of sentences")  # fmt: skip
    parser.add_argument("--embedding", type=int, default=128, help="size of a word's vector (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=200, help="size H of the states (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.4, help="(default: %(default)s)")
    parser.add_argument(
        "--batch", type=int, default=20, help="streams that are read side by side (default: %(default)s)"
    )
    parser.add_argument("--window", type=int, default=30, help="steps between cuts of the graph (default: %(default)s)")
    parser.add_argument("--min-freq", type=int, default=3, help="rarer words are unknown (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=4e-3, help="Adam's learning rate at first (default: %(default)s)")
    parser.add_argument("--length", type=int, default=40, help="most words to write (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="lower is safer (default: %(default)s)")
    parser.add_argument("--top-p", type=float, default=0.9, help="the most probable ones that have this probability "
                        "together (default: %(default)s)")  # fmt: skip
    common.run(parser, train, use)
