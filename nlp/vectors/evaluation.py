"""Quality of word vectors: similarity compared with human judgements, and analogies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from nn.training.files import StrPath

from ..readers import read_lines

if TYPE_CHECKING:
    from .wordvectors import WordVectors

Array = Any
Pair = tuple[str, str, float]
Question = tuple[str, str, str, str]
SCORES = 2**24  # numbers in memory


@dataclass(frozen=True)
class PairScores:
    """The agreement of cosines with human judgements.

    spearman  correlation of the ranks, −1 to 1 (ties share their mean rank)
    pearson   correlation of the numbers
    pairs     the number of compared pairs
    unknown   the number of pairs with an unknown word
    """

    spearman: float
    pearson: float
    pairs: int
    unknown: int


@dataclass(frozen=True)
class AnalogyScores:
    """The number of correctly answered questions.

    sections  (right answers, questions) by section
    unknown   the number of questions with an unknown word, which were not asked
    """

    sections: dict[str, tuple[int, int]]
    unknown: int

    def __repr__(self) -> str:
        of = f" in {len(self.sections)} sections" if len(self.sections) > 1 else ""
        return f"<AnalogyScores: {self.correct:,} of {self.questions:,} right{of}, {self.unknown:,} not asked>"

    @property
    def correct(self) -> int:
        """All right answers."""
        return sum(right for right, _ in self.sections.values())

    @property
    def questions(self) -> int:
        """All questions that were asked."""
        return sum(asked for _, asked in self.sections.values())

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0 to 1."""
        return self.correct / self.questions

    def __str__(self) -> str:
        rows = [*self.sections.items(), ("all", (self.correct, self.questions))]
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            f"{name:<{width}}  {right:6,} of {asked:6,}" + (f"  {right / asked:6.1%}" if asked else "")
            for name, (right, asked) in rows
        )


def evaluate_pairs(vectors: WordVectors, pairs: StrPath | Iterable[Pair], ignore_case: bool) -> PairScores:
    """See `WordVectors.evaluate_pairs`."""
    find = _finder(vectors, None, ignore_case)
    ones, others, judged, unknown = [], [], [], 0
    for one, other, score in _read_pairs(pairs) if isinstance(pairs, str | os.PathLike) else pairs:
        i, j = find(one), find(other)
        if i is None or j is None:
            unknown += 1
        else:
            ones.append(i)
            others.append(j)
            judged.append(float(score))
    if len(judged) < 2:
        raise ValueError(f"evaluate_pairs: of {unknown + len(judged)} pairs only {len(judged)} have two known words")
    lengths = vectors.norms[ones] * vectors.norms[others]
    cosines = np.einsum("nd,nd->n", vectors.vectors[ones], vectors.vectors[others]) / lengths
    return PairScores(
        _correlation(_ranks(cosines), _ranks(np.array(judged))), _correlation(cosines, np.array(judged)),
        len(judged), unknown,
    )  # fmt: skip


def evaluate_analogies(
    vectors: WordVectors, questions: StrPath | Mapping[str, Iterable[Question]], method: Literal["add", "mul"],
    restrict: int | None, ignore_case: bool,
) -> AnalogyScores:  # fmt: skip
    """See `WordVectors.evaluate_analogies`."""
    find = _finder(vectors, restrict, ignore_case)
    spellings: dict[int, list[int]] = {}  # of the word at an index: all of them are the same word
    if ignore_case:
        for k, word in enumerate(vectors.words[:restrict]):
            spellings.setdefault(find(word) or 0, []).append(k)
    groups = _read_questions(questions) if isinstance(questions, str | os.PathLike) else questions
    sections, unknown = {}, 0
    for name, group in groups.items():
        asked = [[find(word) for word in question] for question in group]
        known = np.array([q for q in asked if None not in q], np.intp).reshape(-1, 4)
        unknown += len(asked) - len(known)
        size = max(1, SCORES // len(vectors))
        right = sum(
            _right(vectors, known[k : k + size], method, restrict, spellings) for k in range(0, len(known), size)
        )
        sections[name] = (right, len(known))
    scores = AnalogyScores(sections, unknown)
    if not scores.questions:
        raise ValueError(f"evaluate_analogies: none of {unknown} questions has known words alone")
    return scores


def _right(
    vectors: WordVectors, questions: Array, method: Literal["add", "mul"], restrict: int | None,
    spellings: Mapping[int, list[int]],
) -> int:  # fmt: skip
    """The number of (N, 4) questions answered correctly. A question's own words, in any spelling, are not answers."""
    a, b, c = (vectors.vectors[questions[:, k]] / vectors.norms[questions[:, k], None] for k in range(3))  # (N, D)
    scores = vectors.analogy_scores(a, b, c, method, restrict)  # (N, V)
    for n, own in enumerate(questions[:, :3]):
        for k in own:
            scores[n, spellings.get(int(k), k)] = -np.inf
    answers, wanted = scores.argmax(axis=1), questions[:, 3]
    return sum(answer in spellings.get(int(k), (k,)) for answer, k in zip(answers.tolist(), wanted, strict=True))


def _finder(vectors: WordVectors, restrict: int | None, ignore_case: bool) -> Callable[[str], int | None]:
    """A function from a word to its index, or None."""
    fold = str.casefold if ignore_case else str
    places: dict[str, int] = {}
    for k, word in enumerate(vectors.words[:restrict]):
        places.setdefault(fold(word), k)
    return lambda word: places.get(fold(word))


# ---- statistics --------------------------------------------------------------------------------------------------


def _correlation(x: Array, y: Array) -> float:
    """Pearson's correlation; 0 if one of them is constant."""
    x, y = x - x.mean(dtype=np.float64), y - y.mean(dtype=np.float64)
    norm = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / norm) if norm else 0.0


def _ranks(x: Array) -> Array:
    """Ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


# ---- files -------------------------------------------------------------------------------------------------------


def _read_pairs(path: StrPath) -> Iterator[Pair]:
    """Lines `word<TAB>word<TAB>score`; a heading, empty lines and lines that begin with # are skipped."""
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            one, other, score = fields[0], fields[1], float(fields[2])
        except (IndexError, ValueError):
            if number > 1:
                _fail(path, number, "expected a word, a word and a number, with tabs between them", line)
            continue
        yield one, other, score


def _read_questions(path: StrPath) -> dict[str, list[Question]]:
    """Sections of lines `a b c d`; a line `: name` begins a section."""
    sections: dict[str, list[Question]] = {}
    group: list[Question] | None = None
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if line.startswith(":"):
            group = sections.setdefault(line[1:].strip(), [])
        elif words:
            if group is None or len(words) != 4:
                _fail(path, number, "expected four words" if group is not None else "expected `: name` first", line)
            group.append((words[0], words[1], words[2], words[3]))
    return sections


def _fail(path: StrPath, number: int, why: str, line: str) -> NoReturn:
    raise ValueError(f"{os.fspath(path)}, line {number}: {why}, not {line[:60]!r}")
