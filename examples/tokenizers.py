"""Four tokenizers, trained on the same text and compared on unseen text.

    python examples/tokenizers.py [--data FILE] [--vocab-size 4000] [--sentence TEXT]

The default text is the documentation that ships inside Python. The program prints the tokens of a sentence from each
tokenizer, the merges of byte pair encoding, and a table: the number of ids, characters per token, unknown tokens, and
whether decoding restores the text. `--out` receives

    bpe.json        the byte pair encoding, also readable by Hugging Face's library `tokenizers`
    tokenizers.png  characters per token, over the size of the vocabulary
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import nlp

SENTENCE = "I go to the mall today."


def read(path: Path | None) -> list[str]:
    """The lines that are not empty, of a text or of the documentation inside every CPython."""
    try:
        lines = nlp.python_documentation().split("\n") if path is None else list(nlp.read_lines(path))
    except (OSError, ValueError) as error:
        raise SystemExit(f"cannot read the text: {error}") from None
    lines = [line for line in lines if line.strip()]
    if len(lines) < 100:
        raise SystemExit(f"{path}: {len(lines)} lines of text are too few to learn from; give at least 100")
    return lines


# ---- one sentence ------------------------------------------------------------------------------------------------


def show(tokenizers: dict[str, nlp.Tokenizer], sentence: str) -> None:
    """Print the tokens of a sentence from each tokenizer, and their ids; a space is shown as ␣."""
    print(f"{sentence!r} becomes\n")
    for name, tokenizer in tokenizers.items():
        ids = tokenizer.encode(sentence).tolist()
        tokens = [tokenizer.decode([i]).replace(" ", "␣") for i in ids]
        print(f"  {name:11} {' '.join(tokens)}\n{'':13} {' '.join(map(str, ids))}")


def show_places(tokenizer: nlp.Tokenizer, sentence: str) -> None:
    """Print the span of each token in the sentence."""
    ids, spans = tokenizer.encode(sentence, return_offsets=True)
    places = (f"{start}:{end} {sentence[start:end]!r}" for start, end in spans.tolist())
    print(f"\nPlaces of the {len(ids)} byte pair tokens: {', '.join(places)}")


# ---- all of the text ---------------------------------------------------------------------------------------------


def table(tokenizers: dict[str, nlp.Tokenizer], seconds: dict[str, float], test: Sequence[str]) -> None:
    """Print the statistics of each tokenizer on unseen lines."""
    text = "\n".join(test)
    print(f"\n{'unseen text':11} {'ids':>7} {'characters':>11} {'unknown':>8} {'fitted':>7}  {'decoded'}")
    print(f"{'':11} {'':>7} {'a token':>11} {'tokens':>8} {'in':>7}")
    for name, tokenizer in tokenizers.items():
        ids = tokenizer.encode(text)
        unk = tokenizer.vocabulary.unk_id
        unknown = f"{np.mean(ids == unk):.2%}" if unk is not None else "none"
        same = "exactly" if tokenizer.decode(ids) == text else "not quite"
        print(f"{name:11} {len(tokenizer):7,} {len(text) / len(ids):11.2f} {unknown:>8} {seconds[name]:5.1f} s  {same}")


def plot(train: Sequence[str], test: Sequence[str], largest: int, others: dict[str, nlp.Tokenizer], path: Path) -> None:
    """Characters per token for byte pair encodings of several sizes, compared with the other tokenizers."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    text = "\n".join(test)
    sizes = [*(2**k for k in range(9, largest.bit_length()) if 2**k < largest), largest]
    found = [nlp.BPETokenizer(size).fit(train) for size in sizes]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    held = [len(text) / len(tokenizer.encode(text)) for tokenizer in found]
    axes.plot([len(tokenizer) for tokenizer in found], held, color="#4477AA", marker="o", label="byte pairs")
    for (name, tokenizer), (color, marker) in zip(
        others.items(), (("#BB5566", "s"), ("#DDAA33", "D"), ("#228833", "^")), strict=True
    ):
        axes.plot(len(tokenizer), len(text) / len(tokenizer.encode(text)), marker, color=color, label=name)
    axes.set(xscale="log", xlabel="size of the vocabulary", ylabel="characters a token (unseen text)",
             title="What a token holds")  # fmt: skip
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare four tokenizers on one text.")
    parser.add_argument(
        "--data", type=Path, help="a UTF-8 text, also .gz or .xz (default: the documentation in Python)"
    )
    parser.add_argument("--vocab-size", type=int, default=4000, help="ids of the byte pair encoding")
    parser.add_argument("--sentence", default=SENTENCE, help="what to show in detail")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the file and the plot")
    args = parser.parse_args()
    if args.vocab_size < 260:
        parser.error("--vocab-size must be at least 260, for the bytes and the special tokens")
    if not args.sentence.strip():
        parser.error("--sentence must have a word")
    lines = read(args.data)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out: {error}")

    cut = len(lines) * 95 // 100
    train, test = lines[:cut], lines[cut:]
    print(f"{len(lines):,} lines, {cut:,} of them to learn from\n")
    tokenizers: dict[str, nlp.Tokenizer] = {
        "characters": nlp.CharTokenizer(),
        "2-grams": nlp.NGramTokenizer(2),
        "words": nlp.WordTokenizer(min_freq=2),
        "byte pairs": nlp.BPETokenizer(args.vocab_size),
    }
    seconds = {}
    for name, tokenizer in tokenizers.items():
        start = time.perf_counter()
        tokenizer.fit(train)
        seconds[name] = time.perf_counter() - start

    show(tokenizers, args.sentence)
    bpe = tokenizers.pop("byte pairs")
    assert isinstance(bpe, nlp.BPETokenizer)
    show_places(bpe, args.sentence)
    print(f"\nThe last word, merge by merge:\n\n{bpe.explain(' ' + args.sentence.split()[-1])}")
    table({**tokenizers, "byte pairs": bpe}, seconds, test)

    bpe.save(args.out / "bpe.json")
    again = nlp.Tokenizer.load(args.out / "bpe.json")
    assert np.array_equal(again.encode(args.sentence), bpe.encode(args.sentence))
    plot(train, test, args.vocab_size, tokenizers, args.out / "tokenizers.png")
    print(f"\nsee {args.out / 'bpe.json'} and {args.out / 'tokenizers.png'}")


if __name__ == "__main__":
    main()
