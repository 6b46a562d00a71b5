"""Vocabulary: tokens and their ids. An id is an index in a list; a one-hot vector has its 1 at that index."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nn.training.files import StrPath

from .files import Document, read_json, write_json
from .ids import checked_ids
from .lists import refuse_text

Array = Any
ROLES = ("pad", "unk", "bos", "eos")
FORMAT, VERSION = "nlp.Vocabulary", 1


class Vocabulary:
    """The tokens of a corpus, each with an id from 0 to V − 1.

    min_freq            less frequent tokens are left out
    max_size            the most entries, including special ones; the most frequent are kept
    pad, unk, bos, eos  special tokens by their role: padding, unknown tokens, the beginning and the end of a sequence;
                        None if there is none
    specials            further special tokens

    Special tokens come first, in this order, then the others by decreasing frequency, equally frequent ones in
    character order: the vocabulary does not depend on the order of the corpus.

    >>> v = Vocabulary(min_freq=2, unk="<unk>").fit([["I", "go", "to", "the", "mall"], ["I", "go", "home"]])
    >>> v.tokens
    ('<unk>', 'I', 'go')
    >>> v.encode(["I", "go", "there"]).tolist()
    [1, 2, 0]
    >>> v.counts.tolist()                   # 'to', 'the', 'mall' and 'home' are unknown
    [4, 2, 2]

    After `fit` it is frozen. Its attributes:

    tokens  (V,) the tokens, a tuple
    counts  (V,) the count of each id in the corpus; tokens left out count as `unk`, if there is one
    total   the number of the corpus's tokens, including those left out
    """

    def __init__(
        self, *, min_freq: int = 1, max_size: int | None = None, pad: str | None = None, unk: str | None = None,
        bos: str | None = None, eos: str | None = None, specials: Sequence[str] = (),
    ) -> None:  # fmt: skip
        for name, number in (("min_freq", min_freq), ("max_size", max_size)):
            whole = isinstance(number, int) and not isinstance(number, bool)
            if number is not None and not (whole and number >= 1):
                raise ValueError(f"Vocabulary: {name} must be an integer of at least 1, not {number!r}")
        refuse_text("Vocabulary", "specials", specials, '["<sep>"]')
        self.min_freq, self.max_size = min_freq, max_size
        self.pad, self.unk, self.bos, self.eos = pad, unk, bos, eos
        self.further = tuple(specials)
        _check_specials(self.specials)
        if max_size is not None and max_size <= len(self.specials):
            raise ValueError(f"Vocabulary: max_size={max_size} leaves no place beside {len(self.specials)} specials")
        self._tokens: tuple[str, ...] | None = None
        self._counts: Array = None
        self.total = 0
        self._ids: dict[str, int] = {}

    # ---- fitting -------------------------------------------------------------------------------------------------

    def fit(self, sentences: Iterable[Iterable[str]]) -> Vocabulary:
        """Take the tokens of a corpus: sentences, each an iterable of tokens. They are read once; only the counts are
        kept. Returns this vocabulary.

        Raises TypeError for strings in place of sentences, ValueError if no token is left.
        """
        refuse_text("Vocabulary.fit", "sentences", sentences, '[["I", "go"], ["home"]]')
        counter: Counter[str] = Counter()
        for number, sentence in enumerate(sentences):
            if isinstance(sentence, str | bytes):
                raise TypeError(
                    f"Vocabulary.fit: sentence {number} is the string {sentence[:40]!r}, which would be counted letter "
                    f"by letter; expected a list of tokens, such as {sentence[:40].split()!r}"
                )
            try:
                counter.update(sentence)
            except TypeError as error:
                raise TypeError(f"Vocabulary.fit: sentence {number} is not a list of tokens: {error}") from None
        return self.fit_counts(counter)

    def fit_counts(self, counts: Mapping[str, int]) -> Vocabulary:
        """Take tokens that were counted elsewhere."""
        if self._tokens is not None:
            raise RuntimeError("Vocabulary: it is fitted, and frozen since then; make a new one")
        for token, count in counts.items():
            if not isinstance(token, str):
                raise TypeError(f"Vocabulary.fit: {token!r} is of type {type(token).__name__}; tokens are strings")
            if count < 0:
                raise ValueError(f"Vocabulary.fit: {token!r} is counted {count} times")
        specials = set(self.specials)
        found = [(token, count) for token, count in counts.items() if token not in specials]
        kept = sorted(
            ((token, count) for token, count in found if count >= self.min_freq), key=lambda item: (-item[1], item[0])
        )[: None if self.max_size is None else self.max_size - len(specials)]
        if not found:
            raise ValueError("Vocabulary.fit: the corpus is empty")
        if not kept:
            token, count = max(found, key=lambda item: item[1])
            raise ValueError(
                f"Vocabulary.fit: no token occurs min_freq={self.min_freq} times; the most frequent of "
                f"{len(found)} is {token!r}, {count} times"
            )
        total = sum(counts.values())
        tokens = [*self.specials, *(token for token, _ in kept)]
        numbers = [*(counts.get(token, 0) for token in self.specials), *(count for _, count in kept)]
        if self.unk is not None:
            numbers[tokens.index(self.unk)] += total - sum(numbers)
        self._freeze(tokens, numbers, total)
        return self

    @classmethod
    def of(
        cls, tokens: Iterable[str], *, pad: str | None = None, unk: str | None = None, bos: str | None = None,
        eos: str | None = None, specials: Sequence[str] = (),
    ) -> Vocabulary:  # fmt: skip
        """A vocabulary of these tokens in this order, such as the tags of a corpus; counts are 0. Special tokens that
        are not among them come first.

        >>> Vocabulary.of(["O", "PER", "LOC"]).encode(["PER", "O"]).tolist()
        [1, 0]
        """
        refuse_text("Vocabulary.of", "tokens", tokens, '["O", "PER"]')
        made = cls(pad=pad, unk=unk, bos=bos, eos=eos, specials=specials)
        given = list(tokens)
        for token in given:
            if not isinstance(token, str):
                raise TypeError(f"Vocabulary.of: {token!r} is of type {type(token).__name__}; tokens are strings")
        present = set(given)
        given = [*(token for token in made.specials if token not in present), *given]
        if len(set(given)) < len(given):
            (token, times), *_ = Counter(given).most_common(1)
            raise ValueError(f"Vocabulary.of: {token!r} is there {times} times")
        made._freeze(given, [0] * len(given), 0)
        return made

    def _freeze(self, tokens: Sequence[str], counts: Sequence[int], total: int) -> None:
        self._tokens, self.total = tuple(tokens), total
        self._counts = np.array(counts, np.int64)
        self._counts.flags.writeable = False
        self._ids = {token: i for i, token in enumerate(tokens)}

    # ---- looking up ----------------------------------------------------------------------------------------------

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens; the index of each is its id."""
        if self._tokens is None:
            raise RuntimeError("Vocabulary: it has no tokens before `fit`")
        return self._tokens

    @property
    def counts(self) -> Array:
        """(V,) the count of each id in the corpus."""
        _ = self.tokens
        return self._counts

    @property
    def specials(self) -> tuple[str, ...]:
        """The existing special tokens: pad, unk, bos, eos, and further ones."""
        return (*(token for role in ROLES if (token := getattr(self, role)) is not None), *self.further)

    @property
    def pad_id(self) -> int | None:
        """The id of the padding token, or None."""
        return self._id_of(self.pad)

    @property
    def unk_id(self) -> int | None:
        """The id for unknown tokens, or None."""
        return self._id_of(self.unk)

    @property
    def bos_id(self) -> int | None:
        """The id of the token that begins a sequence, or None."""
        return self._id_of(self.bos)

    @property
    def eos_id(self) -> int | None:
        """The id of the token that ends a sequence, or None."""
        return self._id_of(self.eos)

    def _id_of(self, token: str | None) -> int | None:
        _ = self.tokens
        return None if token is None else self._ids[token]

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __getitem__(self, token: str) -> int:
        """The id of a token, or that of `unk` for an unknown one. Raises KeyError if there is no `unk`."""
        found = self._ids.get(token)
        if found is not None:
            return found
        unknown = self.unk_id
        if unknown is None:
            raise KeyError(f"{token!r} is not in the vocabulary, which has no unk")
        return unknown

    def encode(self, tokens: Iterable[str]) -> Array:
        """(T,) the ids of T tokens, int64. Raises KeyError, with the index, for an unknown token if there is no `unk`,
        TypeError for a string in place of a list of tokens."""
        refuse_text("Vocabulary.encode", "tokens", tokens, '["I", "go"]')
        tokens = tokens if isinstance(tokens, list | tuple) else list(tokens)
        unknown = self.unk_id
        if unknown is not None:
            return np.array([self._ids.get(token, unknown) for token in tokens], np.int64)
        try:
            return np.array([self._ids[token] for token in tokens], np.int64)
        except KeyError:
            place = next(k for k, token in enumerate(tokens) if token not in self._ids)
            raise KeyError(
                f"Vocabulary.encode: token {place}, {tokens[place]!r}, is not in the vocabulary, which has no unk"
            ) from None

    def decode(self, ids: Any) -> list[str]:
        """The tokens of ids (T,). Raises ValueError for an invalid id."""
        tokens = self.tokens
        return [tokens[i] for i in checked_ids("Vocabulary.decode", ids, len(tokens), ndim=1).tolist()]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return _state(self) == _state(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self._tokens is None:
            return "Vocabulary(not fitted)"
        shown = ", ".join(map(repr, self._tokens[:6])) + (", ..." if len(self._tokens) > 6 else "")
        return f"Vocabulary({len(self._tokens):,} tokens: {shown})"

    # ---- files ---------------------------------------------------------------------------------------------------

    def save(self, path: StrPath) -> None:
        """Write it into a JSON file, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: StrPath) -> Vocabulary:
        """Load a vocabulary written by `save`. Raises OSError if there is no such file, ValueError, with file and
        field, if it is invalid."""
        document = read_json(path)
        document.demand_format(FORMAT, VERSION)
        return cls.from_json(document)

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as JSON values."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "min_freq": self.min_freq,
            "max_size": self.max_size,
            **{role: getattr(self, role) for role in ROLES},
            "specials": list(self.further),
            "total": self.total,
            "tokens": [_written(token) for token in self.tokens],
            "counts": self.counts.tolist(),
        }

    @classmethod
    def from_json(cls, document: Document) -> Vocabulary:
        """The vocabulary from a result of `to_json`, checked."""
        tokens = [_read(token, place, document) for place, token in enumerate(document.get("tokens", list))]
        counts = document.get_list("counts", int)
        total = document.get("total", int)
        if len(counts) != len(tokens):
            document.fail(f"there are {len(tokens)} tokens, but {len(counts)} counts")
        present = set(tokens)
        if len(present) < len(tokens):
            document.fail(f"the token {Counter(tokens).most_common(1)[0][0]!r} is there twice")
        if any(not 0 <= count < 2**63 for count in [*counts, total]) or sum(counts) > total:
            document.fail("the counts are negative, too large, or add up to more than the total")
        try:
            made = cls(
                min_freq=document.get("min_freq", int),
                max_size=document.get("max_size", int, None),
                specials=document.get_list("specials", str),
                **{role: document.get(role, str, None) for role in ROLES},
            )
        except ValueError as error:
            document.fail(str(error))
        if missing := [token for token in made.specials if token not in present]:
            document.fail(f"the special token {missing[0]!r} is not among the tokens")
        made._freeze(tokens, counts, total)
        return made


def _state(v: Vocabulary) -> tuple[Any, ...]:
    counts = None if v._counts is None else v._counts.tolist()
    return (v._tokens, counts, v.total, v.min_freq, v.max_size, v.specials, *(getattr(v, role) for role in ROLES))


# JSON cannot distinguish a pair of lone surrogates from the one character that they encode in UTF-16, so a token with
# surrogates is written as the list of its code points.

_SURROGATE = re.compile("[\ud800-\udfff]")


def _written(token: str) -> str | list[int]:
    return [ord(c) for c in token] if _SURROGATE.search(token) else token


def _read(token: Any, place: int, document: Document) -> str:
    if isinstance(token, str):
        return token
    if isinstance(token, list) and all(type(c) is int and 0 <= c < 0x110000 for c in token):
        return "".join(map(chr, token))
    document.fail(f"item {place} of 'tokens' is neither a string nor a list of code points")


def _check_specials(specials: Sequence[Any]) -> None:
    for token in specials:
        if not isinstance(token, str):
            raise TypeError(f"Vocabulary: the special token {token!r} is of type {type(token).__name__}, not a string")
        if not token or _SURROGATE.search(token):
            raise ValueError(f"Vocabulary: {token!r} cannot be a special token: it is empty, or not valid Unicode")
    (token, times), *_ = Counter(specials).most_common(1) or [("", 0)]
    if times > 1:
        raise ValueError(f"Vocabulary: the special token {token!r} is given {times} times")
