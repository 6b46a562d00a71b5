"""The interface of all tokenizers: fit, tokenize, encode, decode, encode_batch, save, load.

A text is cut in two steps. A regular expression cuts it into *chunks*, such as the parts between blanks; each chunk is
cut into tokens by itself. Chunks recur, so their ids are cached, and most are looked up.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import isabstract
from typing import Any, ClassVar, Literal, Self, TypedDict, overload

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from nn.training.files import StrPath

from ..files import Document, kinds_of, read_json, write_json
from ..ids import checked_ids
from ..lists import refuse_text
from ..vocabulary import Vocabulary
from .normalizing import Normalizer

Array = Any
Token = tuple[str, int, int]  # a token, with its start and end in the chunk
VERSION = 1
KEPT, LONGEST = 2**17, 64  # limits of the cache: its chunks, and the characters of a chunk


class Options(TypedDict, total=False):
    """The common options of all tokenizers; `Tokenizer` describes them."""

    min_freq: int
    max_size: int | None
    normalization: str | None
    lowercase: bool
    pad: str | None
    unk: str | None
    bos: str | None
    eos: str | None
    specials: Sequence[str]


class Tokenizer(ABC):
    """Cuts texts into tokens, and turns them into ids and back.

    min_freq, max_size   the tokens that get an id, as in `Vocabulary`
    normalization        Unicode's form "NFC", "NFD", "NFKC" or "NFKD" for every text, or None
    lowercase            convert every text to lower case (after normalization)
    pad, unk, bos, eos   special tokens by their role, as in `Vocabulary`; None if there is none
    specials             further special tokens

    Plain text never becomes a special token: their characters are treated like any others, unless `encode` is told
    otherwise.
    """

    pattern: ClassVar[re.Pattern[str]]  # matches each chunk; text between chunks does not become tokens
    between: ClassVar[str] = ""  # separator between the parts of a decoded text

    def __init__(
        self, *, min_freq: int = 1, max_size: int | None = None, normalization: str | None = None,
        lowercase: bool = False, pad: str | None = "<pad>", unk: str | None = "<unk>", bos: str | None = "<bos>",
        eos: str | None = "<eos>", specials: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.normalizer = Normalizer(normalization, lowercase)
        self._vocabulary = Vocabulary(
            min_freq=min_freq, max_size=max_size, pad=pad, unk=unk, bos=bos, eos=eos, specials=specials
        )
        self._fitted = False
        self._special = re.compile("(?!)")  # matches special tokens; none at first
        self._plain: dict[str, int] = {}  # the ids of tokens from plain text
        self._known = _Known(self._ids)

    # ---- defined by each tokenizer -----------------------------------------------------------------------------------

    @abstractmethod
    def _cut(self, chunk: str) -> list[Token]:
        """The tokens of a chunk."""

    @abstractmethod
    def _join(self, tokens: list[str]) -> str:
        """The text of tokens without special ones."""

    def _chunks(self, text: str) -> Iterable[str]:
        """The chunks of a normalised text."""
        return self.pattern.findall(text)

    def _units(self, chunk: str) -> Iterable[str]:
        """The parts of a chunk that are counted during fitting."""
        return [token for token, _, _ in self._cut(chunk)]

    def _is_token(self, token: str) -> bool:
        """True if text can contain this token."""
        return bool(token)

    def _learn(self, counts: Counter[str], progress: bool) -> None:
        """Make the vocabulary from the counts of all units."""
        v = self._vocabulary
        from_text = sum(counts.pop(token, 0) for token in v.specials)  # in text, they count as unknown tokens
        if v.unk is not None:
            counts[v.unk] = from_text
        v.fit_counts(counts)

    def _ids(self, chunk: str) -> list[int]:
        """The ids of a chunk."""
        ids = []
        for token, _, _ in self._cut(chunk):
            i = self._plain.get(token, self._vocabulary.unk_id)
            if i is None:
                raise ValueError(f"{self._name}.encode: {token!r} is not in the vocabulary, which has no unk")
            ids.append(i)
        return ids

    def _options(self) -> dict[str, str | int]:
        """The arguments of `__init__` that only this class has."""
        return {}

    # ---- fitting -------------------------------------------------------------------------------------------------

    def fit(self, texts: Iterable[str], *, progress: bool = False) -> Self:
        """Make the vocabulary from texts, which are read once and not kept. Returns this tokenizer.

        texts     an iterable of strings, such as `nlp.read_lines(path)`
        progress  show a bar

        Raises TypeError for a string in place of an iterable of strings, ValueError if nothing is left to learn from,
        RuntimeError if it is fitted already.
        """
        if self._fitted:
            raise RuntimeError(f"{self._name}.fit: it is fitted already; make a new one")
        chunks: Counter[str] = Counter()
        units: Counter[str] = Counter()

        def flush() -> None:
            for chunk, count in chunks.items():
                for unit in self._units(chunk):
                    units[unit] += count
            chunks.clear()

        for text in tqdm(self._checked(texts, "fit"), desc="reading", unit=" texts", disable=not progress):
            chunks.update(self._chunks(self.normalizer(text)))
            if len(chunks) > KEPT:
                flush()
        flush()
        if not units:
            raise ValueError(f"{self._name}.fit: the corpus is empty")
        self._learn(units, progress)
        self._ready()
        return self

    def _checked(self, texts: Iterable[str], method: str) -> Iterator[str]:
        refuse_text(f"{self._name}.{method}", "texts", texts, '["a text"]')
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"{self._name}.{method}: text {number} is of type {type(text).__name__}, not a string")
            yield text

    def _ready(self) -> None:
        """Prepare for encoding, once the vocabulary exists."""
        self._fitted = True
        specials = set(self._vocabulary.specials)
        self._plain = {token: i for i, token in enumerate(self._vocabulary.tokens) if token not in specials}
        if specials:
            self._special = re.compile("|".join(re.escape(s) for s in sorted(specials, key=len, reverse=True)))

    @property
    def vocabulary(self) -> Vocabulary:
        """All tokens and their ids. Raises RuntimeError before `fit`."""
        if not self._fitted:
            raise RuntimeError(f"{self._name}: it has no vocabulary before `fit` or `load`")
        return self._vocabulary

    # ---- from text to ids ----------------------------------------------------------------------------------------

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text as strings, unknown ones as in the text. Needs no `fit`, unless tokens depend on it."""
        self._check_text(text, "tokenize")
        text = self.normalizer(text)
        return [token for match in self.pattern.finditer(text) for token, _, _ in self._cut(match.group())]

    @overload
    def encode(
        self, text: str, *, bos: bool = ..., eos: bool = ..., allow_special: bool = ...,
        return_offsets: Literal[False] = ...,
    ) -> Array: ...  # fmt: skip

    @overload
    def encode(
        self, text: str, *, bos: bool = ..., eos: bool = ..., allow_special: bool = ..., return_offsets: Literal[True],
    ) -> tuple[Array, Array]: ...  # fmt: skip

    def encode(
        self, text: str, *, bos: bool = False, eos: bool = False, allow_special: bool = False,
        return_offsets: bool = False,
    ) -> Any:  # fmt: skip
        """(T,) the ids of a text's T tokens, int64.

        bos, eos        put these special tokens before and after them
        allow_special   let the special tokens' characters in the text become special tokens
        return_offsets  also return the span (T, 2) of each token: it comes from `text[start:end]`. Offsets refer to the
                        given text, before normalisation; a token with a part of a character has the whole character's
                        span; `bos` and `eos` have empty ones

        Raises TypeError if the text is not a string, ValueError for a token missing in a vocabulary without `unk`, or
        for a missing special token.
        """
        self._check_text(text, "encode")
        first, last = self._role("bos", bos), self._role("eos", eos)
        ids = self._array(text, first, last, allow_special)
        if not return_offsets:
            return ids
        spans = self._offsets(text, allow_special)
        begin, end = np.zeros((int(bos), 2), np.int64), np.full((int(eos), 2), len(text))
        return ids, np.concatenate([begin, *spans, end])  # (T, 2)

    def _offsets(self, text: str, allow_special: bool) -> list[Array]:
        """The spans (·, 2) of the tokens of each part of a text."""
        return [start + (np.array([[0, len(part)]]) if special else self._spans(part))
                for part, start, special in self._parts(text, allow_special)]  # fmt: skip

    def encode_batch(
        self, texts: Iterable[str], *, bos: bool = False, eos: bool = False, allow_special: bool = False
    ) -> list[Array]:  # fmt: skip
        """The ids of each text; `nlp.pad` makes one array of them."""
        first, last = self._role("bos", bos), self._role("eos", eos)
        return [self._array(text, first, last, allow_special) for text in self._checked(texts, "encode_batch")]

    def _array(self, text: str, first: bytes, last: bytes, allow_special: bool) -> Array:
        """(T,) the ids of a text, between the bytes of other ids."""
        if allow_special:
            raw = b"".join(
                _bytes([self._vocabulary[part]]) if special else self._encode(self.normalizer(part))
                for part, _, special in self._parts(text, True)
            )
        else:
            raw = self._encode(self.normalizer(text))
        return np.frombuffer(bytearray().join((first, raw, last)), np.int64)

    def _encode(self, text: str) -> bytes:
        """The ids of a normalised text without special tokens, as the bytes of an array."""
        return b"".join(map(self._known.__getitem__, self._chunks(text)))

    def _spans(self, text: str) -> Array:
        """(T, 2) the span in the text of each of the ids of `_encode`."""
        normal, sources = self.normalizer.aligned(text)
        spans = [
            (match.start() + start, match.start() + end)
            for match in self.pattern.finditer(normal) for _, start, end in self._cut(match.group())
        ]  # fmt: skip
        starts, ends = np.array(spans, np.int64).reshape(-1, 2).T
        return np.stack([sources[starts, 0], sources[ends - 1, 1]], axis=-1)

    def _parts(self, text: str, allow_special: bool) -> Iterator[tuple[str, int, bool]]:
        """The text cut at special tokens: each part, its start, and True if it is a special token."""
        end = 0
        for match in self._special.finditer(text) if allow_special else ():
            if match.start() > end:
                yield text[end : match.start()], end, False
            yield match.group(), match.start(), True
            end = match.end()
        if end < len(text):
            yield text[end:], end, False

    def _role(self, role: str, wanted: bool) -> bytes:
        """The id of a special token, as the bytes of an array; empty if it is not wanted."""
        v = self.vocabulary
        if not wanted:
            return b""
        found = getattr(v, f"{role}_id")
        if found is None:
            raise ValueError(f"{self._name}.encode: there is no special token {role}, as the tokenizer was made")
        return _bytes([found])

    def _check_text(self, text: Any, method: str) -> None:
        if not isinstance(text, str):
            hint = f"; use {method}_batch for several texts" if isinstance(text, list | tuple) else ""
            raise TypeError(f"{self._name}.{method}: the text must be a string, not {type(text).__name__}{hint}")

    # ---- from ids to text ----------------------------------------------------------------------------------------

    def decode(self, ids: Any, *, skip_special: bool = False) -> str:
        """The text of ids (T,).

        skip_special  omit special tokens, except for `unk`

        Raises ValueError for invalid ids.
        """
        v = self.vocabulary
        tokens = v.tokens
        checked = checked_ids(f"{self._name}.decode", ids, len(v), ndim=1).tolist()
        specials = {v[token] for token in v.specials}
        skipped = specials - {v.unk_id} if skip_special else set()
        parts: list[str] = []
        run: list[str] = []
        for i in checked:
            if i not in specials:
                run.append(tokens[i])
            elif i not in skipped:
                parts += [self._join(run), tokens[i]] if run else [tokens[i]]
                run = []
        return self.between.join([*parts, self._join(run)] if run else parts)

    # ---- files ---------------------------------------------------------------------------------------------------

    def save(self, path: StrPath) -> None:
        """Write everything needed for encoding and decoding into a JSON file, atomically."""
        write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The tokenizer as JSON values."""
        return {
            "format": f"nlp.{self._name}",
            "version": VERSION,
            "normalization": self.normalizer.form,
            "lowercase": self.normalizer.lowercase,
            **self._options(),
            "vocabulary": self.vocabulary.to_json(),
        }

    @classmethod
    def load(cls, path: StrPath) -> Self:
        """Load a tokenizer written by `save`. `Tokenizer.load` reads any class of tokenizer.

        Raises OSError if there is no such file, ValueError, with file and field, if it is invalid.
        """
        return cls.from_json(read_json(path))

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The tokenizer from a result of `to_json`, checked."""
        kinds = kinds_of(cls) if isabstract(cls) else [cls]
        for kind in kinds:
            if kind._is_own(document):
                return kind._from_document(document)
        document.demand_format(" or ".join(f"nlp.{kind.__name__}" for kind in kinds), VERSION)
        raise AssertionError("unreachable")

    @classmethod
    def _is_own(cls, document: Document) -> bool:
        return bool(document.content.get("format") == f"nlp.{cls.__name__}")

    @classmethod
    def _from_document(cls, document: Document) -> Self:
        document.demand_format(f"nlp.{cls.__name__}", VERSION)
        vocabulary = Vocabulary.from_json(document.get_object("vocabulary"))
        normalization = document.get("normalization", str, None)
        lowercase = document.get("lowercase", bool)
        try:
            made = cls(normalization=normalization, lowercase=lowercase, **cls._read_options(document))
        except ValueError as error:
            document.fail(str(error))
        made._vocabulary = vocabulary
        specials = set(vocabulary.specials)
        if wrong := [token for token in vocabulary if token not in specials and not made._is_token(token)]:
            document.fail(f"{wrong[0]!r} cannot be a token of a {cls.__name__}")
        made._ready()
        return made

    @classmethod
    def _read_options(cls, document: Document) -> dict[str, Any]:
        """The arguments from a result of `_options`."""
        return {}

    # ---- size and text -----------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.vocabulary)

    def __repr__(self) -> str:
        return f"{self._name}({f'{len(self):,} tokens' if self._fitted else 'not fitted'})"


def _bytes(ids: Sequence[int]) -> bytes:
    return np.array(ids, np.int64).tobytes()


class _Known(dict[str, bytes]):
    """A cache of the ids of chunks, as the bytes of an array; missing ones are computed."""

    def __init__(self, make: Callable[[str], Sequence[int]]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, chunk: str) -> bytes:
        ids = _bytes(self.make(chunk))
        if len(chunk) <= LONGEST:
            if len(self) >= KEPT:
                self.clear()
            self[chunk] = ids
        return ids
