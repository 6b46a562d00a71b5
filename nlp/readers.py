"""Reading corpora line by line: plain text, tables, columns, parallel files, also compressed.

The functions return streams that are read during iteration, so memory holds one line (or sentence) at a time, and that
can be iterated repeatedly, as training over several epochs needs.
"""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import IO, Any, Generic, Literal, NoReturn, TypeVar

from nn.training.files import StrPath, failed

from .lists import refuse_text

T = TypeVar("T", covariant=True)
S = TypeVar("S")
Errors = Literal["strict", "replace"]
LONGEST = 2**26  # bytes of a line: a longer one is not text, or an attack by a small compressed file
BLANKS = re.compile("[ \t]+")  # between columns; other blanks, such as U+00A0, belong to a token
INSERTED = re.compile("[0-9]+[-.][0-9]+")  # CoNLL-U's numbers of lines that are not words
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, MemoryError)  # the last: an absurd dictionary size


class Stream(Generic[T]):
    """Items that are made during iteration, from the start each time.

    begin  returns a new iterator over all items
    shard  a group; of N ranks, rank r gets only the items r, r + N, r + 2 N, ...

    >>> squares = Stream(lambda: iter(range(4))).map(lambda x: x * x)
    >>> list(squares), sum(squares)
    ([0, 1, 4, 9], 14)
    """

    def __init__(self, begin: Callable[[], Iterator[T]], *, shard: Any = None) -> None:
        self._begin, self._shard = begin, shard

    def __iter__(self) -> Iterator[T]:
        items = self._begin()
        return items if self._shard is None else islice(items, self._shard.rank, None, self._shard.size)

    def map(self, function: Callable[[T], S]) -> Stream[S]:
        """The stream of a function's results for each item: `read_lines(path).map(str.split)`."""
        return Stream(lambda: map(function, self))

    def filter(self, condition: Callable[[T], Any]) -> Stream[T]:
        """The stream of items that meet a condition: `lines.filter(str.strip)` omits empty lines."""
        return Stream(lambda: filter(condition, self))

    def shard(self, group: Any) -> Stream[T]:
        """This rank's part of the stream (`nn.distributed.group()`): of N ranks, rank r gets the items r, r + N, r + 2
        N, ... The parts' lengths may differ by one; for common steps use `StreamBatches(shard=group)`."""
        return Stream(lambda: iter(self), shard=group)


# ---- lines -------------------------------------------------------------------------------------------------------


def read_lines(
    *paths: StrPath, errors: Errors = "strict", keep_ends: bool = False, longest: int = LONGEST
) -> Stream[str]:  # fmt: skip
    r"""The lines of UTF-8 files, one file after the other. Names that end in .gz or .xz are decompressed.

    errors     for bytes that are not UTF-8: "strict" raises, "replace" puts U+FFFD in their place
    keep_ends  keep the "\n" or "\r\n" that ends a line; nothing else ends one. A byte order mark is removed
    longest    the most bytes that a line may have

    Iteration raises ValueError, with file and line, for bytes that are not UTF-8, a line that is too long, or damaged
    compression. A missing file raises FileNotFoundError at once.
    """
    _check_errors("read_lines", errors)
    if not paths:
        raise TypeError("read_lines: give at least one file")
    for path in paths:
        _check_file(path)

    def begin() -> Iterator[str]:
        for path in paths:
            for line in _raw_lines(path, errors, longest):
                yield line if keep_ends else line.removesuffix("\n").removesuffix("\r")

    return Stream(begin)


def read_text(*paths: StrPath, errors: Errors = "strict") -> str:
    """The whole text of UTF-8 files, read as by `read_lines`, with unchanged line ends."""
    return "".join(read_lines(*paths, errors=errors, keep_ends=True, longest=2**62))


def python_documentation() -> str:
    """The texts about Python's syntax that every CPython contains (`help("topics")`), 0.5 MB of English: a corpus for
    examples, without a download."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def _raw_lines(path: StrPath, errors: Errors, longest: int) -> Iterator[str]:
    name, number = os.fspath(path), 0
    try:
        with open_bytes(name) as file:
            while line := file.readline(longest + 1):
                number += 1
                if len(line) > longest:
                    _fail(name, number, f"it has more than {longest:,} bytes; `longest=` allows more")
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield line.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        _fail(
            name, number, f"byte {error.start}, 0x{error.object[error.start]:02x}, is not UTF-8 ({error.reason}); "
            'errors="replace" would put a replacement character there',
        )  # fmt: skip
    except DAMAGED as error:
        raise ValueError(f"{name}, after line {number}: the compressed file is damaged or cut off: {error}") from error


def open_bytes(name: str) -> IO[bytes]:
    """A file's content, decompressed if its name ends in .gz or .xz, in a buffer."""
    if name.endswith(".gz"):
        return io.BufferedReader(gzip.open(name, "rb"), 2**20)  # type: ignore[arg-type, return-value]
    if name.endswith(".xz"):
        return io.BufferedReader(lzma.open(name, "rb"), 2**20)
    return open(name, "rb", buffering=2**20)


def _check_file(path: StrPath) -> None:
    if os.path.isdir(path):
        raise failed(errno.EISDIR, "it is a folder, not a file", path)
    os.stat(path)


def _check_errors(title: str, errors: str) -> None:
    if errors not in ("strict", "replace"):
        raise ValueError(f'{title}: errors must be "strict" or "replace", not {errors!r}')


def _fail(name: str, number: int, why: str) -> NoReturn:
    raise ValueError(f"{name}, line {number}: {why}")


# ---- tables, columns, pairs --------------------------------------------------------------------------------------


def read_tsv(
    path: StrPath, *, separator: str = "\t", fields: int | None = None, columns: Sequence[int] | None = None,
    header: bool = False, errors: Errors = "strict",
) -> Stream[tuple[str, ...]]:  # fmt: skip
    """The rows of a table, one for each line: tuples of strings. There is no quoting.

    separator  between two fields
    fields     the number of fields in a line; the last may contain separators. None: as many as in the first line
    columns    the fields to return, in this order; None for all
    header     skip the first line

    `read_tsv("sst2/train.txt", separator=" ", fields=2)` gives (label, sentence) pairs. Raises ValueError, with file
    and line, for a row with another number of fields; an empty line at the end is not a row.
    """
    name = os.fspath(path)
    _check_columns("read_tsv", columns)
    lines = read_lines(path, errors=errors)
    if not separator or (fields is not None and fields < 1):
        raise ValueError(f"read_tsv: separator={separator!r} and fields={fields} cannot cut a line into fields")
    splits = -1 if fields is None else fields - 1

    def begin() -> Iterator[tuple[str, ...]]:
        expected, empty = fields, 0
        for number, line in enumerate(lines, 1):
            if not line and expected not in (None, 1):
                empty = empty or number
                continue
            if empty:
                _fail(name, empty, f"1 field, where {expected} are expected: ''")
            row = line.split(separator, splits)
            expected = len(row) if expected is None else expected
            if len(row) != expected:
                _fail(name, number, f"{len(row)} fields, where {expected} are expected: {line[:60]!r}")
            if number > header:
                yield _chosen(row, columns, name, number)

    return Stream(begin)


def read_columns(
    path: StrPath, *, separator: str | None = None, columns: Sequence[int] | None = None,
    skip: str | None = "-DOCSTART-", comment: str | None = None, conllu: bool = False, errors: Errors = "strict",
) -> Stream[tuple[tuple[str, ...], ...]]:  # fmt: skip
    """The sentences of a file with a token in each line and an empty line after each sentence, as in CoNLL's files: for
    each sentence, its columns.

    separator  between the columns; spaces and tabs, if None: other blanks belong to a token
    columns    the columns to return, in this order; None for all
    skip       lines with this first column do not belong to a sentence
    comment    lines that begin with this are skipped
    conllu     read the CoNLL-U format: tabs between the columns, comments after "#"; lines of contractions (1-2) and of
               omitted words (8.1) are skipped, so that each row is a word

    `for words, tags in read_columns("eng.train.txt", columns=(0, 3))`. Raises ValueError, with file and line, for a
    line whose number of columns differs from the first one's.
    """
    name = os.fspath(path)
    _check_columns("read_columns", columns)
    lines = read_lines(path, errors=errors)
    if conllu:
        separator, comment, skip = "\t", "#", None

    def begin() -> Iterator[tuple[tuple[str, ...], ...]]:
        sentence: list[tuple[str, ...]] = []
        width = None
        for number, line in enumerate(lines, 1):
            if comment is not None and line.startswith(comment):
                continue
            text = line.strip(" \t")
            row = [] if not text else BLANKS.split(text) if separator is None else line.split(separator)
            if conllu and row and INSERTED.fullmatch(row[0]):
                continue
            width = width or len(row)
            if row and len(row) != width:
                _fail(name, number, f"{len(row)} columns, where {width} are expected: {line[:60]!r}")
            if row and row[0] != skip:
                sentence.append(_chosen(row, columns, name, number))
            elif sentence:
                yield tuple(zip(*sentence, strict=True))
                sentence = []
        if sentence:
            yield tuple(zip(*sentence, strict=True))

    return Stream(begin)


def read_pairs(source: StrPath, target: StrPath, *, errors: Errors = "strict") -> Stream[tuple[str, str]]:
    """The pairs of lines of two parallel files. Raises ValueError, at the end, if one has more lines."""
    files = os.fspath(source), os.fspath(target)
    sources, targets = read_lines(source, errors=errors), read_lines(target, errors=errors)

    def begin() -> Iterator[tuple[str, str]]:
        for number, (one, other) in enumerate(zip_longest(sources, targets)):
            if one is None or other is None:
                shorter, longer = files if one is None else files[::-1]
                raise ValueError(f"{shorter} ends after line {number}, but {longer} has more lines")
            yield one, other

    return Stream(begin)


def _check_columns(title: str, columns: Any) -> None:
    if columns is not None:
        refuse_text(title, "columns", columns, "(0, 3)")
        if any(isinstance(c, bool) or not isinstance(c, int) for c in columns):
            raise TypeError(f"{title}: columns are integers, not {columns!r}")


def _chosen(row: Sequence[str], columns: Sequence[int] | None, name: str, number: int) -> tuple[str, ...]:
    if columns is None:
        return tuple(row)
    try:
        return tuple(row[c] for c in columns)
    except IndexError:
        _fail(name, number, f"there are {len(row)} columns, not all of {tuple(columns)}: {' '.join(row)[:60]!r}")


def batched(items: Iterable[S], size: int) -> Iterator[list[S]]:
    """Lists of `size` consecutive items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
