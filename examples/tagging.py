"""Names in a text: which words are a person, a place or a company, even if they were never seen before?

    python examples/tagging.py [--no-characters] [--data TRAIN TEST]
    python examples/tagging.py --load out/tagging.safetensors "Olga Brandova moved from Kelburg to Madrid ."

The default sentences are made by a grammar, and so are the names in them; many of those for testing are new. The
context of a new name may reveal its kind, and its spelling does: "-burg" is a place, "-ova" a person. So the network
also reads each word character by character, in both directions, and tags the sentence as a whole (a conditional random
field over a bidirectional LSTM; Lample et al. 2016). Without characters, only the context is left. The files of
`--data` are like CoNLL-2003's: a word and its tag in each line, possibly with columns between. `--out` receives

    tagging.safetensors  the model with its words, characters and tags
    tagging-losses.png   the losses
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import numpy as np

import nlp
import nn

Sentence = tuple[list[str], list[str]]
FIRST = "Anna Olga Maria Ivan Paul Lena Nils Rosa Karl Eva Hugo Ines".split()
STEMS = "kel bran mor tal vik sor lan dor hal fen gar rud ost mel bir nov tor wil sand eck rav lom".split()
ENDS = {"PER": "ova son ini ez sen ski".split(), "LOC": "burg ville grad ton stad mouth".split(),
        "ORG": "tec soft corp gas bank air".split()}  # fmt: skip
KINDS = tuple(ENDS)
PATTERNS = (
    "{PER} moved from {LOC} to {LOC} .", "{PER} works for {ORG} in {LOC} .", "the mayor of {LOC} met {PER} yesterday .",
    "{ORG} said on Monday that {PER} resigned .", "shares of {ORG} fell after {ORG} left {LOC} .", "it was {PER} .",
    "{PER} and {PER} were born in {LOC} .", "it rained all day in {LOC} .", "they left at noon .",
    *(f"{{{one}}} {verb} {{{other}}} ." for one in KINDS for verb in ("praised", "likes") for other in KINDS),
    *(f"nobody remembered {{{kind}}} ." for kind in KINDS), *(f"{{{kind}}} is well known ." for kind in KINDS),
)  # fmt: skip


def name(kind: str, rng: np.random.Generator) -> list[str]:
    """The words of an invented name."""
    stems = rng.choice(STEMS, 1 + (rng.random() < 0.8))
    word = "".join([*stems, str(rng.choice(ENDS[kind]))])
    words = [word.capitalize()]
    if kind == "PER" and rng.random() < 0.6:
        words.insert(0, str(rng.choice(FIRST)))
    if kind == "ORG" and rng.random() < 0.3:
        words.append(str(rng.choice(["Ltd", "Group", "Holding"])))
    if kind == "LOC" and rng.random() < 0.15:
        words.insert(0, str(rng.choice(["New", "Bad", "Port"])))
    return words


def sentences(count: int, rng: np.random.Generator) -> list[Sentence]:
    """(words, tags in IOB2) by the grammar."""
    found = []
    for _ in range(count):
        words: list[str] = []
        tags: list[str] = []
        for part in str(rng.choice(PATTERNS)).split():
            new = name(part[1:-1], rng) if part.startswith("{") else [part]
            words += new
            tags += [f"{'I' if k else 'B'}-{part[1:-1]}" if part.startswith("{") else "O" for k in range(len(new))]
        found.append((words, tags))
    return found


def read(path: Any) -> list[Sentence]:
    """The first and the last column, the tags as IOB2."""
    found = [(list(columns[0]), nlp.convert_tags(columns[-1], "IOB2")) for columns in nlp.read_columns(path)]
    if not found:
        raise ValueError(f"{path}: there are no sentences")
    return found


def tag(model: Any, sentences: list[list[str]]) -> list[list[str]]:
    """The tags of words."""
    texts = model.texts
    words = nlp.pad([texts["words"].encode([word.lower() for word in one]) for one in sentences])
    spelled = nlp.spell(sentences, texts["characters"]) if model.spelling is not None else None
    return [texts["tags"].decode(tags) for tags in model.predict(words, spelled)]


def shown(words: list[str], tags: list[str]) -> str:
    """A sentence with its names in brackets."""
    for kind, start, end in reversed(nlp.spans(tags)):
        words = [*words[:start], f"[{' '.join(words[start:end])} {kind}]", *words[end:]]
    return " ".join(words)


def train(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(args.seed)
    if args.data and len(args.data) != 2:
        raise ValueError("--data takes two files, for training and for testing")
    known, unseen = [read(path) for path in args.data] if args.data else [sentences(n, rng) for n in (3000, 500)]
    words = nlp.Vocabulary(min_freq=2, pad="<pad>", unk="<unk>").fit([w.lower() for w in one] for one, _ in known)
    characters = nlp.Vocabulary(unk="<unk>").fit(list(word) for one, _ in known for word in one)
    tags = nlp.Vocabulary.of(sorted({tag for _, tags in known for tag in tags}))
    names = [word for one, of in unseen for word, tag in zip(one, of, strict=True) if tag != "O"]
    new = np.mean([word.lower() not in words for word in names])
    print(f"{len(known):,} sentences, {len(words):,} words that occur twice, {len(tags)} tags; {len(unseen):,} for "
          f"testing, where {new:.0%} of the words in names are unknown")  # fmt: skip

    def joined(batch: list[Sentence]) -> tuple[Any, ...]:
        ids = nlp.pad([words.encode([word.lower() for word in one]) for one, _ in batch])
        gold = nlp.pad([tags.encode(of) for _, of in batch])
        return ids, gold, nlp.spell([one for one, _ in batch], characters) if args.characters else None

    model = nlp.SequenceTagger(
        len(words), len(tags), args.embedding, args.hidden, characters=len(characters) if args.characters else None,
        constraints=nlp.tag_constraints(tags.tokens), dropout=args.dropout, device=args.device,
    )  # fmt: skip
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=5.0)
    batches = nlp.Batches(known, batch_size=32, shuffle=True, by_length=True, seed=args.seed, collate=joined,
                          key=lambda sentence: len(sentence[0]), shard=args.group)  # fmt: skip
    tests = nlp.Batches(unseen, batch_size=100, collate=joined, shard=args.group)
    common.fit(args, model, optimizer, batches, tests, items=lambda batch: len(batch[0].lengths), restore_best=True)
    model.eval().save(args.out / "tagging.safetensors", words=words, characters=characters, tags=tags)

    found = tag(model, [one for one, _ in unseen])
    print(nlp.span_f1([of for _, of in unseen], found))
    for (one, gold), of in zip(unseen[:6], found, strict=False):
        print("  " + shown(one, of) + ("" if of == gold else f"\n    should be: {shown(one, gold)}"))
    print(f"the model is in {args.out / 'tagging.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.SequenceTagger.load(args.load, device=args.device)
    cut = [text.split() for text in args.input]
    if not all(cut):
        raise ValueError("a sentence has at least one word")
    for words, tags in zip(cut, tag(model, cut), strict=True):
        print(shown(words, tags))


if __name__ == "__main__":
    parser = common.options("tagging", __doc__, epochs=4, data="two files of words and tags, for training and testing "
                            "(default: sentences from a grammar)", use="sentences, blanks between words")  # fmt: skip
    parser.add_argument("--no-characters", dest="characters", action="store_false", help="do not spell the words")
    parser.add_argument("--embedding", type=int, default=50, help="size of a word's vector (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=64, help="size H of each direction (default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.3, help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=4e-3, help="Adam's learning rate (default: %(default)s)")
    common.run(parser, train, use)
