"""Metrics of models: perplexity, accuracy, F1 of spans, BLEU."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from minigrad import backend

from .lists import refuse_text

Array = Any
Tags = Sequence[str]


def perplexity(loss: Any) -> float:
    """exp(loss), for a mean of −log p in nats a token: the number of equally likely tokens that are equally hard to
    guess.

    >>> round(perplexity(math.log(8)), 6)
    8.0
    """
    try:
        return math.exp(float(loss))
    except OverflowError:
        return math.inf


def accuracy(predicted: Any, gold: Any, mask: Any = None) -> float:
    """The share of correct predictions among those that count.

    predicted, gold  integers or booleans of the same shape (...)
    mask             (...) True where it counts; None: everywhere

    >>> accuracy([1, 2, 3], [1, 2, 0], mask=[True, True, False])
    1.0

    Raises ValueError for different shapes, or if nothing counts; TypeError for a string in place of a list.
    """
    refuse_text("accuracy", "predicted", predicted)
    refuse_text("accuracy", "gold", gold)
    a, b = _numbers(predicted), _numbers(gold)
    if a.shape != b.shape:
        raise ValueError(f"accuracy: predictions are {a.shape}, but the gold ones are {b.shape}")
    counts = np.ones(a.shape, bool) if mask is None else _numbers(mask)
    if counts.shape != a.shape or counts.dtype != bool:
        raise ValueError(f"accuracy: the mask must be boolean and {a.shape}, not {counts.dtype} {counts.shape}")
    if not counts.any():
        raise ValueError("accuracy: there is nothing that counts")
    return float((a == b)[counts].mean())


def _numbers(value: Any) -> np.ndarray[Any, Any]:
    array = getattr(value, "data", value)
    return backend.to_numpy(array) if backend.is_array(array) else np.asarray(value)


# ---- spans -------------------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """A phrase of a kind: the tokens from `start` up to, not including, `end`."""

    kind: str
    start: int
    end: int


def spans(tags: Tags) -> list[Span]:
    """The phrases encoded by tags, as the official script of CoNLL-2000 and 2003 (conlleval) reads them.

    A tag is O, or a letter, "-", and a kind: B begins a phrase, I continues it; E ends one, S is a single token (IOBES;
    L and U as in BILOU mean the same). This covers IOB1, IOB2 and IOBES. An I or E that does not continue a phrase of
    its kind begins one, too. (The script itself does not know S, and takes B after E for the same phrase; here it is
    another.)

    >>> spans(["I-PER", "I-PER", "B-PER", "O", "I-LOC"])
    [Span(kind='PER', start=0, end=2), Span(kind='PER', start=2, end=3), Span(kind='LOC', start=4, end=5)]

    Raises ValueError, with the place, for an invalid tag; TypeError for a string in place of a list.
    """
    refuse_text("spans", "tags", tags, TAGS)
    found: list[Span] = []
    start, before, kind = 0, "O", ""
    for t, tag in enumerate([*tags, "O"]):
        letter, of = _parted("spans", t, tag)
        if before != "O" and (letter in "OBSU" or before in "ESLU" or of != kind):
            found.append(Span(kind, start, t))
            before = "O"
        if letter != "O" and before == "O":
            start = t
        before, kind = letter, of
    return found


LETTERS = ("O", "B", "I", "E", "S", "L", "U")
TAGS = '["B-PER", "I-PER", "O"]'  # a list of tags, in messages
Scheme = Literal["IOB1", "IOB2", "IOBES"]
SCHEMES: tuple[Scheme, ...] = ("IOB1", "IOB2", "IOBES")


def tags_of(phrases: Iterable[Span], length: int, scheme: Scheme = "IOB2") -> list[str]:
    """Phrases as the tags of a sequence of `length` tokens; the inverse of `spans`.

    >>> tags_of([Span("PER", 0, 2), Span("PER", 2, 3)], 4, "IOBES")
    ['B-PER', 'E-PER', 'S-PER', 'O']

    Raises ValueError for phrases that overlap or do not fit.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"tags_of: the scheme is one of {', '.join(SCHEMES)}, not {scheme!r}")
    tags, before = ["O"] * length, Span("", 0, 0)
    for span in sorted(phrases, key=lambda one: one.start):
        kind, start, end = span
        if not before.end <= start < end <= length:
            raise ValueError(f"tags_of: {span} does not fit after {before} into {length} tokens")
        tags[start:end] = [f"I-{kind}"] * (end - start)
        touches = before.kind == kind and before.end == start
        if scheme != "IOB1" or touches:
            tags[start] = f"B-{kind}"
        if scheme == "IOBES":
            tags[end - 1] = f"E-{kind}" if end - start > 1 else f"S-{kind}"
        before = span
    return tags


def convert_tags(tags: Tags, scheme: Scheme) -> list[str]:
    """The same phrases in another scheme: IOB1 (as CoNLL-2003 is distributed), IOB2 or IOBES.

    >>> convert_tags(["I-PER", "I-PER", "O"], "IOB2")
    ['B-PER', 'I-PER', 'O']
    """
    return tags_of(spans(tags), len(tags), scheme)


def tag_constraints(tags: Tags) -> tuple[Array, Array, Array]:
    """The transitions between tags that IOB2 or IOBES allows, (K, K) for `nn.CRF(constraints=)`; and the tags allowed
    first and last, (K,) each.

    tags  the K tags; they are IOBES if one begins with E, S, L or U, else IOB2

    Raises ValueError for an invalid tag, and for a tag that no phrase could contain: an I without a B of its kind, as
    in IOB1, which has to be converted first (`convert_tags`).

    >>> follows, first, last = tag_constraints(["O", "B-PER", "I-PER"])
    >>> follows.tolist(), first.tolist()
    ([[True, True, False], [True, True, True], [True, True, True]], [True, True, False])
    """
    refuse_text("tag_constraints", "tags", tags, TAGS)
    if not tags:
        raise ValueError("tag_constraints: there are no tags")
    parts = [_parted("tag_constraints", n, tag) for n, tag in enumerate(tags)]
    closed = any(letter in "ESLU" for letter, _ in parts)
    opens = np.array([letter not in "IEL" for letter, _ in parts])  # True if it needs no phrase before it
    ends = np.array([letter not in "BI" or not closed for letter, _ in parts])  # True if it leaves no phrase open
    inside = [[one in ("B", "I") and other in ("I", "E", "L") and k == m for other, m in parts] for one, k in parts]
    begun, ended = ({kind for letter, kind in parts if letter in letters} for letters in ("B", "EL"))
    for n, (_, kind) in enumerate(parts):
        if not opens[n] and kind not in begun:
            raise ValueError(f"tag_constraints: nothing can come before {tags[n]!r}: there is no B-{kind}")
        if not ends[n] and kind not in ended:
            raise ValueError(f"tag_constraints: nothing can come after {tags[n]!r}: there is no E-{kind}")
    return np.where(opens, ends[:, None], False) | np.array(inside), opens, ends


def _parted(title: str, place: int, tag: str) -> tuple[str, str]:
    """The letter and the kind of a tag; ValueError if it is invalid."""
    letter, _, kind = tag.partition("-")
    if letter not in LETTERS or (letter == "O") != (not kind):
        raise ValueError(f"{title}: tag {place}, {tag!r}, is neither O nor one of {', '.join(LETTERS[1:])} with a kind")
    return letter, kind


@dataclass(frozen=True)
class Scores:
    """Precision, recall and F1 of phrases; `support` is the true number of them."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class SpanScores(Scores):
    """The scores over all phrases, for each kind, and the share of correct tags."""

    accuracy: float = 0.0
    kinds: dict[str, Scores] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """A table like that of conlleval."""
        rows = [("all", self), *sorted(self.kinds.items())]
        lines = [f"{'':12}precision  recall      F1  phrases"]
        lines += [f"{name:12}{s.precision:9.2%} {s.recall:7.2%} {s.f1:7.2%} {s.support:8,}" for name, s in rows]
        return "\n".join([*lines, f"{self.accuracy:.2%} of the tags are right"])


def span_f1(gold: Iterable[Tags], predicted: Iterable[Tags]) -> SpanScores:
    """Scores of phrases found with exact borders and kinds: the numbers of conlleval (Tjong Kim Sang & De Meulder
    2003).

    gold, predicted  the tags of each sentence, in any scheme that `spans` reads

    >>> span_f1([["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]]).f1
    0.0

    Raises ValueError for sentences that differ in number or length. A score with denominator 0 is 0.
    """
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    there: Counter[str] = Counter()
    same = total = 0
    for name, sentences in (("gold", gold), ("predicted", predicted)):
        refuse_text("span_f1", name, sentences, f"[{TAGS}]")
    for n, (one, other) in enumerate(_paired(gold, predicted)):
        refuse_text("span_f1", f"sentence {n}", one, TAGS)
        refuse_text("span_f1", f"sentence {n} of the predictions", other, TAGS)
        if len(one) != len(other):
            raise ValueError(f"span_f1: sentence {n} has {len(one)} tags, but {len(other)} are predicted")
        a, b = set(spans(one)), set(spans(other))
        there.update(s.kind for s in a)
        found.update(s.kind for s in b)
        right.update(s.kind for s in a & b)
        same += sum(x == y for x, y in zip(one, other, strict=True))
        total += len(one)

    def scores(kinds: Iterable[str]) -> tuple[float, float, float, int]:
        kinds = list(kinds)
        hits, guesses, truths = (sum(counts[kind] for kind in kinds) for counts in (right, found, there))
        precision, recall = hits / max(guesses, 1), hits / max(truths, 1)
        return precision, recall, 2 * precision * recall / max(precision + recall, 1e-300), truths

    kinds = sorted(there.keys() | found.keys())
    return SpanScores(*scores(kinds), same / max(total, 1), {kind: Scores(*scores([kind])) for kind in kinds})


def _paired(gold: Iterable[Tags], predicted: Iterable[Tags]) -> Iterator[tuple[Tags, Tags]]:
    one, other = list(gold), list(predicted)
    if len(one) != len(other):
        raise ValueError(f"span_f1: there are {len(one)} sentences, but {len(other)} are predicted")
    return zip(one, other, strict=True)


# ---- translations ------------------------------------------------------------------------------------------------


def bleu(
    hypotheses: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]], *,
    tokenize: Literal["13a", "intl", "char", "zh", "none"] = "13a", lowercase: bool = False,
) -> Any:  # fmt: skip
    """BLEU of a corpus (Papineni et al. 2002) by sacrebleu (Post 2018); `.score` is from 0 to 100.

    hypotheses  N translations
    references  N references, or several such lists
    tokenize    sacrebleu's tokenization of words; "none" for tokenized texts, with words between blanks
    lowercase   compare in lower case

    Raises ImportError without sacrebleu, ValueError if the numbers of sentences differ or are zero, TypeError for a
    string in place of a list.
    """
    refuse_text("bleu", "hypotheses", hypotheses, '["the cat sat"]')
    refuse_text("bleu", "references", references, '["the cat sat"]')
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ImportError("bleu needs sacrebleu: pip install 'minigrad[nlp]'") from error
    hypotheses, references = list(hypotheses), list(references)
    if any(not isinstance(one, str) for one in hypotheses):
        raise TypeError("bleu: hypotheses are strings, one for each sentence")
    lists: list[Any] = [references] if references and isinstance(references[0], str) else list(references)
    if any(not isinstance(text, str) for one in lists for text in one):
        raise TypeError("bleu: references are strings, one for each hypothesis, or several lists of such")
    if not hypotheses or any(len(one) != len(hypotheses) for one in lists) or not lists:
        counts = " and ".join(str(len(one)) for one in lists) or "none"
        raise ValueError(f"bleu: there are {len(hypotheses)} hypotheses, and references: {counts}")
    return BLEU(tokenize=tokenize, lowercase=lowercase, force=True).corpus_score(hypotheses, lists)
