"""One string in place of a list of strings is refused, wherever a list is meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nlp
from nlp.decoding.pictures import attention_map, name_of

VECTORS = nlp.WordVectors(["a", "b", "c"], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
WORDS = nlp.Vocabulary.of(["a", "b"], unk="<unk>")


@pytest.mark.parametrize(
    "call",
    [
        lambda: nlp.bleu("a b", ["a b"]),
        lambda: nlp.bleu(["a b"], "a b"),
        lambda: nlp.bleu([["a", "b"]], ["a b"]),
        lambda: nlp.accuracy("ab", "ab"),
        lambda: nlp.accuracy([1, 2], "12"),
        lambda: nlp.spans("OO"),
        lambda: nlp.convert_tags("OO", "IOB2"),
        lambda: nlp.tag_constraints("O"),
        lambda: nlp.span_f1("OO", "OO"),
        lambda: nlp.span_f1(["OO"], [["O", "O"]]),
        lambda: nlp.span_f1([["O", "O"]], ["OO"]),
        lambda: nlp.spell("ab", WORDS),
        lambda: nlp.spell(["ab"], WORDS),
        lambda: nlp.Vocabulary().fit("a b"),
        lambda: nlp.Vocabulary().fit(["a b"]),
        lambda: nlp.Vocabulary(specials="<s>"),
        lambda: nlp.Vocabulary.of("ab"),
        lambda: WORDS.encode("ab"),
        lambda: WORDS.encode(b"ab"),
        lambda: nlp.WordTokenizer().fit("a b"),
        lambda: nlp.WordTokenizer().fit(["a b"]).encode_batch("a b"),
        lambda: nlp.WordTokenizer().fit(["a b"]).encode_batch(b"a b"),
        lambda: nlp.WordVectors("ab", [[1.0], [2.0]]),
        lambda: VECTORS.unit("ab"),
        lambda: VECTORS.doesnt_match("ab"),
        lambda: VECTORS.plot("abc"),
        lambda: nlp.Word2Vec(min_count=1).fit("a b"),
        lambda: nlp.Word2Vec(min_count=1).fit(["a b"]),
        lambda: nlp.pad("ab"),
        lambda: nlp.pad(["ab"]),
        lambda: nlp.Batches("ab", batch_size=1),
        lambda: nlp.StreamBatches("ab", batch_size=1),
        lambda: nlp.LanguageModelBatches("abcdefgh", 1, 2),
        lambda: nlp.one_hot("12", 3),
        lambda: WORDS.decode("01"),
        lambda: name_of(0, "abc"),
        lambda: attention_map(np.ones((1, 2)), "ab", None, None),
    ],
)  # fmt: skip
def test_a_text_is_no_list(call: Any) -> None:
    with pytest.raises(TypeError):
        call()


def test_the_message_says_how_a_list_is_written() -> None:
    with pytest.raises(TypeError, match=r"bleu: hypotheses must be a list, such as .*, not the string 'a b'"):
        nlp.bleu("a b", "a b")


def test_all_words_but_the_query() -> None:
    assert [word for word, _ in VECTORS.most_similar("a", topn=None)] == ["c", "b"]
    assert [word for word, _ in VECTORS.analogy("a", "b", "c", topn=None)] == []
    assert VECTORS.most_similar(["a", "b", "c"], topn=None) == []


def test_an_empty_text_has_no_tokens() -> None:
    for t in (nlp.WordTokenizer(), nlp.CharTokenizer(), nlp.NGramTokenizer(2), nlp.BPETokenizer(300)):
        t.fit(["a b a b"])
        for special in (False, True):
            ids, spans = t.encode("", allow_special=special, return_offsets=True)
            assert (ids.dtype, ids.shape, spans.shape) == (np.int64, (0,), (0, 2))
        assert (t.tokenize(""), t.decode([]), t.encode_batch([""])[0].tolist(), t.encode_batch([])) == ([], "", [], [])
        assert t.encode("", bos=True, eos=True).tolist() == [t.vocabulary.bos_id, t.vocabulary.eos_id]
    assert WORDS.encode([]).dtype == np.int64
    assert WORDS.decode([]) == []
