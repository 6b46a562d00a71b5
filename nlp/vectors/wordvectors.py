"""WordVectors: words with vectors, and queries of their directions. Independent of their training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from nn.training.files import StrPath

from ..lists import refuse_text
from ..vocabulary import Vocabulary
from . import evaluation, formats, pictures

Array = Any
Method = Literal["add", "mul"]
Query = str | Array | Sequence[Any]
EPSILON = 1e-3  # of 3CosMul, as in the paper


class WordVectors:
    """V words, each with a vector of D numbers. Immutable.

    words    V strings, all different; frequent ones first, where it matters
    vectors  (V, D) finite numbers; kept as float32
    counts   (V,) the count of each word, or None

    >>> v = WordVectors(["king", "queen", "man", "woman"], [[3, 1], [3, -1], [1, 1], [1, -1]])
    >>> len(v), v.dim, "king" in v, v["king"].tolist()
    (4, 2, True, [3.0, 1.0])
    >>> v.analogy("man", "king", "woman", topn=1)[0][0]
    'queen'

    Raises ValueError if words and vectors do not fit, a word is repeated, or a number is not finite.
    """

    def __init__(self, words: Iterable[str], vectors: Any, counts: Any = None) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            refuse_text("WordVectors", "words", words, '["king", "queen"]')
            self._set(tuple(words), np.asarray(vectors, np.float32), counts)
            sums = self.vectors.sum(axis=1)
        for k in np.flatnonzero(~np.isfinite(sums)):
            if not np.all(np.isfinite(self.vectors[k])):  # or only the sum overflows
                raise ValueError(f"WordVectors: the vector of {self.words[k]!r}, {k}, is not finite")

    def _set(self, words: tuple[str, ...], vectors: Array, counts: Any) -> None:
        if vectors.ndim != 2 or len(vectors) != len(words) or not vectors.size:
            raise ValueError(f"WordVectors: {len(words)} words need ({len(words)}, D) numbers, not {vectors.shape}")
        self.words = words
        self.vectors = vectors.view()
        self.vectors.flags.writeable = False
        self._index = {word: k for k, word in enumerate(words)}
        if len(self._index) < len(words):
            k = next(k for k, word in enumerate(words) if self._index[word] != k)
            raise ValueError(f"WordVectors: the word {words[k]!r} is there twice, as {k} and {self._index[words[k]]}")
        self.counts = None if counts is None else np.asarray(counts)
        if self.counts is not None and self.counts.shape != (len(words),):
            raise ValueError(f"WordVectors: {len(words)} words need as many counts, not {self.counts.shape}")
        self._norms: Array = None

    # ---- looking up ----------------------------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """D, the size of the vectors."""
        return int(self.vectors.shape[1])

    @property
    def norms(self) -> Array:
        """(V,) the lengths of the vectors; 1 for a zero vector."""
        if self._norms is None:
            norms = _lengths(self.vectors)
            for k in np.flatnonzero(~np.isfinite(norms)):  # from a file that is mapped, not read
                raise ValueError(f"WordVectors: the vector of {self.words[k]!r}, {k}, is not finite")
            self._norms = norms
        return self._norms

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._index

    def __getitem__(self, words: str | Sequence[str]) -> Array:
        """The vector (D,) of a word, or those (N, D) of a list of words. Raises KeyError for unknown ones."""
        return self.vectors[self.index(words) if isinstance(words, str) else [self.index(word) for word in words]]

    def index(self, word: str) -> int:
        """The index of a word. Raises KeyError, with a similar spelling, if it is unknown."""
        found = self._index.get(word)
        if found is None:
            variants = (word.lower(), word.capitalize(), word.upper()) if isinstance(word, str) else ()
            near = next((f"; {other!r} is" for other in variants if other in self._index), "")
            raise KeyError(f"WordVectors: {word!r} is not one of the {len(self):,} words{near}")
        return found

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.words[:4])) + (", ..." if len(self) > 4 else "")
        return f"WordVectors({len(self):,} words of {self.dim} numbers: {shown})"

    def matrix_for(
        self, vocabulary: Vocabulary, *, missing: Literal["normal", "zero"] = "normal", seed: int = 0
    ) -> Array:  # fmt: skip
        """(len(vocabulary), D) the vectors in the order of a vocabulary's ids: the weight of an `nn.Embedding`.

        missing  the vectors of unknown words: N(0, σ²) with the σ of the known ones, or zeros. The vocabulary's `pad`
                 gets zeros

        `nn.Embedding.from_pretrained(vectors.matrix_for(vocabulary), freeze=True, padding_idx=vocabulary.pad_id)`.
        Raises ValueError if none of the vocabulary's words is known.
        """
        if missing not in ("normal", "zero"):
            raise ValueError(f"WordVectors.matrix_for: missing must be 'normal' or 'zero', not {missing!r}")
        places = np.array([self._index.get(token, -1) for token in vocabulary])  # (len(vocabulary),)
        known = places >= 0
        if not known.any():
            raise ValueError(f"WordVectors.matrix_for: none of {len(places)} tokens is a known word")
        found = self.vectors[places[known]]
        matrix = np.zeros((len(places), self.dim), np.float32)
        if missing == "normal":
            matrix[:] = found.std() * np.random.default_rng(seed).standard_normal(matrix.shape, np.float32)
        matrix[known] = found
        if vocabulary.pad_id is not None:
            matrix[vocabulary.pad_id] = 0
        return matrix

    # ---- directions ----------------------------------------------------------------------------------------------

    def unit(self, queries: Any) -> Array:
        """(N, D) vectors of length 1 in the directions of words, or of vectors (D,)."""
        refuse_text("WordVectors.unit", "queries", queries, '["king"]')
        rows = np.stack([self[q] if isinstance(q, str) else np.asarray(q, np.float32) for q in queries])
        if rows.shape[1:] != (self.dim,):
            raise ValueError(f"WordVectors: a vector of {self.dim} numbers is needed, not {rows.shape[1:]}")
        return rows / _lengths(rows)[:, None]

    def cosines(self, queries: Array, first: int | None = None) -> Array:
        """(N, V) the cosines of the angles between unit vectors (N, D) and all words, or the first ones."""
        return queries @ self.vectors[:first].T / self.norms[:first]

    def similarity(self, one: str, other: str) -> float:
        """The cosine of the angle between two words."""
        a, b = self.unit([one, other])
        return float(a @ b)

    def most_similar(
        self, positive: Query, negative: Query = (), topn: int | None = 10
    ) -> list[tuple[str, float]]:  # fmt: skip
        """The words closest to the direction of Σ positive − Σ negative, with cosines; the given words are excluded.

        positive, negative  a word, a vector (D,), or a list of words and vectors; only the direction of each counts
        topn                the most words to return; None: all
        """
        positive, negative = _as_list(positive), _as_list(negative)
        if not (positive or negative):
            raise ValueError("WordVectors.most_similar: give at least one word")
        signs = np.repeat([1, -1], [len(positive), len(negative)]).astype(np.float32)
        given = [*positive, *negative]
        return self._best(self.cosines(self.unit([signs @ self.unit(given)]))[0], given, topn)

    def analogy(
        self, a: str, b: str, c: str, topn: int | None = 10, method: Method = "add"
    ) -> list[tuple[str, float]]:  # fmt: skip
        """a is to b as c is to what? The best words with their scores; `topn=None` for all of them.

        method  "add": the cosine with b − a + c (3CosAdd; Mikolov, Yih & Zweig 2013);
                "mul": cos(x, b) · cos(x, c) / (cos(x, a) + ε), cosines moved to 0..1 (3CosMul; Levy & Goldberg 2014)
        """
        check_method("WordVectors.analogy", method)
        if method == "add":
            return self.most_similar([b, c], [a], topn)
        x, y, z = self.unit([a, b, c])[:, None]  # (1, D) each
        return self._best(self.analogy_scores(x, y, z, method)[0], [a, b, c], topn)

    def analogy_scores(self, a: Array, b: Array, c: Array, method: Method, first: int | None = None) -> Array:
        """(N, V) the scores of all words (or the first ones) as answers to N questions, from unit vectors (N, D)."""
        if method == "add":
            return self.cosines(b - a + c, first)
        to_a, to_b, to_c = ((1 + self.cosines(x, first)) / 2 for x in (a, b, c))
        return to_b * to_c / (to_a + EPSILON)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word farthest from the common direction of all of them."""
        refuse_text("WordVectors.doesnt_match", "words", words, '["king", "queen", "apple"]')
        if not words:
            raise ValueError("WordVectors.doesnt_match: give at least one word")
        directions = self.unit(words)  # (N, D)
        return words[int(np.argmin(directions @ directions.mean(axis=0)))]

    def _best(self, scores: Array, given: Sequence[Any], topn: int | None) -> list[tuple[str, float]]:
        """The words of the highest scores (V,), without the given ones."""
        scores = scores.copy()
        for word in given:
            if isinstance(word, str):
                scores[self.index(word)] = -np.inf
        found = int(np.sum(scores > -np.inf))
        topn = found if topn is None else min(topn, found)
        if topn < 1:
            return []
        best = np.argpartition(-scores, topn - 1)[:topn]
        return [(self.words[k], float(scores[k])) for k in best[np.argsort(-scores[best], kind="stable")]]

    # ---- quality, pictures, files --------------------------------------------------------------------------------

    def evaluate_pairs(
        self, pairs: StrPath | Iterable[tuple[str, str, float]], *, ignore_case: bool = True
    ) -> evaluation.PairScores:
        """Compare cosines with human judgements of the similarity of two words.

        pairs        a file of lines `word<TAB>word<TAB>score`, such as WordSim-353, or such triples
        ignore_case  accept any spelling of a word, preferring the first in the list

        Pairs with unknown words are skipped and counted. Raises ValueError if fewer than two are left.
        """
        return evaluation.evaluate_pairs(self, pairs, ignore_case)

    def evaluate_analogies(
        self, questions: StrPath | Mapping[str, Iterable[tuple[str, str, str, str]]], *, method: Method = "add",
        restrict: int | None = 300_000, ignore_case: bool = True,
    ) -> evaluation.AnalogyScores:  # fmt: skip
        """Answer questions "a is to b as c is to what?"; only the exact word is a right answer.

        questions    a file such as Google's questions-words.txt (lines `a b c d`, sections begin with `: name`), or a
                     mapping of sections to such tuples
        method       "add" or "mul", see `analogy`
        restrict     use only the first words, this number of them; None: all
        ignore_case  accept any spelling of a word, preferring the first in the list

        Questions with unknown words are skipped and counted. Raises ValueError if none is left.
        """
        check_method("WordVectors.evaluate_analogies", method)
        return evaluation.evaluate_analogies(self, questions, method, restrict, ignore_case)

    def plot(
        self, words: Sequence[str] | Mapping[str, Sequence[str]] | None = None, path: StrPath | None = None, *,
        method: Literal["pca", "tsne"] = "pca", title: str | None = None, seed: int = 0,
    ) -> Any:  # fmt: skip
        """Words in the plane. Returns the matplotlib Figure, and writes it to `path`.

        words   the words; groups of words, by name, are drawn in different colours. None: the first 100
        method  "pca": the plane of largest variance of directions; "tsne": neighbours stay neighbours, distances have
                no meaning (van der Maaten & Hinton 2008; needs scikit-learn)

        A label that would cover another one is omitted; its point stays.
        """
        return pictures.plot(self, self.words[:100] if words is None else words, path, method, title, seed)

    def save(self, path: StrPath, format: formats.Format | None = None) -> None:
        """Write a file, atomically.

        format  "text" or "binary", word2vec's two formats; or "safetensors", which can be memory-mapped and keeps
                counts and every word. None: by the suffix, .txt or .vec, .bin, .safetensors

        Raises ValueError for a word with a blank or a line end, which word2vec's formats cannot hold.
        """
        formats.save(self.words, self.vectors, self.counts, path, format)

    @classmethod
    def load(
        cls, path: StrPath, format: formats.Format | None = None, *, limit: int | None = None, mmap: bool = False,
        errors: Literal["strict", "replace"] = "strict", duplicates: formats.Duplicates = "first",
    ) -> WordVectors:  # fmt: skip
        """Load vectors written by `save`, word2vec, gensim (`save_word2vec_format`), fastText (.vec) or GloVe.

        format  as for `save`; a further suffix .gz or .xz is decompressed, except for safetensors
        limit   read only the first words, this number of them
        mmap    leave the numbers of a safetensors file on disk until they are needed: nothing is read at first, and
                several processes share one copy
        errors  for words that are not UTF-8: "strict" raises, "replace" puts U+FFFD into them
        duplicates  the vector of a repeated word: that of its "first" or "last" occurrence, with a warning that names
        such
                words; or "error"

        Raises OSError if there is no such file, ValueError, with file and place, if it is invalid. The sizes in a
        file's header are not trusted: nothing is allocated for data that were not read.
        """
        words, vectors, counts = formats.load(path, format, limit, mmap, errors, duplicates)
        try:
            if not mmap:
                return cls(words, vectors, counts)
            made = cls.__new__(cls)
            made._set(tuple(words), vectors, counts)
            return made
        except ValueError as error:
            raise ValueError(f"{formats.name_of(path)}: {error}") from None


def _lengths(rows: Array) -> Array:
    """(N,) the norms of (N, D); 1 for zero rows."""
    squares = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
    return np.where(squares == 0, 1, np.sqrt(squares)).astype(np.float32)


def check_method(title: str, method: str) -> None:
    """Raise ValueError unless it is one of the two methods."""
    if method not in ("add", "mul"):
        raise ValueError(f"{title}: method must be 'add' or 'mul', not {method!r}")


def _as_list(query: Query) -> list[Any]:
    """A list of words and vectors."""
    if isinstance(query, str) or (isinstance(query, np.ndarray) and query.ndim == 1):
        return [query]
    return list(query)
