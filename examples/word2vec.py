"""Word vectors from a text: the neighbours of words, and a map of them.

    python examples/word2vec.py [--data FILE ...] [--mode cbow] [--loss hierarchical] [--words list,class,true]

The default text is the documentation that ships inside Python: 60,000 words, learned in a second with the extra `fast`
(a minute without). Any text in UTF-8 will do, also compressed (.gz, .xz); it is read again for each epoch and never
held as a whole. `--out` receives

    vectors.txt  the vectors, in the format of word2vec and gensim
    words.png    the words in the plane, by the two directions of largest variance (or by t-SNE)
    window.svg   the graph for one word and its context
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import minigrad as mg
import nlp

# Words of the default text that belong together.
GROUPS = {
    "kinds of values": ["list", "tuple", "dictionary", "set", "string", "integer", "float", "bytes", "mapping",
                        "sequence", "iterator", "boolean"],
    "statements": ["if", "while", "for", "try", "except", "finally", "with", "return", "raise", "import", "yield",
                   "break", "continue", "del", "assert"],
    "objects": ["class", "instance", "method", "attribute", "metaclass", "descriptor", "base", "derived", "inherits"],
    "calls": ["function", "argument", "arguments", "positional", "keyword", "parameter", "parameters", "default",
              "call", "called"],
}  # fmt: skip


def sentences_of(paths: list[Path]) -> Iterable[list[str]]:
    """The words of each paragraph or line, lower-case, without numbers and punctuation."""
    tokenizer = nlp.WordTokenizer(lowercase=True)

    def words(text: str) -> list[str]:
        return [word for word in tokenizer.tokenize(text) if word[0].isalpha()]

    if not paths:
        return [words(paragraph) for paragraph in nlp.python_documentation().split("\n\n")]
    return nlp.read_lines(*paths).map(words)  # tokenized anew in each epoch, for corpora of any size


def show_neighbours(vectors: nlp.WordVectors, words: list[str]) -> None:
    """A line for each word."""
    width = max(map(len, words))
    for word in words:
        near = "  ".join(f"{other} {score:.2f}" for other, score in vectors.most_similar(word, topn=5))
        print(f"{word:>{width}}: {near}")


def draw_window(model: nlp.Word2Vec, path: Path) -> None:
    """The graph of the loss of a word among the four most frequent others, distinguished from the rarest word."""
    context, word = [0, 1, 3, 4], 2
    negatives = [len(model.vocabulary) - 1] if model.loss == "negative" else None
    mg.graph(model.objective(), context, word, negatives).render(path)


def run(args: argparse.Namespace) -> None:
    """Learn, print and draw."""
    args.out.mkdir(parents=True, exist_ok=True)
    model = nlp.Word2Vec(
        args.mode, args.loss, dim=args.dim, window=args.window, min_count=args.min_count, lr=args.lr,
        epochs=args.epochs, seed=args.seed,
    )  # fmt: skip
    vectors = model.fit(sentences_of(args.data)).vectors
    print(f"{model.vocabulary.total:,} words, {len(vectors):,} of them different and frequent enough")
    print(f"mean loss of the first epoch {model.losses[0]:.3f}, of the last {model.losses[-1]:.3f}\n")
    if len(vectors) < 5:
        raise ValueError(f"{len(vectors)} different words are too few; give more text or a lower --min-count")

    common = [word for word in vectors.words[20:] if len(word) > 3] or list(vectors.words)
    default = ["list", "string", "class", "function", "true", "import"] if not args.data else common[:6]
    words = args.words.split(",") if args.words else default
    if unknown := [word for word in words if word not in vectors]:
        raise ValueError(f"--words: {', '.join(unknown)} occurs less than {args.min_count} times")
    show_neighbours(vectors, words)

    picture, graph, file = (args.out / name for name in ("words.png", "window.svg", "vectors.txt"))
    vectors.save(file)
    groups = {name: [word for word in group if word in vectors] for name, group in GROUPS.items()}
    shown = groups if not args.data else list(dict.fromkeys([*words, *common[:150]]))
    vectors.plot(shown, picture, method=args.method, seed=args.seed)
    draw_window(model, graph)
    print(f"\nsee {picture} and {graph}; the vectors are in {file}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="texts to learn from, instead of Python's")
    parser.add_argument("--mode", choices=("skipgram", "cbow"), default="skipgram")
    parser.add_argument("--loss", choices=("negative", "hierarchical", "softmax"), default="negative")
    parser.add_argument("--dim", type=int, default=50, help="size of the vectors (default: %(default)s)")
    parser.add_argument("--window", type=int, default=5, help="most words to look around (default: %(default)s)")
    parser.add_argument("--min-count", type=int, default=5, help="leave rarer words out (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate at first (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--words", help="whose neighbours to print, separated by commas")
    parser.add_argument("--method", choices=("pca", "tsne"), default="pca", help="of the map (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what is written")
    args = parser.parse_args()
    try:
        run(args)
    except (OSError, ValueError, FloatingPointError, ImportError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None


if __name__ == "__main__":
    main()
