"""What decoding finds: hypotheses, and all of them for a batch of sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nn.files import StrPath

from ..tokenizers import Tokenizer
from ..vocabulary import Vocabulary
from .pictures import Tree, attention_map

Array = Any


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that a model might write.

    ids        (T,) its tokens, without those that begin and end it
    log_p      log-probability of these tokens, and of the end if it is finished, given the source
    score      what it was ranked by: log_p after length and coverage penalties
    log_ps     (T,), or (T + 1,) if it is finished: the parts of log_p
    finished   whether it ended by itself, and not because of `max_length`
    attention  (T, S) or (T + 1, S) the weights of the source's positions, or None
    """

    ids: Array
    log_p: float
    score: float
    log_ps: Array
    finished: bool
    attention: Array | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Decoded(Sequence[list[Hypothesis]]):
    """The hypotheses for N sources: `decoded[n]` has those of source n, the best one first."""

    hypotheses: list[list[Hypothesis]]
    trees: list[Tree] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.hypotheses)

    def __getitem__(self, n: Any) -> Any:
        return self.hypotheses[n]

    def __iter__(self) -> Iterator[list[Hypothesis]]:
        return iter(self.hypotheses)

    @property
    def best(self) -> list[Hypothesis]:
        """The best hypothesis for each source."""
        return [found[0] for found in self.hypotheses]

    @property
    def ids(self) -> list[Array]:
        """The tokens of the best hypothesis for each source, (T_n,) each."""
        return [one.ids for one in self.best]

    def texts(self, by: Tokenizer | Vocabulary) -> list[str]:
        """The best hypotheses as texts, by the tokenizer or vocabulary of what is written. Special tokens are left out
        but for unknown ones; a vocabulary's tokens are joined by blanks."""
        if isinstance(by, Vocabulary):
            hidden = {token for token in by.specials if token != by.unk}
            return [" ".join(token for token in by.decode(ids) if token not in hidden) for ids in self.ids]
        return [by.decode(ids, skip_special=True) for ids in self.ids]

    def tree(self, n: int = 0, tokens: Vocabulary | Tokenizer | Sequence[str] | None = None) -> Tree:
        """The beam in which the hypotheses for source n were found, as a picture.

        tokens  what the ids are called: a vocabulary, a tokenizer, or a list of names; numbers without

        Raises ValueError if there was no beam.
        """
        if self.trees is None:
            raise ValueError("Decoded.tree: only a beam search has a tree")
        names = tokens.vocabulary if isinstance(tokens, Tokenizer) else tokens
        return self.trees[n].named(None if names is None else list(names))

    def attention_map(
        self, n: int = 0, source: Sequence[str] | None = None, target: Sequence[str] | None = None,
        path: StrPath | None = None,
    ) -> Any:  # fmt: skip
        """Where the decoder looked while it wrote the best hypothesis for source n: a matplotlib Figure.

        source  the names of the source's tokens: only so many of its positions are shown
        target  the names of what was written, the end included
        path    a file to write the picture to: .png, .svg, .pdf

        Raises ValueError if the model gave no attention, or names do not fit; ImportError without matplotlib.
        """
        weights = self.hypotheses[n][0].attention
        if weights is None:
            raise ValueError("Decoded.attention_map: the model gave no attention")
        return attention_map(np.asarray(weights), source, target, path)
