"""WordVectors against loops over their definitions, and files, sound and unsound ones."""

from __future__ import annotations

import gzip
import json
import lzma
import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from nlp import Vocabulary, WordVectors, one_hot
from nlp.vectors import pictures
from nlp.vectors.formats import GrowingMatrix

WORDS = ["king", "Queen", "man", "woman", "queen", "boy", "girl", "MAN"]


@pytest.fixture
def vectors(rng: np.random.Generator) -> WordVectors:
    return WordVectors(WORDS, rng.standard_normal((8, 5)), counts=np.arange(8, 0, -1))


def cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def unit(a: Any) -> Any:
    return np.asarray(a, np.float64) / np.linalg.norm(np.asarray(a, np.float64))


# ---- directions --------------------------------------------------------------------------------------------------


def test_looking_up(vectors: WordVectors) -> None:
    assert len(vectors) == 8
    assert "king" in vectors
    assert "King" not in vectors
    assert vectors["king"].shape == (5,)
    np.testing.assert_array_equal(vectors[["man", "king"]], vectors.vectors[[2, 0]])
    assert repr(vectors) == "WordVectors(8 words of 5 numbers: 'king', 'Queen', 'man', 'woman', ...)"
    with pytest.raises(KeyError, match="'King' is not one of the 8 words; 'king' is"):
        vectors["King"]
    with pytest.raises(KeyError, match="'robot' is not one of the 8 words"):
        vectors[["king", "robot"]]
    with pytest.raises(ValueError, match="read-only"):
        vectors.vectors[0, 0] = 1


def test_similarity_is_the_cosine(vectors: WordVectors) -> None:
    for one in WORDS:
        for other in WORDS:
            assert vectors.similarity(one, other) == pytest.approx(cosine(vectors[one], vectors[other]), abs=1e-6)


def test_most_similar(vectors: WordVectors, rng: np.random.Generator) -> None:
    def expected(direction: Any, without: list[str]) -> list[str]:
        return sorted(set(WORDS) - set(without), key=lambda w: -cosine(vectors[w], direction))

    found = vectors.most_similar("king")
    assert [word for word, _ in found] == expected(vectors["king"], ["king"])
    assert [score for _, score in found] == pytest.approx([cosine(vectors[w], vectors["king"]) for w, _ in found])
    direction = unit(vectors["king"]) + unit(vectors["woman"]) - unit(vectors["man"])
    found = vectors.most_similar(["king", "woman"], "man", topn=3)
    assert [word for word, _ in found] == expected(direction, ["king", "woman", "man"])[:3]
    free = rng.standard_normal(5)
    assert [word for word, _ in vectors.most_similar(free, topn=99)] == expected(free, [])
    mixed = vectors.most_similar([free, "king"], topn=2)
    assert [word for word, _ in mixed] == expected(unit(free) + unit(vectors["king"]), ["king"])[:2]
    assert vectors.most_similar("king", topn=0) == []
    with pytest.raises(ValueError, match="at least one word"):
        vectors.most_similar([])
    with pytest.raises(ValueError, match=r"a vector of 5 numbers is needed, not \(3,\)"):
        vectors.most_similar(np.ones(3))


def test_analogies(vectors: WordVectors) -> None:
    a, b, c = (vectors[word] for word in ("man", "king", "woman"))
    others = [w for w in WORDS if w not in ("man", "king", "woman")]
    add = {w: cosine(vectors[w], unit(b) - unit(a) + unit(c)) for w in others}
    found = dict(vectors.analogy("man", "king", "woman"))
    assert found == pytest.approx(add, abs=1e-6)
    mul = {
        w: (1 + cosine(vectors[w], b)) / 2 * (1 + cosine(vectors[w], c)) / 2 / ((1 + cosine(vectors[w], a)) / 2 + 1e-3)
        for w in others
    }
    found = dict(vectors.analogy("man", "king", "woman", method="mul"))
    assert found == pytest.approx(mul, rel=1e-5)
    assert list(found) == sorted(mul, key=lambda w: -mul[w])
    with pytest.raises(ValueError, match="method must be 'add' or 'mul', not 'cos'"):
        vectors.analogy("man", "king", "woman", method="cos")  # type: ignore[arg-type]


def test_doesnt_match() -> None:
    v = WordVectors(["a", "b", "c", "z"], [[1, 0], [1, 0.2], [1, -0.2], [-0.5, 1]])
    assert v.doesnt_match(["a", "b", "z", "c"]) == "z"
    with pytest.raises(TypeError, match="doesnt_match: words must be a list"):
        v.doesnt_match("a b")
    with pytest.raises(ValueError, match="at least one"):
        v.doesnt_match([])


def test_a_vector_of_zeros_is_like_nothing() -> None:
    v = WordVectors(["a", "b", "o"], [[1, 0], [1, 1], [0, 0]])
    assert v.similarity("a", "o") == 0
    assert v.most_similar("a")[-1] == ("o", 0.0)


@pytest.mark.parametrize(
    ("words", "numbers", "counts", "message"),
    [
        (["a", "b"], np.ones((3, 2)), None, r"2 words need \(2, D\) numbers, not \(3, 2\)"),
        (["a", "b"], np.ones(2), None, r"not \(2,\)"),
        ([], np.ones((0, 3)), None, "0 words"),
        (["a"], np.ones((1, 0)), None, "1 words"),
        (["a", "b", "a"], np.ones((3, 2)), None, "the word 'a' is there twice, as 0 and 2"),
        (["a", "b"], [[1, 2], [3, math.nan]], None, "the vector of 'b', 1, is not finite"),
        (["a", "b"], [[math.inf, 2], [3, 4]], None, "the vector of 'a', 0, is not finite"),
        (["a", "b"], np.ones((2, 2)), [1], "need as many counts"),
    ],
)
def test_what_is_no_word_vectors(words: list[str], numbers: Any, counts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordVectors(words, numbers, counts)


def test_large_numbers_are_finite() -> None:
    assert len(WordVectors(["a", "b"], np.full((2, 4), 3e38))) == 2
    v = WordVectors(["a", "b", "c"], [[1e30, 1e30], [1e30, 1e30], [1e30, -1e30]])
    assert v.similarity("a", "b") == pytest.approx(1)
    assert v.most_similar("a") == [("b", pytest.approx(1)), ("c", pytest.approx(0))]


# ---- embeddings --------------------------------------------------------------------------------------------------


def test_one_hot_times_a_matrix_is_a_lookup(vectors: WordVectors) -> None:
    vocabulary = Vocabulary.of(["man", "robot", "king"], pad="<pad>", unk="<unk>")
    weight = vectors.matrix_for(vocabulary)
    ids = vocabulary.encode(["king", "?", "man", "king"])
    embedding = nn.Embedding.from_pretrained(weight, freeze=False, padding_idx=vocabulary.pad_id)
    looked_up, product = embedding(ids), mg.tensor(one_hot(ids, len(vocabulary))) @ embedding.weight
    np.testing.assert_array_equal(looked_up.numpy(), product.numpy())
    np.testing.assert_array_equal(looked_up.numpy()[[0, 2]], vectors[["king", "man"]])
    gradients = []
    for output in (looked_up, product):
        embedding.zero_grad()
        (output * np.arange(20.0).reshape(4, 5)).sum().backward()
        gradients.append(embedding.weight.grad.numpy())
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-6)
    frozen = nn.Embedding.from_pretrained(weight)
    assert not frozen.weight.requires_grad


def test_matrix_for_a_vocabulary(vectors: WordVectors) -> None:
    tokens = [f"unknown {k}" for k in range(2000)]
    vocabulary = Vocabulary.of([*tokens, "man", "king"], pad="<pad>", unk="<unk>")
    weight = vectors.matrix_for(vocabulary)
    assert weight.shape == (2004, 5)
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight[[vocabulary["man"], vocabulary["king"]]], vectors[["man", "king"]])
    assert not weight[vocabulary.pad_id].any()
    unknown = weight[[vocabulary[token] for token in tokens]]
    assert unknown.std() == pytest.approx(vectors[["man", "king"]].std(), rel=0.05)
    np.testing.assert_array_equal(vectors.matrix_for(vocabulary), weight)
    assert not vectors.matrix_for(vocabulary, missing="zero")[vocabulary["<unk>"]].any()
    with pytest.raises(ValueError, match="none of 1 tokens is a known word"):
        vectors.matrix_for(Vocabulary.of(["robot"]))
    with pytest.raises(ValueError, match="missing must be"):
        vectors.matrix_for(vocabulary, missing="random")  # type: ignore[arg-type]


# ---- quality -----------------------------------------------------------------------------------------------------


def test_pairs(vectors: WordVectors) -> None:
    pairs = [
        ("king", "man", 7.0),
        ("boy", "girl", 7.0),
        ("King", "woman", 3.0),
        ("girl", "MAN", 9.5),
        ("x", "boy", 1.0),
    ]
    cosines = [cosine(vectors[a], vectors[b]) for a, b in (("king", "man"), ("boy", "girl"), ("king", "woman"),
                                                           ("girl", "man"))]  # fmt: skip
    scores = vectors.evaluate_pairs(pairs)
    ranks = [float(np.sum(np.array(cosines) < c)) for c in cosines]
    assert scores.pearson == pytest.approx(np.corrcoef(cosines, [7, 7, 3, 9.5])[0, 1], rel=1e-5)
    assert scores.spearman == pytest.approx(np.corrcoef(ranks, [1.5, 1.5, 0, 3])[0, 1], rel=1e-9)
    assert (scores.pairs, scores.unknown) == (4, 1)
    exact = vectors.evaluate_pairs(pairs, ignore_case=False)
    assert (exact.pairs, exact.unknown) == (3, 2)
    with pytest.raises(ValueError, match="of 1 pairs only 0 have two known words"):
        vectors.evaluate_pairs([("x", "y", 1.0)])


def test_pairs_in_a_file(vectors: WordVectors, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("word1\tword2\tscore\n# people\nking\tman\t7\n\nboy\tgirl\t6.5\nking\tboy\t1\n", encoding="utf-8")
    assert vectors.evaluate_pairs(path).pairs == 3
    path.write_text("king\tman\t7\nking man 3\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"pairs.tsv, line 2: expected a word, a word and a number, .* not 'king man 3'"
    ):
        vectors.evaluate_pairs(path)


def test_analogy_questions(rng: np.random.Generator) -> None:
    """Against a loop, with words in several spellings, over all words and over the first ones."""
    words = [f"{letter}{k}" for k in range(8) for letter in "abAB"]
    vectors = WordVectors(words, rng.standard_normal((32, 4)))
    questions = {
        name: [tuple(f"{'abAB'[i % 4]}{i // 4 + extra}" for i in rng.integers(0, 32, 4)) for _ in range(60)]
        for name, extra in (("small", 0), ("large", 1))
    }
    for restrict in (None, 20):
        for ignore in (True, False):
            for method in ("add", "mul"):
                scores = vectors.evaluate_analogies(
                    questions,
                    method=method,
                    restrict=restrict,
                    ignore_case=ignore,  # type: ignore[arg-type]
                )
                unknown = 0
                for name, group in questions.items():
                    right = asked = 0
                    for question in group:
                        found = answer_by_loop(vectors, words[:restrict], question, method, ignore)
                        unknown += found is None
                        asked += found is not None
                        right += bool(found)
                    assert scores.sections[name] == (right, asked)
                assert scores.unknown == unknown
                assert scores.accuracy == scores.correct / scores.questions
    assert str(scores).splitlines()[-1].startswith("all ")


def answer_by_loop(vectors: WordVectors, words: list[str], question: Any, method: str, ignore: bool) -> bool | None:
    """True if the answer is right; None if a word is unknown."""

    def same(one: str, other: str) -> bool:
        return one.lower() == other.lower() if ignore else one == other

    found = [next((word for word in words if same(word, asked)), None) for asked in question]
    if None in found:
        return None
    a, b, c = (unit(vectors[word]) for word in found[:3])  # type: ignore[index]
    best, answer = -math.inf, ""
    for word in words:
        x = unit(vectors[word])
        if method == "add":
            score = float(x @ (b - a + c))
        else:
            score = (1 + x @ b) / 2 * (1 + x @ c) / 2 / ((1 + x @ a) / 2 + 1e-3)
        if score > best and not any(same(word, asked) for asked in question[:3]):
            best, answer = score, word
    return same(answer, question[3])


def test_analogies_in_a_file(vectors: WordVectors, tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text(": royal family\nman king woman queen\nboy king girl x\n: empty\n", encoding="utf-8")
    scores = vectors.evaluate_analogies(path)
    assert scores.sections.keys() == {"royal family", "empty"}
    assert (scores.questions, scores.unknown) == (1, 1)
    assert "empty" in str(scores)
    for text, message in (
        ("man king woman queen\n", "line 1: expected `: name` first"),
        (": s\nman king woman\n", "line 2: expected four words, not 'man king woman'"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            vectors.evaluate_analogies(path)
    path.write_text(": s\nx y z w\n", encoding="utf-8")
    with pytest.raises(ValueError, match="none of 1 questions has known words alone"):
        vectors.evaluate_analogies(path)


# ---- pictures ----------------------------------------------------------------------------------------------------


def test_pca_keeps_what_differs_most(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 6)) * [9, 4, 1, 0.5, 0.2, 0.1] @ np.linalg.qr(rng.standard_normal((6, 6)))[0] + 3
    places = pictures.pca(x)
    values = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    np.testing.assert_allclose(np.cov(places.T), np.diag(values[:2]), atol=1e-9 * values[0])
    assert pictures.pca(np.arange(5.0)[:, None]).shape == (5, 2)


def test_plots(vectors: WordVectors, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra `viz`")
    figure = vectors.plot(path=tmp_path / "all.png", title="words")
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    (ax,) = figure.axes
    assert len(ax.collections[0].get_offsets()) == 8
    assert {text.get_text() for text in ax.texts} <= set(WORDS)
    assert len(ax.texts) >= 6
    figure = vectors.plot({"she": ["woman", "girl"], "he": ["man", "boy"]})
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["she", "he"]


def test_labels_cover_nothing(rng: np.random.Generator) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra `viz`")
    v = WordVectors([f"word{k}" for k in range(300)], rng.standard_normal((300, 4)))
    figure = v.plot(v.words)
    (ax,) = figure.axes
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in ax.texts]
    assert 20 < len(boxes) < 300
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])


def test_tsne(vectors: WordVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra `viz`")
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "sklearn.manifold", None)
        with pytest.raises(ImportError, match=r"needs scikit-learn: pip install 'minigrad\[tsne\]'"):
            vectors.plot(method="tsne")
    pytest.importorskip("sklearn", reason="needs scikit-learn, of the extra `tsne`")
    groups = np.repeat(np.eye(3), 10, axis=0) + 0.05 * np.random.default_rng(0).standard_normal((30, 3))
    places = pictures.tsne(groups.astype(np.float32), 0)
    centres = places.reshape(3, 10, 2).mean(axis=1)
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, np.repeat([0, 1, 2], 10))
    assert vectors.plot(method="tsne").axes


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"words": "king queen man"}, TypeError, "give a list of words"),
        ({"words": ["king", "man"]}, ValueError, "at least three words are needed, not 2"),
        ({"words": ["king", "man", "robot"]}, KeyError, "'robot'"),
        ({"method": "umap"}, ValueError, "method must be 'pca' or 'tsne', not 'umap'"),
    ],
)
def test_plots_that_are_refused(vectors: WordVectors, arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        vectors.plot(**arguments)


# ---- files -------------------------------------------------------------------------------------------------------

any_word = st.text(min_size=1, max_size=8)
plain_word = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda word: " " not in word and "\n" not in word
)
numbers = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3)


def round_trip(path: Path, words: list[str], rows: list[list[float]], counts: Any = None, **how: Any) -> WordVectors:
    written = WordVectors(words, rows, counts)
    written.save(path)
    read = WordVectors.load(path, **how)
    assert read.words == written.words
    np.testing.assert_array_equal(read.vectors, written.vectors)
    return read


@pytest.mark.parametrize("name", ["v.txt", "v.vec", "v.bin"])
@given(entries=st.dictionaries(plain_word, numbers, min_size=1, max_size=5))
def test_word2vec_files_give_back_what_was_written(tmp_path_factory: Any, name: str, entries: Any) -> None:
    round_trip(tmp_path_factory.getbasetemp() / name, list(entries), list(entries.values()))


@given(entries=st.dictionaries(any_word, numbers, min_size=1, max_size=5), mmap=st.booleans())
def test_safetensors_hold_every_word(tmp_path_factory: Any, entries: Any, mmap: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "v.safetensors"
    read = round_trip(path, list(entries), list(entries.values()), range(len(entries)), mmap=mmap)
    assert read.counts.tolist() == list(range(len(entries)))


def test_the_first_words_alone(vectors: WordVectors, tmp_path: Path) -> None:
    for name in ("v.txt", "v.bin", "v.safetensors"):
        vectors.save(tmp_path / name)
        for limit, expected in ((3, 3), (99, 8)):
            read = WordVectors.load(tmp_path / name, limit=limit)
            assert read.words == vectors.words[:expected]
            np.testing.assert_array_equal(read.vectors, vectors.vectors[:expected])
    with pytest.raises(ValueError, match="limit must be at least 1"):
        WordVectors.load(tmp_path / "v.txt", limit=0)


def test_a_file_is_mapped(rng: np.random.Generator, tmp_path: Path) -> None:
    """Nothing but the words is read, and everything works."""
    path = tmp_path / "v.safetensors"
    array = rng.standard_normal((20_000, 100)).astype(np.float32)  # 8 MB
    plain = WordVectors([str(k) for k in range(20_000)], array)
    plain.save(path)
    WordVectors.load(path, mmap=True)
    tracemalloc.start()
    mapped = WordVectors.load(path, mmap=True)
    assert tracemalloc.get_traced_memory()[1] < 7e6
    tracemalloc.stop()
    assert isinstance(mapped.vectors, np.memmap)
    assert mapped.most_similar("7") == plain.most_similar("7")
    assert mapped.vectors[:5].tolist() == array[:5].tolist()
    with pytest.raises(ValueError, match="words and numbers alternate, so that it cannot be mapped"):
        WordVectors.load(tmp_path / "v.bin", mmap=True)


def test_a_mapped_nan_is_found(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "v.safetensors", vectors=np.array([[1, 2], [3, np.nan]], np.float32))
    mapped = WordVectors.load(tmp_path / "v.safetensors", mmap=True)
    with pytest.raises(ValueError, match="the vector of 'b', 1, is not finite"):
        mapped.most_similar("a")


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_files(vectors: WordVectors, tmp_path: Path, suffix: str, compress: Any) -> None:
    for name in ("v.txt", "v.bin"):
        vectors.save(tmp_path / name)
        path = tmp_path / (name + suffix)
        path.write_bytes(compress((tmp_path / name).read_bytes()))
        np.testing.assert_array_equal(WordVectors.load(path).vectors, vectors.vectors)
        path.write_bytes(compress((tmp_path / name).read_bytes())[:-20])
        with pytest.raises(ValueError, match=f"{name}{suffix}.*damaged or cut off"):
            WordVectors.load(path)
    with pytest.raises(ValueError, match="would not be compressed"):
        vectors.save(tmp_path / ("v.txt" + suffix))


def test_files_of_others(tmp_path: Path) -> None:
    """GloVe has no first line, and words with blanks; word2vec a blank before the line's end."""
    (tmp_path / "glove.txt").write_text("the 0.5 -1e-3\n. . . 1 2\n", encoding="utf-8")
    read = WordVectors.load(tmp_path / "glove.txt")
    assert read.words == ("the", ". . .")
    np.testing.assert_allclose(read.vectors, [[0.5, -1e-3], [1, 2]])
    (tmp_path / "c.txt").write_text("2 2\nthe 0.5 1 \nof 2 3 \n", encoding="utf-8")
    assert WordVectors.load(tmp_path / "c.txt").words == ("the", "of")
    packed = [word + b" " + np.array(row, "<f4").tobytes() for word, row in ((b"the", [1, 2]), (b"of", [3, 4]))]
    for end in (b"", b"\n"):
        (tmp_path / "c.bin").write_bytes(b"2 2\n" + b"".join(row + end for row in packed))
        assert WordVectors.load(tmp_path / "c.bin").vectors.tolist() == [[1, 2], [3, 4]]


def test_words_that_are_not_utf8(tmp_path: Path) -> None:
    row = np.ones(2, "<f4").tobytes()
    (tmp_path / "v.bin").write_bytes(b"2 2\na " + row + b"\xff " + row)
    (tmp_path / "v.txt").write_bytes(b"2 2\na 1 2\n\xff 3 4\n")
    for name, message in (("v.bin", "word 2 is not UTF-8"), ("v.txt", "line 3: .* is not UTF-8")):
        with pytest.raises(ValueError, match=message):
            WordVectors.load(tmp_path / name)
        assert WordVectors.load(tmp_path / name, errors="replace").words == ("a", "\ufffd")


@pytest.mark.parametrize("name", ["v.txt", "v.bin"])
@pytest.mark.parametrize("word", ["New York", "a\nb", "", " a", "\ud800"])
def test_words_that_word2vec_cannot_hold(tmp_path: Path, name: str, word: str) -> None:
    path = tmp_path / name
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="safetensors can"):
        WordVectors(["fine", word], np.ones((2, 3))).save(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == [name]


def test_names_that_say_no_format(vectors: WordVectors, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a name that ends in '\.pkl' is not a format"):
        vectors.save(tmp_path / "v.pkl")
    with pytest.raises(ValueError, match="'pickle' is not a format"):
        WordVectors.load(tmp_path / "v.txt", format="pickle")  # type: ignore[arg-type]
    vectors.save(tmp_path / "v.dat", format="binary")
    assert WordVectors.load(tmp_path / "v.dat", format="binary").words == vectors.words
    with pytest.raises(FileNotFoundError):
        WordVectors.load(tmp_path / "missing.bin")
    with pytest.raises(IsADirectoryError):
        WordVectors.load(tmp_path, format="binary")


ROW = np.ones(3, "<f4").tobytes()
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "empty text": ("v.txt", b"", "its vectors would have 0 numbers"),
    "empty binary": ("v.bin", b"", "it should begin with a line of two numbers, not b''"),
    "no line end": ("v.bin", b"1 3", "it should begin with a line of two numbers"),
    "no head": ("v.bin", b"a " + ROW, "it should begin with a line of two numbers"),
    "too few, text": ("v.txt", b"3 2\na 1 2\nb 3 4\n", "announces 3 words, but it ends after 2"),
    "too many, text": (
        "v.txt",
        b"1 2\na 1 2\nb 3 4\n",
        "line 3: the first line announces 1 words, but here is another",
    ),
    "too few, binary": ("v.bin", b"3 3\na " + ROW + b"b " + ROW, "it ends before word 3 of 3"),
    "too many, binary": ("v.bin", b"1 3\na " + ROW + b"b " + ROW, "announces 1 words, but more bytes follow"),
    "cut off": ("v.bin", b"2 3\na " + ROW + b"b " + ROW[:5], "it ends within the vector of word 2 of 2"),
    "huge count, text": ("v.txt", b"999999999999999 2\na 1 2\n", "announces 999,999,999,999,999 words, but it ends"),
    "huge count": ("v.bin", b"999999999999999 3\na " + ROW, "it ends before word 2 of 999,999,999,999,999"),
    "huge width": ("v.bin", b"1 99999999999999\na " + ROW, "its vectors would have 99,999,999,999,999 numbers"),
    "huge width, text": ("v.txt", b"1 99999999999999\na 1 2 3\n", "its vectors would have 99,999,999,999,999 numbers"),
    "large width": ("v.bin", b"1 1000000\na " + ROW, "it ends within the vector of word 1 of 1"),
    "no width": ("v.bin", b"1 0\na ", "its vectors would have 0 numbers"),
    "endless word": ("v.bin", b"1 3\n" + b"a" * 200_000, "word 1 has no end within 65,536 bytes"),
    "NaN": ("v.bin", b"1 3\na " + np.array([1, np.nan, 2], "<f4").tobytes(), "the vector of 'a', 0, is not finite"),
    "NaN, text": ("v.txt", b"2 2\na 1 2\nb 3 nan\n", "the vector of 'b', 1, is not finite"),
    "beyond float32": ("v.txt", b"1 2\na 1 1e39\n", "the vector of 'a', 0, is not finite"),
    "no number": ("v.txt", b"1 2\na 1 x\n", "line 2, word 'a': could not convert string to float: 'x'"),
    "short row": ("v.txt", b"2 3\na 1 2 3\nb 1 2\n", "line 3: a word and 3 numbers are expected, not 'b 1 2'"),
    "word alone": ("v.txt", b"a\n", "its vectors would have 0 numbers"),
    "no safetensors": ("v.safetensors", b"\xff" * 40, "is not a safetensors file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_unsound_files(tmp_path: Path, case: str) -> None:
    name, content, message = HOSTILE[case]
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as raised:
        WordVectors.load(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()
    assert name in str(raised.value)


def write_safetensors(path: Path, **changed: Any) -> None:
    arrays = {
        "vectors": np.ones((2, 2), np.float32), "words": np.frombuffer(b"ab", np.uint8), "ends": np.array([1, 2]),
        "counts": np.array([2, 1]), **changed,
    }  # fmt: skip
    metadata = arrays.pop("metadata", {"format": "nlp.WordVectors", "version": "1"})
    nn.save({name: value for name, value in arrays.items() if value is not None}, path, metadata)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"metadata": {"format": "pt"}}, "it does not hold word vectors: its metadata are {'format': 'pt'}"),
        ({"metadata": {}}, "it does not hold word vectors"),
        ({"vectors": None}, "do not fit each other"),
        ({"vectors": np.ones((2, 2))}, "do not fit each other"),
        ({"vectors": np.ones(2, np.float32)}, "do not fit each other"),
        ({"vectors": np.ones((3, 2), np.float32)}, "do not fit each other"),
        ({"vectors": np.ones((2, 0), np.float32)}, "do not fit each other|need"),
        ({"words": None}, "do not fit each other"),
        ({"words": np.array([97, 98])}, "do not fit each other"),
        ({"ends": None}, "do not fit each other"),
        ({"ends": np.array([2, 1])}, "do not fit each other"),
        ({"ends": np.array([1, 3])}, "do not fit each other"),
        ({"ends": np.array([-1, 2])}, "do not fit each other"),
        ({"ends": np.array([1.0, 2.0])}, "do not fit each other"),
        ({"counts": np.array([1])}, "do not fit each other"),
        ({"words": np.frombuffer(b"a\xff", np.uint8)}, "a word is not UTF-8"),
    ],
    ids=lambda value: "" if isinstance(value, str) else json.dumps({k: str(v) for k, v in value.items()}),
)
def test_unsound_safetensors(tmp_path: Path, changed: Any, message: str, mmap: bool) -> None:
    path = tmp_path / "v.safetensors"
    write_safetensors(path, **changed)
    with pytest.raises(ValueError, match=message) as raised:
        WordVectors.load(path, mmap=mmap)
    assert "v.safetensors" in str(raised.value)


def test_rows_grow() -> None:
    rows = GrowingMatrix(2)
    for k in range(100):
        rows.add(np.full((k % 3, 2), k))
    expected = [k for k in range(100) for _ in range(k % 3)]
    np.testing.assert_array_equal(rows.done(), np.repeat(expected, 2).reshape(-1, 2))


# ---- files of others ---------------------------------------------------------------------------------------------

TWICE = {
    "v.txt": b"the 1 2\nof 3 4\nthe 5 6\n",
    "v.vec": b"3 2\nthe 1 2\nof 3 4\nthe 5 6\n",
    "v.bin": b"3 2\n" + b"".join(w + b" " + np.array(v, "<f4").tobytes() for w, v in
                                [(b"the", [1, 2]), (b"of", [3, 4]), (b"the", [5, 6])]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*TWICE, "v.safetensors"])
def test_a_word_that_is_there_twice(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name in TWICE:
        path.write_bytes(TWICE[name])
    else:
        rows = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
        write_safetensors(path, vectors=rows, words=np.frombuffer(b"theofthe", np.uint8), ends=np.array([3, 5, 8]),
                          counts=np.array([9, 5, 2]))  # fmt: skip
    for how in ({}, {"duplicates": "first"}, {"duplicates": "last"}):
        with pytest.warns(UserWarning, match=rf"{name}: 1 words are there more than once, .*: 'the'"):
            v = WordVectors.load(path, **how)  # type: ignore[arg-type]
        assert v.words == ("the", "of")
        last = how.get("duplicates") == "last"
        assert v["the"].tolist() == ([5, 6] if last else [1, 2])
        assert v["of"].tolist() == [3, 4]
        assert v.counts is None or v.counts.tolist() == ([2, 5] if last else [9, 5])
    with pytest.raises(ValueError, match="the word 'the' is there twice, as 0 and 2"):
        WordVectors.load(path, duplicates="error")
    with pytest.raises(ValueError, match="duplicates must be 'first', 'last' or 'error', not 'all'"):
        WordVectors.load(path, duplicates="all")  # type: ignore[arg-type]
    assert len(WordVectors.load(path, limit=2)) == 2  # nothing is there twice so far


@pytest.mark.parametrize("name", ["v.txt", "v.bin"])
def test_words_that_become_one_by_a_replacement(tmp_path: Path, name: str) -> None:
    number = b"1.5" if name == "v.txt" else np.float32(1.5).tobytes()
    (tmp_path / name).write_bytes(b"2 1\n" + b"".join(w + b" " + number + b"\n" for w in (b"a\xff", b"a\xfe")))
    with pytest.warns(UserWarning, match="'a\ufffd'"):
        assert WordVectors.load(tmp_path / name, errors="replace").words == ("a\ufffd",)


@pytest.mark.parametrize("row", ["{} 1 2\n", "{}\t1\t2\n", "{}  1   2 \n", "{} \t1 2\r\n"])
def test_blanks_between_columns_and_inside_words(tmp_path: Path, row: str) -> None:
    words = ["a", "10\u00a0000", "\u3000", "\u00a0"]
    for head in ("", "4 2\n"):
        (tmp_path / "v.txt").write_text(head + "".join(map(row.format, words)), newline="")
        v = WordVectors.load(tmp_path / "v.txt")
        assert list(v.words) == words
        assert v.vectors.tolist() == [[1, 2]] * 4


def test_a_name_that_says_another_format(vectors: WordVectors, tmp_path: Path) -> None:
    for one, other in [("v.txt", "v.bin"), ("v.bin", "v.txt"), ("v.safetensors", "v.txt"), ("v.txt", "v.safetensors"),
                       ("v.bin", "v.vec"), ("v.safetensors", "v.bin"), ("v.bin", "v.safetensors")]:  # fmt: skip
        vectors.save(tmp_path / one)
        os.replace(tmp_path / one, tmp_path / other)
        kind = {"v.txt": "text", "v.bin": "binary"}.get(one, "safetensors")
        with pytest.raises(ValueError, match=f"and looks like {kind}; give format='{kind}'"):
            WordVectors.load(tmp_path / other)
        assert WordVectors.load(tmp_path / other, format=kind).words == vectors.words  # type: ignore[arg-type]
    (tmp_path / "v.txt").write_bytes(b"2 2\nna\xefve 1 2\nb 3 4\n")
    with pytest.raises(ValueError, match=r'line 2: byte 2, 0xef, is not UTF-8 .*errors="replace" would'):
        WordVectors.load(tmp_path / "v.txt")
