"""BPETokenizer: byte pair encoding of the bytes of a text (Sennrich et al. 2016, Radford et al. 2019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from nn.training.files import StrPath

from ..files import Document, read_json
from ..vocabulary import ROLES, Vocabulary
from . import tokenizer_json
from .base import Token, Tokenizer, _bytes
from .byte_level import ALPHABET, BYTES, PART, from_signs, pieces_of, signs_only, to_bytes, to_signs, to_text
from .merging import Pair, learn, merge_all, merge_steps
from .pipeline import Pipeline

Array = Any


class BPETokenizer(Tokenizer):
    """Frequent parts of words, down to single bytes: no text is unknown, and decoding restores it exactly.

    vocab_size  the number of ids: special tokens, 256 bytes, and one for each merge. Fewer, if the texts have no more
                pairs that occur `min_freq` times
    min_freq    the least number of occurrences of a pair that is merged
    Tokenizer's arguments follow; there is no `unk`

    >>> corpus = ["low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3]
    >>> t = BPETokenizer(vocab_size=268, pad=None, bos=None, eos=None).fit(corpus)
    >>> t.tokenize("the lowest newt")
    ['t', 'h', 'e', 'Ġlow', 'est', 'Ġnew', 't']
    >>> t.decode(t.encode("naïve 🙂 \\x00"))
    'naïve 🙂 \\x00'

    A text is first cut into words, numbers and signs, each with the space before it, as in GPT-2; merges stay within
    these pieces. Tokens are shown with one visible character for each byte: "Ġ" is a space.

    Files are those of Hugging Face's library `tokenizers` (`tokenizer.json`, version 1.0), such as those of GPT-2,
    RoBERTa, GPT-NeoX, Llama 3 and Qwen: each program reads the other's files, and encodes the same. Features without a
    counterpart here are refused when a file is read. The library finds special tokens in every text, and puts those of
    its post-processor around it; here, `allow_special=True`, `bos=True` and `eos=True` do. It truncates or pads to a
    length, if the file says so; here nothing does, but the file keeps the setting.
    """

    pattern = PART

    def __init__(
        self, vocab_size: int = 8000, *, min_freq: int = 2, normalization: str | None = None, lowercase: bool = False,
        pad: str | None = "<pad>", bos: str | None = "<bos>", eos: str | None = "<eos>", specials: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(
            min_freq=min_freq, normalization=normalization, lowercase=lowercase, pad=pad, unk=None, bos=bos, eos=eos,
            specials=specials,
        )  # fmt: skip
        known = self._vocabulary.specials
        if wrong := [token for token in known if token in BYTES]:
            raise ValueError(f"BPETokenizer: {wrong[0]!r} cannot be a special token: it stands for a byte")
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < len(known) + 256:
            raise ValueError(
                f"BPETokenizer: vocab_size must be an integer of at least {len(known) + 256}, for 256 bytes and "
                f"{len(known)} special tokens, not {vocab_size!r}"
            )
        self.vocab_size = vocab_size
        self._pipeline: Pipeline | None = None  # of a file that cuts texts in another way
        self._file: dict[str, Any] = {}  # such a file's content besides tokens and merges
        self._whole = False  # True if a piece that is a token is not merged from smaller ones
        self._merges: dict[Pair, int] = {}  # the id that a pair of ids becomes, in rank order

    def _units(self, chunk: str) -> Iterable[str]:
        return [piece for piece, _ in pieces_of(chunk)]

    def _learn(self, counts: Counter[str], progress: bool) -> None:
        v = self._vocabulary
        tokens = [b"" for _ in v.specials] + [from_signs(sign) for sign in ALPHABET]
        ids = {token[0]: i for i, token in enumerate(tokens) if token}
        pieces = {tuple(ids[byte] for byte in to_bytes(piece)): count for piece, count in counts.items()}
        reserved = {from_signs(token) for token in v.specials if signs_only(token)}
        self._merges = learn(pieces, tokens, self.vocab_size, v.min_freq, reserved, progress)
        roles = {role: getattr(v, role) for role in ROLES}
        signs = [to_signs(token) for token in tokens[len(v.specials) :]]
        self._vocabulary = Vocabulary.of([*v.specials, *signs], specials=v.further, **roles)

    def _ready(self) -> None:
        super()._ready()
        tokens, unknown = self._vocabulary.tokens, self._vocabulary.unk_id
        self._rules = {pair: (rank, new) for rank, (pair, new) in enumerate(self._merges.items())}
        self._bytes = [  # of each id; an added token has its own
            b"?" if token not in self._plain else from_signs(token) if signs_only(token) else to_bytes(token)
            for token in tokens
        ]
        self._of_byte = [self._plain.get(to_signs(bytes([byte])), unknown) for byte in range(256)]

    # ---- encoding ------------------------------------------------------------------------------------------------

    def _symbols(self, piece: str) -> list[int]:
        """The ids of a piece's bytes."""
        raw = to_bytes(piece)
        ids = []
        for byte in raw:
            i = self._of_byte[byte]
            if i is None:
                raise ValueError(
                    f"BPETokenizer.encode: {piece!r} has the byte 0x{byte:02x}, which is not in the vocabulary; it was "
                    "trained without an alphabet of all bytes"
                )
            ids.append(i)
        return ids

    def _pieces(self, chunk: str) -> list[tuple[str, int]]:
        return pieces_of(chunk) if self._pipeline is None else [(chunk, 0)]

    def _merged(self, piece: str) -> list[int]:
        """The ids of a piece."""
        if self._whole and (whole := self._plain.get(to_signs(to_bytes(piece)))) is not None:
            return [whole]
        return merge_all(self._symbols(piece), self._rules)

    def _ids(self, chunk: str) -> list[int]:
        return [i for piece, _ in self._pieces(chunk) for i in self._merged(piece)]

    def _array(self, text: str, first: bytes, last: bytes, allow_special: bool) -> Array:
        if self._pipeline is None:
            return super()._array(text, first, last, allow_special)
        raw = [first]
        for added, section, _ in self._pipeline.sections(text, allow_special):
            if added is not None:
                raw.append(_bytes([added.id]))
            else:
                raw += [self._known[piece] for piece, _, _ in self._pipeline.pieces(section)]
        return np.frombuffer(bytearray().join([*raw, last]), np.int64)

    def _offsets(self, text: str, allow_special: bool) -> list[Array]:
        if self._pipeline is None:
            return super()._offsets(text, allow_special)
        tokens: list[str] = []
        found: list[tuple[int, int]] = []
        for added, section, spans in self._pipeline.sections(text, allow_special, aligned=True):
            assert spans is not None
            if added is not None:
                tokens.append(section)
                found.append((spans[0, 0], spans[-1, 1]))
                continue
            for piece, begin, put in self._pipeline.pieces(section):
                for token, start, end in self._cut(piece):
                    tokens.append(token)
                    found.append((spans[begin + max(start - put, 0), 0], spans[begin + max(end - 1 - put, 0), 1]))
        return [self._pipeline.trimmed(tokens, np.array(found, np.int64).reshape(-1, 2))]

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, as strings."""
        if self._pipeline is None:
            return super().tokenize(text)
        self._check_text(text, "tokenize")
        found = []
        for added, section, _ in self._pipeline.sections(text, False):
            pieces = [] if added is not None else self._pipeline.pieces(section)
            found += [added.content] if added is not None else [t for p, _, _ in pieces for t, _, _ in self._cut(p)]
        return found

    def _cut(self, chunk: str) -> list[Token]:
        tokens = self.vocabulary.tokens
        found = []
        for piece, start in self._pieces(chunk):
            owner = [start + k for k, character in enumerate(piece) for _ in to_bytes(character)]  # of each byte
            place = 0
            for i in self._merged(piece):
                end = place + len(self._bytes[i])
                found.append((tokens[i], owner[place], owner[end - 1] + 1))
                place = end
        return found

    def _join(self, tokens: list[str]) -> str:
        return to_text(b"".join(self._bytes[self._plain[token]] for token in tokens))

    def explain(self, text: str) -> str:
        """A printable explanation of how a text becomes tokens, merge by merge.

        >>> corpus = ["low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3]
        >>> t = BPETokenizer(vocab_size=268, pad=None, bos=None, eos=None).fit(corpus)
        >>> print(t.explain("a lowest"))
        'a'
          a
        ' lowest'
          ␣ l o w e s t
          ␣ l o w es t     e + s, merge 0
          ␣ l o w est      es + t, merge 1
          ␣ lo w est       l + o, merge 2
          ␣ low est        lo + w, merge 3
          ␣low est         ␣ + low, merge 6
        tokens: a ␣low est
        ids: 64 262 257

        Spaces are shown as ␣, bytes of incomplete characters as \\x...
        """
        self._check_text(text, "explain")
        _ = self.vocabulary
        lines = []
        ids: list[int] = []
        for piece in self._explained(text):
            if isinstance(piece, int):
                lines += [repr(self.vocabulary.tokens[piece]), "  added"]
                ids.append(piece)
            elif self._whole and len(now := self._merged(piece)) == 1:
                lines += [repr(piece), f"  {self._shown(now)}"]
                ids += now
            else:
                now = self._symbols(piece)
                first = self._shown(now)
                lines += [repr(piece), f"  {first}"]
                for after, place in merge_steps(now, self._rules):
                    pair = now[place], now[place + 1]
                    rule = f"{self._shown(pair, ' + ')}, merge {self._rules[pair][0]}"
                    lines.append(f"  {self._shown(after):{len(first)}}    {rule}")
                    now = after
                ids += now
        return "\n".join([*lines, f"tokens: {self._shown(ids)}", f"ids: {' '.join(map(str, ids))}"])

    def _explained(self, text: str) -> Iterator[str | int]:
        """The pieces of a text, and the ids of added tokens."""
        if self._pipeline is None:
            for match in self.pattern.finditer(self.normalizer(text)):
                yield from (piece for piece, _ in pieces_of(match.group()))
            return
        for added, section, _ in self._pipeline.sections(text, False):
            if added is not None:
                yield added.id
            else:
                yield from (piece for piece, _, _ in self._pipeline.pieces(section))

    def _shown(self, ids: Sequence[int], between: str = " ") -> str:
        texts = (self._bytes[i].decode("utf-8", "backslashreplace") for i in ids)
        return between.join(
            "".join("␣" if c == " " else c if c.isprintable() else repr(c)[1:-1] for c in text) for text in texts
        )

    # ---- files ---------------------------------------------------------------------------------------------------

    def save(self, path: StrPath) -> None:
        """Write a `tokenizer.json`, atomically."""
        tokens = self.vocabulary.tokens
        merges = [(tokens[a], tokens[b]) for a, b in self._merges]
        tokenizer_json.write(path, self.vocabulary, merges, self.normalizer, self._file)

    @classmethod
    def load(
        cls, path: StrPath, *, pad: str | None = None, unk: str | None = None, bos: str | None = None,
        eos: str | None = None,
    ) -> Self:  # fmt: skip
        """Read a `tokenizer.json`, of this class or of Hugging Face's library.

        pad, unk, bos, eos  the file's special tokens with these roles. Files of this class contain them; in others, the
                            tokens that the post-processor puts around a text are `bos` and `eos`

        Raises OSError if there is no such file, ValueError, with file and field, if it is invalid or uses an
        unsupported feature; ImportError if it has its own pattern and the package `regex` is missing.
        """
        return cls._from_document(read_json(path), pad=pad, unk=unk, bos=bos, eos=eos)

    @classmethod
    def _is_own(cls, document: Document) -> bool:
        return "model" in document.content

    @classmethod
    def _from_document(cls, document: Document, **roles: Any) -> Self:
        vocabulary, merges, normalizer, made_so = tokenizer_json.read(document, roles)
        made = cls(pad=None, bos=None, eos=None)
        made.vocab_size, made.normalizer, made._vocabulary = len(vocabulary), normalizer, vocabulary
        made._pipeline, made._whole, made._file = made_so
        made._merges = {(vocabulary[a], vocabulary[b]): vocabulary[a + b] for a, b in merges}
        made._ready()
        return made
