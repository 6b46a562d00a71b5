"""Word2Vec on several ranks, which are threads here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nlp
from nlp.word2vec.sharing import Shared
from nn.distributed import Group
from tests.nn.together import together


def corpus() -> list[list[str]]:
    """Sentences about two subjects, whose words do not mix; eight blocks of them."""
    rng = np.random.default_rng(0)
    subjects = [[f"{letter}{k}" for k in range(12)] for letter in "ab"]
    return [list(rng.choice(subjects[n % 2], 20)) for n in range(4000)]


def learned(sentences: Any, **how: Any) -> nlp.Word2Vec:
    made = nlp.Word2Vec(dim=16, min_count=1, subsample=0.1, epochs=2, window=2, workers=1)
    return made.fit(sentences, progress=False, **how)


def test_ranks_learn_what_one_process_learns() -> None:
    """The same vectors on all ranks and each time, of about the same loss, which tell the subjects apart."""
    sentences = corpus()
    alone = learned(sentences)
    first, second = (together(2, lambda group: learned(sentences, group=group, interval=10_000)) for _ in range(2))
    for rank in (*first[1:], *second):
        assert np.array_equal(rank.vectors.vectors, first[0].vectors.vectors)
        assert rank.losses == first[0].losses
    np.testing.assert_allclose(first[0].losses, alone.losses, rtol=0.05)
    vectors = first[0].vectors
    for word in ("a0", "b5"):
        assert all(other[0] == word[0] for other, _ in vectors.most_similar(word, topn=8))


def test_a_group_of_one_is_one_process() -> None:
    sentences = corpus()[:500]
    one, other = learned(sentences), learned(sentences, group=Group(), interval=1)
    assert np.array_equal(one.vectors.vectors, other.vectors.vectors)
    with pytest.raises(ValueError, match="interval must be an integer of at least 1, not 0"):
        learned(sentences, interval=0)


def test_changes_are_summed_where_they_differ_and_averaged_where_they_agree() -> None:
    changes = np.array(
        [[[4, 0], [0, 0], [2, 0], [3, 4]], [[0, 2], [0, 6], [2, 0], [3, 4]], [[0, 0], [0, 0], [2, 0], [3, -4]]]
    )

    def work(group: Any) -> list[Any]:
        W = np.ones((4, 2), np.float32)
        shared = Shared(group, [W], 1)
        W += changes[group.rank]
        shared.meet()
        return W.tolist()

    # rows: orthogonal; of one rank; the same; in between: |Σ|² = 9² + 4² = 97, Σ|·|² = 75
    expected = 1 + np.array([[4, 2], [0, 6], [2, 0], [9 * 75 / 97, 4 * 75 / 97]])
    for found in together(3, work):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
