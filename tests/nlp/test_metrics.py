"""Metrics: spans against conlleval's own rules, and against the numbers that are published of it; the others against
their formulas."""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nlp
from nlp import Span

steady = settings(deadline=None, derandomize=True, max_examples=300)
DATA = os.environ.get("MINIGRAD_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="MINIGRAD_DATA does not say where the corpora are")

# ---- spans -------------------------------------------------------------------------------------------------------

# The tables of conlleval: a phrase ends, or begins, between a tag and the next, by their letters. What is said of B
# after E, and of S, which the script of 2004 does not know, is as its successors for IOBES have it.
ENDS = {*"BB BO IB IO EE EI EO".split()} | {*"BS IS EB ES SB SI SE SS SO".split()}
BEGINS = {*"BB IB OB OI EE EI OE".split()} | {*"BS IS OS EB ES SB SI SE SS".split()}


def ends(a: str, b: str, kind: str, other: str) -> bool:
    return a + b in ENDS or (a != "O" and kind != other)


def begins(a: str, b: str, kind: str, other: str) -> bool:
    return a + b in BEGINS or (b != "O" and kind != other)


def conlleval(gold: list[list[str]], predicted: list[list[str]]) -> tuple[Any, Any, Any, int]:
    """Of each kind, how many phrases are right, predicted, and there; and how many tags are right. Token by token, as
    the script counts: a phrase is right if both sides begin it together, agree on its kind, and end it together."""
    right, found, there, tags = Counter[str](), Counter[str](), Counter[str](), 0
    rows: list[tuple[str, str]] = []
    for one, two in zip(gold, predicted, strict=True):
        rows += [*zip(one, two, strict=True), ("O", "O")]
    before, inside = (("O", ""), ("O", "")), False
    for row in rows:
        now = tuple(tuple(tag.partition("-")[::2]) for tag in row)
        stops = [ends(a[0], b[0], a[1], b[1]) for a, b in zip(before, now, strict=True)]
        starts = [begins(a[0], b[0], a[1], b[1]) for a, b in zip(before, now, strict=True)]
        if inside and all(stops) and before[0][1] == before[1][1]:
            right[before[0][1]] += 1
            inside = False
        elif inside and (stops[0] != stops[1] or now[0][1] != now[1][1]):
            inside = False
        if all(starts) and now[0][1] == now[1][1]:
            inside = True
        there[now[0][1]] += starts[0]
        found[now[1][1]] += starts[1]
        tags += now[0] == now[1]
        before = now
    return +right, +found, +there, tags - len(gold)


def sentences(letters: str) -> Any:
    tags = st.sampled_from(["O", *(f"{letter}-{kind}" for letter in letters for kind in ("PER", "LOC"))])
    pairs = st.lists(st.tuples(tags, tags) | tags.map(lambda tag: (tag, tag)), max_size=8)
    return st.lists(pairs, min_size=1, max_size=4)


@steady
@given(st.one_of(sentences("BI"), sentences("BIES")))
def test_any_tags_are_counted_as_conlleval_counts(pairs: list[list[tuple[str, str]]]) -> None:
    """Whole or broken, of one scheme or several mixed."""
    gold, predicted = ([[pair[side] for pair in sentence] for sentence in pairs] for side in (0, 1))
    right, found, there, tags = conlleval(gold, predicted)
    scores = nlp.span_f1(gold, predicted)
    assert set(scores.kinds) == set(found) | set(there)
    total = tuple(sum(counts.values()) for counts in (right, found, there))
    each = {kind: (right[kind], found[kind], there[kind]) for kind in scores.kinds}
    for score, (hits, guesses, truths) in [(scores, total), *((scores.kinds[kind], each[kind]) for kind in each)]:
        assert score.support == truths
        assert score.precision == pytest.approx(hits / guesses if guesses else 0)
        assert score.recall == pytest.approx(hits / truths if truths else 0)
        assert score.f1 == pytest.approx(2 * hits / (guesses + truths) if hits else 0)
    assert scores.accuracy == pytest.approx(tags / max(sum(map(len, gold)), 1))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("I-A I-A O I-A", "A01 A3"),  # IOB1
        ("I-A B-A I-A", "A0 A12"),
        ("B-A B-A O I-B", "A0 A1 B3"),
        ("B-A I-B I-B", "A0 B12"),  # another kind does not go on
        ("O I-A E-A", "A12"),
        ("B-A E-A E-A S-A", "A01 A2 A3"),  # IOBES
        ("S-A I-A E-A", "A0 A12"),
        ("B-A I-A L-A U-A", "A012 A3"),  # BILOU
        ("B-A-x I-A-x", "A-x01"),  # the kind has a dash
        ("O O", ""),
        ("", ""),
    ],
)
def test_spans_by_example(tags: str, expected: str) -> None:
    shown = [f"{kind}{''.join(map(str, range(start, end)))}" for kind, start, end in nlp.spans(tags.split())]
    assert shown == expected.split()


def test_the_published_scores_of_the_shared_task_of_2000() -> None:
    """The output that documents conlleval: 459 phrases, 539 found, 371 right: 68.83 %, 80.83 %, 74.35."""
    gold = [["B-NP"]] * 371 + [["B-VP", "I-VP"]] * 88 + [["O", "O"]] * 80
    predicted = [["B-NP"]] * 371 + [["B-VP", "O"]] * 88 + [["O", "I-PP"]] * 80
    scores = nlp.span_f1(gold, predicted)
    assert [f"{100 * s:.2f}" for s in (scores.precision, scores.recall, scores.f1)] == ["68.83", "80.83", "74.35"]
    lines = str(scores).splitlines()
    assert lines[1].split() == ["all", "68.83%", "80.83%", "74.35%", "459"]
    assert [line.split()[0] for line in lines[2:5]] == ["NP", "PP", "VP"]
    assert lines[2].split()[1:] == ["100.00%", "100.00%", "100.00%", "371"]
    assert lines[3].split()[1:] == ["0.00%", "0.00%", "0.00%", "0"]


@needs_data
def test_the_published_numbers_of_phrases_of_conll_2003() -> None:
    assert DATA is not None
    published = {"train": (7140, 3438, 6321, 6600), "testa": (1837, 922, 1341, 1842), "testb": (1668, 702, 1661, 1617)}
    for part, numbers in published.items():
        tags = [t for (t,) in nlp.read_columns(Path(DATA) / "conll2003" / f"eng.{part}.txt", columns=(3,))]
        for scheme in (None, "IOB2", "IOBES"):
            read = tags if scheme is None else [nlp.convert_tags(t, scheme) for t in tags]  # type: ignore[arg-type]
            kinds = nlp.span_f1(read, tags).kinds
            assert tuple(kinds[kind].support for kind in ("LOC", "MISC", "ORG", "PER")) == numbers
            assert all(kinds[kind].f1 == 1 for kind in kinds)


@st.composite
def phrases(draw: Any) -> tuple[list[Span], int]:
    length = draw(st.integers(0, 9))
    found, at = [], 0
    while at < length:
        start = at + draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 3))
        if end <= length:
            found.append(Span(draw(st.sampled_from(["PER", "LOC"])), start, end))
        at = end
    return found, length


@steady
@given(phrases(), st.sampled_from(["IOB1", "IOB2", "IOBES"]), st.sampled_from(["IOB1", "IOB2", "IOBES"]))
def test_phrases_to_tags_and_back(given_: tuple[list[Span], int], one: Any, other: Any) -> None:
    found, length = given_
    tags = nlp.tags_of(reversed(found), length, one)
    assert len(tags) == length
    assert nlp.spans(tags) == found
    assert nlp.convert_tags(tags, other) == nlp.tags_of(found, length, other)
    if one == "IOB1":  # B only where two of a kind touch
        touching = {b.start for a, b in itertools.pairwise(found) if a.end == b.start and a.kind == b.kind}
        assert {t for t, tag in enumerate(tags) if tag[0] == "B"} == touching


@steady
@given(phrases(), st.sampled_from(["IOB2", "IOBES"]))
def test_constraints_allow_all_tags_of_phrases_and_no_others(given_: tuple[list[Span], int], scheme: Any) -> None:
    known = ["O", *(f"{letter}-{kind}" for letter in ("BI" if scheme == "IOB2" else "BIES") for kind in ("PER", "LOC"))]
    follows, first, last = nlp.tag_constraints(known)
    found, length = given_
    ids = [known.index(tag) for tag in nlp.tags_of(found, length, scheme)]
    if ids:
        assert first[ids[0]]
        assert last[ids[-1]]
        assert all(follows[a, b] for a, b in itertools.pairwise(ids))
    for a, one in enumerate(known):  # a pair in the middle is allowed if it is what its own phrases give
        for b, other in enumerate(known):
            tags = [*([f"B-{one[2:]}"] if one[0] in "IE" else []), one, other]
            tags += [f"E-{other[2:]}"] if scheme == "IOBES" and other[0] in "BI" else []
            assert follows[a, b] == (nlp.convert_tags(tags, scheme) == tags)
        assert first[a] == (one[0] not in "IE")
        assert last[a] == (one[0] not in "BI" or scheme == "IOB2")


def test_constraints_in_bilou() -> None:
    """L ends a phrase as E does, and U is one by itself as S is: what may stand where is written down by hand."""
    tags = ["O", "B-A", "I-A", "L-A", "U-A", "B-B", "L-B"]
    follows, first, last = nlp.tag_constraints(tags)
    anew = ["O", "B-A", "U-A", "B-B"]  # what may follow where no phrase is open
    allowed = {
        "O": anew, "L-A": anew, "U-A": anew, "L-B": anew, "B-A": ["I-A", "L-A"], "I-A": ["I-A", "L-A"], "B-B": ["L-B"]
    }  # fmt: skip
    for k, tag in enumerate(tags):
        assert [other for other, may in zip(tags, follows[k], strict=True) if may] == allowed[tag]
    assert [tag for tag, may in zip(tags, first, strict=True) if may] == anew
    assert [tag for tag, may in zip(tags, last, strict=True) if may] == ["O", "L-A", "U-A", "L-B"]
    with pytest.raises(ValueError, match="nothing can come before 'L-A': there is no B-A"):
        nlp.tag_constraints(["O", "L-A"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nlp.spans(["O", "X-PER"]), "spans: tag 1, 'X-PER', is neither O nor one of B, I"),
        (lambda: nlp.spans(["PER"]), "spans: tag 0, 'PER'"),
        (lambda: nlp.spans(["B-"]), "spans: tag 0, 'B-'"),
        (lambda: nlp.spans(["O-PER"]), "spans: tag 0, 'O-PER'"),
        (lambda: nlp.tags_of([Span("A", 0, 2), Span("A", 1, 3)], 3), r"Span\(kind='A', start=1, end=3\) does not fit"),
        (lambda: nlp.tags_of([Span("A", 0, 2)], 1), "into 1 tokens"),
        (lambda: nlp.tags_of([Span("A", 1, 1)], 3), "does not fit"),
        (lambda: nlp.convert_tags(["O"], "BIO"), "one of IOB1, IOB2, IOBES, not 'BIO'"),  # type: ignore[arg-type]
        (lambda: nlp.tag_constraints([]), "tag_constraints: there are no tags"),
        (lambda: nlp.tag_constraints(["O", "I-A"]), "nothing can come before 'I-A': there is no B-A"),
        (lambda: nlp.tag_constraints(["B-A", "S-B"]), "nothing can come after 'B-A': there is no E-A"),
        (lambda: nlp.tag_constraints(["O", "X"]), "tag_constraints: tag 1, 'X'"),
        (lambda: nlp.span_f1([["O"]], [["O", "O"]]), "sentence 0 has 1 tags, but 2 are predicted"),
        (lambda: nlp.span_f1([["O"]], []), "there are 1 sentences, but 0 are predicted"),
    ],
)
def test_tags_that_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---- perplexity, accuracy ----------------------------------------------------------------------------------------


def test_perplexity() -> None:
    p = np.array([0.5, 0.25, 0.125])
    assert nlp.perplexity(-np.log(p).mean()) == pytest.approx(4)
    assert nlp.perplexity(mg.tensor(0.0)) == 1
    assert nlp.perplexity(1e5) == math.inf
    assert math.isnan(nlp.perplexity(math.nan))


@pytest.mark.parametrize("make", [np.array, list, mg.tensor])
def test_accuracy(make: Any) -> None:
    predicted, gold = [[1, 2], [3, 4], [0, 0]], [[1, 0], [3, 0], [0, 5]]
    assert nlp.accuracy(make(predicted), make(gold)) == 0.5
    mask = nlp.sequence_mask([3, 1])
    assert nlp.accuracy(make(predicted), make(gold), mask) == 0.75
    assert nlp.accuracy(make(predicted), make(gold), mg.tensor(mask)) == 0.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1]), r"predictions are \(2,\), but the gold ones are \(1,\)"),
        (([], []), "nothing that counts"),
        (([1], [1], [False]), "nothing that counts"),
        (([1], [1], [1]), "the mask must be boolean"),
        (([1, 2], [1, 2], [True]), r"boolean and \(2,\), not bool \(1,\)"),
    ],
)
def test_accuracies_that_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"accuracy: .*{message}"):
        nlp.accuracy(*arguments)


# ---- translations ------------------------------------------------------------------------------------------------


def papineni(hypotheses: list[str], references: list[list[str]]) -> float:
    """BLEU of words between blanks, by the formula of the paper (all n-grams up to 4 occur)."""
    hits, totals, ours, theirs = [0] * 4, [0] * 4, 0, 0
    for number, hypothesis in enumerate(hypotheses):
        words, right = hypothesis.split(), [one[number].split() for one in references]
        ours += len(words)
        theirs += min((abs(len(r) - len(words)), len(r)) for r in right)[1]
        for n in range(4):
            grams = Counter(tuple(words[k : k + n + 1]) for k in range(len(words) - n))
            most: Counter[Any] = Counter()
            for r in right:
                most |= Counter(tuple(r[k : k + n + 1]) for k in range(len(r) - n))
            hits[n] += sum((grams & most).values())
            totals[n] += sum(grams.values())
    shortness = min(0.0, 1 - theirs / ours)
    return 100 * math.exp(shortness + np.mean([math.log(h / t) for h, t in zip(hits, totals, strict=True)]))


def test_bleu_is_papinenis() -> None:
    pytest.importorskip("sacrebleu")
    hypotheses = ["the cat sat on the mat today .", "there is a dog in the garden"]
    references = [["the cat sat on the mat .", "there is a dog in the big green garden"],
                  ["a cat was sitting on the mat today .", "a dog is in the garden"]]  # fmt: skip
    for lists in (references[:1], references):
        found = nlp.bleu(hypotheses, lists, tokenize="none")
        assert found.score == pytest.approx(papineni(hypotheses, lists))
    assert nlp.bleu(hypotheses, references[0], tokenize="none").score == pytest.approx(
        papineni(hypotheses, references[:1])
    )
    assert nlp.bleu(hypotheses, hypotheses).score == pytest.approx(100)
    upper = [one.upper() for one in hypotheses]
    assert nlp.bleu(upper, hypotheses).score < 5  # nothing but a full stop
    assert nlp.bleu(upper, hypotheses, lowercase=True).score == pytest.approx(100)


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        ([], [], "0 hypotheses, and references: none"),
        (["a"], ["a", "b"], "1 hypotheses, and references: 2"),
        (["a"], [["a"], ["a", "b"]], "references: 1 and 2"),
    ],
)
def test_translations_that_are_refused(hypotheses: Any, references: Any, message: str) -> None:
    pytest.importorskip("sacrebleu")
    with pytest.raises(ValueError, match=f"bleu: .*{message}"):
        nlp.bleu(hypotheses, references)


def test_bleu_without_sacrebleu_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sacrebleu"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match=r"bleu needs sacrebleu: pip install 'minigrad\[nlp\]'"):
        nlp.bleu(["a"], ["a"])
