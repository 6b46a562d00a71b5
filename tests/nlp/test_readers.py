"""Reading corpora: lines, tables, columns, pairs; compressed files; bytes that are not UTF-8; damaged files."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp import Stream, Vocabulary, python_documentation, read_columns, read_lines, read_pairs, read_text, read_tsv

steady = settings(deadline=None, derandomize=True, max_examples=100)
DATA = os.environ.get("MINIGRAD_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="MINIGRAD_DATA does not say where the corpora are")
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def data(name: str) -> Path:
    return Path(DATA or "", name)


def written(folder: Path, content: bytes, suffix: str = "") -> Path:
    path = folder / f"corpus.txt{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](content))
    return path


# ---- streams -----------------------------------------------------------------------------------------------------


def test_streams_begin_anew() -> None:
    begun = []

    def begin() -> Any:
        begun.append(True)
        yield from ["a b", "", "c"]

    words = Stream(begin).filter(str.strip).map(str.split)
    assert not begun
    assert list(words) == list(words) == [["a", "b"], ["c"]]
    assert len(begun) == 2
    first, second = iter(words), iter(words)
    assert next(first) == next(second) == ["a", "b"]


# ---- lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_lines(tmp_path: Path, suffix: str) -> None:
    content = "\ufeffone\r\ntwo \u2028 \x0b \x85 still two\n\n \nä\x00\rb\nlast\ufeff"
    lines = read_lines(written(tmp_path, content.encode(), suffix))
    assert list(lines) == ["one", "two \u2028 \x0b \x85 still two", "", " ", "ä\x00\rb", "last\ufeff"]
    assert list(lines) == list(lines)
    assert read_text(tmp_path / f"corpus.txt{suffix}") == content[1:]


@steady
@given(st.text(st.characters(codec="utf-8")), st.sampled_from(list(COMPRESSIONS)))
def test_lines_are_what_python_reads(tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str) -> None:
    path = written(tmp_path_factory.mktemp("lines"), text.encode(), suffix)
    expected = list(io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8-sig", newline="\n"))
    assert list(read_lines(path, keep_ends=True)) == expected
    assert read_text(path) == "".join(expected)


def test_several_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n2")
    (tmp_path / "b").write_text("3\n")
    assert list(read_lines(tmp_path / "a", tmp_path / "b")) == ["1", "2", "3"]
    assert list(read_lines(str(tmp_path / "b"), tmp_path / "a")) == ["3", "1", "2"]


def test_an_empty_file(tmp_path: Path) -> None:
    assert list(read_lines(written(tmp_path, b""))) == []
    with pytest.raises(ValueError, match="the corpus is empty"):
        Vocabulary().fit(read_lines(tmp_path / "corpus.txt").map(str.split))


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = written(tmp_path, b"good\ng\xc3\xbct \xff\xe2\x82 x\n")
    lines = iter(read_lines(path))
    assert next(lines) == "good"
    with pytest.raises(ValueError, match=r"corpus.txt, line 2: byte 5, 0xff, is not UTF-8 \(invalid start byte\)"):
        next(lines)
    assert list(read_lines(path, errors="replace")) == ["good", "güt \ufffd\ufffd x"]
    with pytest.raises(ValueError, match='errors must be "strict" or "replace", not \'ignore\''):
        read_lines(path, errors="ignore")  # type: ignore[arg-type]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        read_lines(tmp_path / "none.txt")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_lines(tmp_path)
    with pytest.raises(TypeError, match="at least one file"):
        read_lines()


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "other", "flipped"])
def test_damaged_compression(tmp_path: Path, suffix: str, damage: str) -> None:
    path = written(tmp_path, os.urandom(50_000).hex().encode(), suffix)
    raw = path.read_bytes()
    changed = bytearray(raw)
    changed[len(raw) // 2] ^= 255
    path.write_bytes({"cut": raw[: len(raw) // 2], "other": b"no such thing\n", "flipped": bytes(changed)}[damage])
    with pytest.raises(ValueError, match=r"corpus.txt.*, after line 0: the compressed file is damaged or cut off"):
        list(read_lines(path, errors="replace"))


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_small_file_that_becomes_a_huge_line(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, b"x\n" + bytes(2**25), suffix)
    assert path.stat().st_size < 2**16
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"line 2: it has more than 1,000,000 bytes; `longest=` allows more"):
            list(read_lines(path, longest=10**6))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    path = written(tmp_path, (b" ".join(bytes([letter]) * 100 for letter in b"abcd") + b"\n") * 30_000, ".gz")
    tracemalloc.start()
    try:
        v = Vocabulary().fit(read_lines(path).map(str.split))
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    assert v.total == 4 * 30_000


# ---- tables, columns, pairs --------------------------------------------------------------------------------------


def test_tables(tmp_path: Path) -> None:
    path = written(tmp_path, b"a\tb\tc\n1\t2\t3\n\t\t\n")
    assert list(read_tsv(path)) == [("a", "b", "c"), ("1", "2", "3"), ("", "", "")]
    assert list(read_tsv(path, header=True, columns=(2, 0))) == [("3", "1"), ("", "")]
    assert list(read_tsv(path, fields=2))[1] == ("1", "2\t3")
    with pytest.raises(ValueError, match=r"corpus.txt, line 1: there are 3 columns, not all of \(0, 3\)"):
        list(read_tsv(path, columns=(0, 3)))
    for options in ({"fields": 0}, {"separator": ""}):
        with pytest.raises(ValueError, match="cannot cut a line into fields"):
            read_tsv(path, **options)  # type: ignore[arg-type]
    path.write_bytes(b"0 a bad film\n1\n")
    rows = iter(read_tsv(path, separator=" ", fields=2))
    assert next(rows) == ("0", "a bad film")
    with pytest.raises(ValueError, match=r"line 2: 1 fields, where 2 are expected: '1'"):
        next(rows)


def test_columns(tmp_path: Path) -> None:
    path = written(tmp_path, b"-DOCSTART- X O\n\nEU NNP B\nrejects VBZ O\n\n\n# # O\n")
    expected = [(("EU", "rejects"), ("NNP", "VBZ"), ("B", "O")), (("#",), ("#",), ("O",))]
    assert list(read_columns(path)) == expected
    assert next(iter(read_columns(path, columns=(2, 0)))) == (("B", "O"), ("EU", "rejects"))
    assert list(read_columns(path, comment="#")) == expected[:1]
    assert next(iter(read_columns(path, skip=None))) == (("-DOCSTART-",), ("X",), ("O",))
    path.write_bytes(b"EU NNP\nrejects\n")
    with pytest.raises(ValueError, match="line 2: 1 columns, where 2 are expected: 'rejects'"):
        list(read_columns(path))
    path.write_bytes(b"1\ta b\tX\n\n")
    assert list(read_columns(path, separator="\t")) == [(("1",), ("a b",), ("X",))]


def test_pairs(tmp_path: Path) -> None:
    (tmp_path / "de").write_text("eins\nzwei\n")
    (tmp_path / "en").write_text("one\ntwo")
    pairs = read_pairs(tmp_path / "de", tmp_path / "en")
    assert list(pairs) == list(pairs) == [("eins", "one"), ("zwei", "two")]
    (tmp_path / "en").write_text("one\n")
    for one, other in (("de", "en"), ("en", "de")):
        with pytest.raises(ValueError, match=r"en ends after line 1, but .*de has more lines"):
            list(read_pairs(tmp_path / one, tmp_path / other))


# ---- real files --------------------------------------------------------------------------------------------------


@needs_data
def test_published_counts() -> None:
    """The counts equal those of the data sets' descriptions."""
    ptb = read_lines(data("ptb/ptb.train.txt")).map(str.split)
    v = Vocabulary(unk="<unk>", eos="<eos>").fit(ptb)
    assert (v.total, len(v)) == (887_521, 10_000)
    labels = Counter(label for label, _ in read_tsv(data("sst2/train.txt"), separator=" ", fields=2))
    assert labels == {"0": 3310, "1": 3610}
    sentences = list(read_columns(data("conll2003/eng.testa.txt"), columns=(0, 3)))
    assert (len(sentences), sum(len(words) for words, _ in sentences)) == (3250, 51_362)
    assert sum(1 for _ in read_pairs(data("multi30k/raw/val.de.txt"), data("multi30k/raw/val.en.txt"))) == 1014
    assert len(list(read_tsv(data("word_similarity/wordsim353.tsv"), header=True))) == 353


@needs_data
def test_compressed_corpora() -> None:
    assert sum(1 for _ in read_lines(data("wikitext-2/wiki.train.tokens.txt.gz"))) == 36_718
    stars = [row[:2] for row, _ in zip(read_tsv(data("imdb/imdb.test.tsv.xz")), range(2000), strict=False)]
    assert {label for label, _ in stars} == {"0"}
    assert {rating for _, rating in stars} <= {"1", "2", "3", "4"}


def test_pythons_documentation() -> None:
    text = python_documentation()
    assert len(text) > 300_000
    assert "yield" in text


# ---- odd lines ---------------------------------------------------------------------------------------------------


def test_blanks_inside_and_between_columns(tmp_path: Path) -> None:
    lines = "10\u00a0000 B\n\u3000\tO\n  c\u2009d \t O  \n \t\ne\x1cf  O\n\n\n\n"
    (tmp_path / "c").write_text(lines, newline="")
    assert list(read_columns(tmp_path / "c")) == [
        (("10\u00a0000", "\u3000", "c\u2009d"), ("B", "O", "O")), (("e\x1cf",), ("O",)),
    ]  # fmt: skip


def test_the_words_of_conllu(tmp_path: Path) -> None:
    (tmp_path / "c").write_text(
        "# text = vámonos al mar\n1-2\tvámonos\t_\n1\tvamos\tir\n2\tnos\tnosotros\n3-4\tal\t_\n3\ta\ta\n4\tel\tel\n"
        "5\tNew York\t\n5.1\tva\tir\n\n# another\n# sentence\n1\t-DOCSTART-\t#\n"
    )
    assert list(read_columns(tmp_path / "c", columns=(0, 1), conllu=True)) == [
        (("1", "2", "3", "4", "5"), ("vamos", "nos", "a", "el", "New York")), (("1",), ("-DOCSTART-",)),
    ]  # fmt: skip
    assert next(iter(read_columns(tmp_path / "c", separator="\t", comment="#")))[0][0] == "1-2"


def test_an_empty_last_line_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a\tb\n\n\n")
    assert list(read_tsv(tmp_path / "t")) == [("a", "b")]
    (tmp_path / "t").write_text("a\tb\n\nc\td\n")
    with pytest.raises(ValueError, match="t, line 2: 1 field, where 2 are expected"):
        list(read_tsv(tmp_path / "t"))
    (tmp_path / "t").write_text("a\n\nb\n")
    assert list(read_tsv(tmp_path / "t")) == [("a",), ("",), ("b",)]


@pytest.mark.parametrize("columns", ["01", (0, "1"), (True,), (0.0,)])
def test_columns_are_integers(tmp_path: Path, columns: Any) -> None:
    (tmp_path / "t").write_text("a b\n")
    for read in (read_columns, read_tsv):
        with pytest.raises(TypeError, match=f"{read.__name__}: columns"):
            read(tmp_path / "t", columns=columns)


def test_errors_of_the_system_keep_their_number(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised:
        read_lines(tmp_path)
    assert (raised.value.errno, raised.value.filename) == (errno.EISDIR, str(tmp_path))
