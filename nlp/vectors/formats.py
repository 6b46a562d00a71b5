"""Files of word vectors: word2vec's text and binary formats, and safetensors, which can be mapped into memory.

Text: a line `V D`, then V lines with a word and D numbers; GloVe's files have no first line. Binary: the same line,
then V times a word, a blank, and D little-endian float32. Safetensors: `vectors` (V, D), `words` (their bytes), `ends`
(where each word ends in them), and `counts`.

A file may lie about its size, so arrays grow with the data that was read.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import numpy as np
from safetensors import safe_open

from nn.training.files import StrPath, atomic, read_arrays, write_arrays

from ..readers import BLANKS, DAMAGED, Errors, open_bytes, read_lines

Array = Any
Duplicates = Literal["first", "last", "error"]
Format = Literal["text", "binary", "safetensors"]
SUFFIXES: dict[str, Format] = {".txt": "text", ".vec": "text", ".bin": "binary", ".safetensors": "safetensors"}
METADATA = {"format": "nlp.WordVectors", "version": "1"}
CHUNK = 2**20  # bytes
LONGEST = 2**16  # bytes of a word
WIDEST = 2**20  # numbers of a vector
BATCH = 1024  # lines
NUMBER = re.compile(r"[-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|nan|inf)", re.IGNORECASE)
CONTROL = re.compile("[\0-\x08\x0e-\x1f]")  # not in text


def name_of(path: StrPath) -> str:
    """The path as text."""
    return os.fspath(path)


def _format(path: StrPath, format: Format | None) -> Format:
    suffix = Path(name_of(path).removesuffix(".gz").removesuffix(".xz")).suffix
    found = SUFFIXES.get(suffix) if format is None else format
    if found is None or found not in SUFFIXES.values():
        what = f"a name that ends in {suffix!r}" if format is None else repr(format)
        raise ValueError(
            f"WordVectors: {what} is not a format; names end in {', '.join(SUFFIXES)}, or give format='text', 'binary' "
            "or 'safetensors'"
        )
    return found


# ---- writing -----------------------------------------------------------------------------------------------------


def save(words: Sequence[str], vectors: Array, counts: Array | None, path: StrPath, format: Format | None) -> None:
    """See `WordVectors.save`."""
    kind = _format(path, format)
    if name_of(path).endswith((".gz", ".xz")):
        raise ValueError(f"WordVectors.save: {name_of(path)} would not be compressed; leave .gz and .xz out")
    if kind == "safetensors":
        encoded = [word.encode("utf-8", "surrogatepass") for word in words]
        arrays = {
            "vectors": np.ascontiguousarray(vectors),
            "words": np.frombuffer(b"".join(encoded), np.uint8),
            "ends": np.cumsum([len(word) for word in encoded], dtype=np.int64),
        }
        write_arrays(path, arrays if counts is None else arrays | {"counts": counts.astype(np.int64)}, METADATA)
        return
    lines = _text_lines if kind == "text" else _binary_pieces
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        file.writelines(lines(words, vectors))


def _text_lines(words: Sequence[str], vectors: Array) -> Iterator[bytes]:
    for word, row in zip(words, vectors, strict=True):
        yield _bytes_of(word) + b" " + " ".join(map(str, row)).encode() + b"\n"  # shortest form


def _binary_pieces(words: Sequence[str], vectors: Array) -> Iterator[bytes]:
    for word, row in zip(words, vectors, strict=True):
        yield _bytes_of(word) + b" " + row.astype("<f4").tobytes() + b"\n"


def _bytes_of(word: str) -> bytes:
    if not word or " " in word or "\n" in word:
        raise ValueError(f"WordVectors.save: word2vec's formats cannot hold the word {word!r}; safetensors can")
    try:
        return word.encode()
    except UnicodeEncodeError:
        raise ValueError(f"WordVectors.save: {word!r} has no bytes in UTF-8; safetensors can hold it") from None


# ---- reading -----------------------------------------------------------------------------------------------------


def load(
    path: StrPath, format: Format | None, limit: int | None, mmap: bool, errors: Errors, duplicates: Duplicates
) -> tuple[list[str], Array, Array | None]:
    """Words, vectors and counts; see `WordVectors.load`."""
    kind = _format(path, format)
    if duplicates not in ("first", "last", "error"):
        raise ValueError(f"WordVectors.load: duplicates must be 'first', 'last' or 'error', not {duplicates!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"WordVectors.load: limit must be at least 1, not {limit}")
    try:
        words, vectors, counts = _load(path, kind, limit, mmap, errors)
    except ValueError as error:
        if (other := _looks_like(path)) in (None, kind):
            raise
        raise ValueError(
            f"{name_of(path)}: it was read as {kind}, and looks like {other}; give format={other!r} ({error})"
        ) from error
    return _distinct(path, words, vectors, counts, duplicates)


def _load(
    path: StrPath, kind: Format, limit: int | None, mmap: bool, errors: Errors
) -> tuple[list[str], Array, Array | None]:  # fmt: skip
    if kind == "safetensors":
        return _load_safetensors(path, limit, mmap)
    if mmap:
        raise ValueError(
            f"WordVectors.load: in {name_of(path)} words and numbers alternate, so that it cannot be mapped; save the "
            "vectors as safetensors once"
        )
    words, vectors = _load_text(path, limit, errors) if kind == "text" else _load_binary(path, limit, errors)
    return words, vectors, None


def _distinct(
    path: StrPath, words: list[str], vectors: Array, counts: Array | None, duplicates: Duplicates
) -> tuple[list[str], Array, Array | None]:  # fmt: skip
    """Each word once, in file order, with the vector of its first or last occurrence. Foreign files repeat words, and
    errors="replace" may make two words equal."""
    if duplicates == "error" or len(set(words)) == len(words):  # the index raises the error
        return words, vectors, counts
    places: dict[str, int] = {}
    repeated: dict[str, None] = {}
    for k, word in enumerate(words):
        if word in places:
            repeated[word] = None
        if word not in places or duplicates == "last":
            places[word] = k
    shown = ", ".join(map(repr, list(repeated)[:5])) + (", ..." if len(repeated) > 5 else "")
    warnings.warn(
        f"{name_of(path)}: {len(repeated):,} words are there more than once, and the {duplicates} of each is kept: "
        f"{shown}",
        stacklevel=4,
    )
    kept = np.fromiter(places.values(), np.int64, len(places))
    return list(places), vectors[kept], None if counts is None else counts[kept]


def _looks_like(path: StrPath) -> Format | None:
    """The format of a file by its first bytes; None if they do not determine it."""
    try:
        with open_bytes(name_of(path)) as file:
            head, rest = file.readline(2**16), file.read(2**16)
    except (OSError, *DAMAGED):
        return None
    if head[8:9] == b"{":
        return "safetensors"
    counted = _sizes(head.decode("utf-8", "replace"))[0] is not None
    body = (rest if counted else head).decode("latin-1")
    line, end, _ = body.partition("\n")
    fields = BLANKS.split(line.strip())[1 : None if end else -1]  # the last may be truncated
    if fields and all(NUMBER.fullmatch(field) for field in fields):
        return "text"
    return "binary" if counted and CONTROL.search(body) else None


class GrowingMatrix:
    """A matrix (n, D), float32, that grows row by row."""

    def __init__(self, dim: int) -> None:
        self.count, self.array = 0, np.empty((0, dim), np.float32)

    def add(self, rows: Any) -> None:
        """Append rows (m, D)."""
        if self.count + len(rows) > len(self.array):
            size = self.count + len(rows)
            self.array.resize((size + size // 4, self.array.shape[1]), refcheck=False)  # often in place
        with np.errstate(over="ignore"):  # infinities are refused later
            self.array[self.count : self.count + len(rows)] = rows
        self.count += len(rows)

    def done(self) -> Array:
        """All rows."""
        self.array.resize((self.count, self.array.shape[1]), refcheck=False)
        return self.array


def _load_text(path: StrPath, limit: int | None, errors: Errors) -> tuple[list[str], Array]:
    numbered = enumerate(read_lines(path, errors=errors), 1)
    _, line = next(numbered, (0, ""))
    expected, dim = _sizes(line)
    if expected is None:  # GloVe: no heading
        numbered = enumerate(read_lines(path, errors=errors), 1)
        dim = len(BLANKS.split(line.strip(" \t"))) - 1
    _check_size(path, dim)
    words: list[str] = []
    rows, batch = GrowingMatrix(dim), []
    for number, line in numbered:
        if len(words) == limit:
            break
        if expected is not None and len(words) == expected:
            if line.strip():
                _fail(path, f"line {number}: the first line announces {expected:,} words, but here is another one")
            continue
        fields = line.rstrip().rsplit(" ", dim)
        if len(fields) != dim + 1 or "" in fields:  # tabs or several blanks between the columns
            parts = BLANKS.split(line.strip(" \t"))
            fields = [" ".join(parts[:-dim]), *parts[-dim:]] if len(parts) > dim else fields
        try:
            batch.append([float(field) for field in fields[1:]])
        except ValueError as error:
            _fail(path, f"line {number}, word {fields[0][:40]!r}: {error}")
        if len(fields) != dim + 1:
            _fail(path, f"line {number}: a word and {dim} numbers are expected, not {line[:60]!r}")
        words.append(fields[0].strip(" "))
        if len(batch) == BATCH:
            rows.add(batch)
            batch = []
    if batch:
        rows.add(batch)
    if expected is not None and len(words) < expected and len(words) != limit:
        _fail(path, f"the first line announces {expected:,} words, but it ends after {len(words):,}")
    return words, rows.done()


def _load_binary(path: StrPath, limit: int | None, errors: Errors) -> tuple[list[str], Array]:
    with open_bytes(name_of(path)) as file:
        try:
            return _read_binary(file, path, limit, errors)
        except DAMAGED as error:
            raise ValueError(f"{name_of(path)}: the compressed file is damaged or cut off: {error}") from error


def _read_binary(file: IO[bytes], path: StrPath, limit: int | None, errors: Errors) -> tuple[list[str], Array]:
    head = file.readline(100)
    expected, dim = _sizes(head.decode("ascii", "replace"))
    if expected is None or not head.endswith(b"\n"):
        _fail(path, f"it should begin with a line of two numbers, not {head[:40]!r}")
    _check_size(path, dim)
    data, at = b"", 0
    words: list[str] = []
    rows = GrowingMatrix(dim)

    def more(why: str) -> None:
        nonlocal data, at
        piece = file.read(CHUNK)
        if not piece:
            _fail(path, f"it ends {why} word {rows.count + 1:,} of {expected:,}")
        data, at = data[at:] + piece, 0

    while len(words) < (expected if limit is None else min(limit, expected)):
        while (blank := data.find(b" ", at, at + LONGEST)) < 0:
            if len(data) - at >= LONGEST:
                _fail(path, f"word {len(words) + 1:,} has no end within {LONGEST:,} bytes")
            more("before")
        try:
            words.append(data[at:blank].lstrip(b"\n").decode("utf-8", errors))
        except UnicodeDecodeError as error:
            _fail(path, f"word {len(words) + 1:,} is not UTF-8 ({error.reason}); errors='replace' would mend it")
        at = blank + 1
        while len(data) - at < 4 * dim:
            more("within the vector of")
        rows.add(np.frombuffer(data, "<f4", dim, at)[None])
        at += 4 * dim
    if len(words) == expected and (data[at:] + file.read(CHUNK)).strip():
        _fail(path, f"the first line announces {expected:,} words, but more bytes follow")
    return words, rows.done()


def _sizes(line: str) -> tuple[int | None, int]:
    """V and D of a first line; None and 0 for any other line."""
    fields = line.split()
    if len(fields) != 2 or not all(field.isascii() and field.isdigit() and len(field) < 19 for field in fields):
        return None, 0
    return int(fields[0]), int(fields[1])


def _check_size(path: StrPath, dim: int) -> None:
    if not 1 <= dim <= WIDEST:
        _fail(path, f"its vectors would have {max(dim, 0):,} numbers")


# ---- safetensors -------------------------------------------------------------------------------------------------


def _load_safetensors(path: StrPath, limit: int | None, mmap: bool) -> tuple[list[str], Array, Array | None]:
    arrays, metadata = read_arrays(path, without=("vectors",) if mmap else ())
    if metadata != METADATA:
        _fail(path, f"it does not hold word vectors: its metadata are {metadata}, not {METADATA}")
    vectors = _mapped(path, "vectors") if mmap else arrays.get("vectors")
    text, ends, counts = arrays.get("words"), arrays.get("ends"), arrays.get("counts")
    if (
        vectors is None or vectors.dtype != np.float32 or vectors.ndim != 2
        or text is None or text.dtype != np.uint8 or text.ndim != 1
        or ends is None or ends.dtype != np.int64 or ends.shape != vectors.shape[:1]
        or np.any(np.diff(ends, prepend=0) < 0) or np.any(ends[-1:] != len(text))
        or (counts is not None and (counts.dtype != np.int64 or counts.shape != ends.shape))
    ):  # fmt: skip
        _fail(path, "`vectors`, `words`, `ends` and `counts` do not fit each other")
    if limit is not None:
        vectors, ends, counts = vectors[:limit], ends[:limit], None if counts is None else counts[:limit]
    raw, starts = text.tobytes(), [0, *ends.tolist()]
    try:
        words = [raw[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts, ends.tolist(), strict=False)]
    except UnicodeDecodeError as error:
        _fail(path, f"a word is not UTF-8: {error}")
    return words, vectors, counts


def _mapped(path: StrPath, name: str) -> Array | None:
    """A tensor of a safetensors file that stays on disk; None if there is none."""
    with safe_open(name_of(path), framework="np") as file:  # which checks the header against the file
        if name not in file.keys():  # noqa: SIM118 (not a mapping)
            return None
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))[name]
    if entry["dtype"] != "F32" or 0 in entry["shape"]:
        return None
    return np.memmap(path, "<f4", "r", 8 + size + entry["data_offsets"][0], tuple(entry["shape"]))


def _fail(path: StrPath, why: str) -> NoReturn:
    raise ValueError(f"{name_of(path)}: {why}")
