"""Word vectors beside gensim's: files both ways, the same answers to the same questions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gensim
import numpy as np
import pytest

from nlp import Word2Vec, WordVectors, python_documentation

pytestmark = pytest.mark.parity
needs_data = pytest.mark.skipif("MINIGRAD_DATA" not in os.environ, reason="needs the data sets, MINIGRAD_DATA")
DATA = Path(os.environ.get("MINIGRAD_DATA", ""))


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    lines = [line.split() for line in python_documentation().split("\n")]
    return Word2Vec(dim=20, min_count=3, epochs=1, subsample=0).fit(lines[:2000], progress=False).vectors


def theirs(vectors: WordVectors) -> Any:
    keyed = gensim.models.KeyedVectors(vectors.dim)
    keyed.add_vectors(vectors.words, vectors.vectors)
    return keyed


def judged() -> WordVectors:
    """Vectors for most words of the two test sets, in several spellings; words with the same letters are alike, so that
    some answers are right."""
    text = (DATA / "word_similarity" / "wordsim353.tsv").read_text(encoding="utf-8")
    text += (DATA / "word_similarity" / "questions-words.txt").read_text(encoding="utf-8")
    words = sorted({word for word in text.split() if word.isalpha()})
    words = [word for k, word in enumerate(words) if k % 5]
    words = [spelling for word in words for spelling in dict.fromkeys([word, word.lower(), word.upper()])]
    words = list(dict.fromkeys(words))
    rng = np.random.default_rng(0)
    letters = {letter: rng.standard_normal(30) for letter in sorted(set("".join(words)))}
    rows = [sum(letters[x] for x in word) / len(word) + 0.1 * rng.standard_normal(30) for word in words]
    return WordVectors(words, np.array(rows))


# ---- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_files_written_here_load_there(vectors: WordVectors, tmp_path: Path, binary: bool) -> None:
    path = tmp_path / ("v.bin" if binary else "v.txt")
    vectors.save(path)
    keyed = gensim.models.KeyedVectors.load_word2vec_format(str(path), binary=binary)
    assert tuple(keyed.index_to_key) == vectors.words
    np.testing.assert_array_equal(keyed.vectors, vectors.vectors)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_files_written_there_load_here(vectors: WordVectors, tmp_path: Path, binary: bool, suffix: str) -> None:
    path = tmp_path / (("v.bin" if binary else "v.txt") + suffix)
    theirs(vectors).save_word2vec_format(str(path), binary=binary)
    read = WordVectors.load(path)
    assert read.words == vectors.words
    np.testing.assert_array_equal(read.vectors, vectors.vectors)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_strange_words_travel_both_ways(tmp_path: Path, binary: bool) -> None:
    words = ["naïve", "日本", "😀", "a\tb", "\u00a0x", "it's", "<unk>", '"', "\\n", "e\u0301"]
    mine = WordVectors(words, np.arange(30.0).reshape(10, 3) / 7)
    path = tmp_path / ("v.bin" if binary else "v.txt")
    mine.save(path)
    keyed = gensim.models.KeyedVectors.load_word2vec_format(str(path), binary=binary)
    assert tuple(keyed.index_to_key) == mine.words
    keyed.save_word2vec_format(str(path), binary=binary)
    assert WordVectors.load(path).words == mine.words


# ---- questions ---------------------------------------------------------------------------------------------------


def same(found: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    assert [word for word, _ in found] == [word for word, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], rtol=1e-4)


def test_the_same_neighbours(vectors: WordVectors) -> None:
    keyed = theirs(vectors)
    for word in vectors.words[:100:7]:
        same(vectors.most_similar(word), keyed.most_similar(word))
    a, b, c = vectors.words[10:40:10]
    same(vectors.most_similar([a, b], c), keyed.most_similar([a, b], [c]))
    same(vectors.most_similar(vectors[a]), keyed.similar_by_vector(vectors[a]))
    same(vectors.analogy(a, b, c), keyed.most_similar([b, c], [a]))
    with pytest.warns(DeprecationWarning, match="init_sims"):  # which it calls itself
        expected = keyed.most_similar_cosmul([b, c], [a])
    found = vectors.analogy(a, b, c, method="mul")
    assert [word for word, _ in found] == [word for word, _ in expected]  # its ε is smaller, and so are scores
    assert vectors.doesnt_match(vectors.words[:9]) == keyed.doesnt_match(vectors.words[:9])
    assert vectors.similarity(a, b) == pytest.approx(float(keyed.similarity(a, b)), abs=1e-6)


@needs_data
@pytest.mark.parametrize("ignore_case", [True, False])
def test_the_same_correlation_with_judgements(ignore_case: bool) -> None:
    mine, path = judged(), DATA / "word_similarity" / "wordsim353.tsv"
    scores = mine.evaluate_pairs(path, ignore_case=ignore_case)
    pearson, spearman, unknown = theirs(mine).evaluate_word_pairs(str(path), case_insensitive=ignore_case)
    assert scores.pearson == pytest.approx(pearson.statistic, rel=1e-4)
    assert scores.spearman == pytest.approx(spearman.statistic, rel=1e-4)
    assert 100 * scores.unknown / (scores.pairs + scores.unknown) == pytest.approx(unknown)


@needs_data
def test_the_same_analogies() -> None:
    """Section by section."""
    mine, path = judged(), DATA / "word_similarity" / "questions-words.txt"
    scores = mine.evaluate_analogies(path)
    accuracy, sections = theirs(mine).evaluate_word_analogies(str(path))
    expected = {s["section"]: (len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections[:-1]}
    assert scores.sections == expected
    assert scores.accuracy == pytest.approx(accuracy)
    assert scores.questions > 1000
    assert 0 < scores.correct < scores.questions
