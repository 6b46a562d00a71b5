"""The results of decoding: hypotheses, for a batch of sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.training.files import StrPath

from ..tokenizers import Tokenizer
from ..vocabulary import Vocabulary
from .lattice import Lattice, Leaf
from .pictures import BeamTree, Names, attention_map, name_of, tree_of

Array = Any


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A sequence that a model may write.

    ids        (T,) its tokens, without those that begin and end it
    log_p      log-probability of these tokens, and of the end if it is finished, given the source
    score      the ranking score: log_p after penalties for length and coverage
    finished   True if it ended by itself rather than at `max_length`
    log_ps     (T,), or (T + 1,) if it is finished: the parts of log_p
    attention  (T, S), or (T + 1, S), the weights of the source's positions at each of these steps; or None
    """

    ids: Array
    log_p: float
    score: float
    finished: bool
    log_ps: Array
    attention: Array | None

    def __repr__(self) -> str:
        score = f", score={self.score:.4f}" if self.score != self.log_p else ""
        cut = "" if self.finished else ", not finished"
        size = len(self.ids)
        ids = ", ".join([*map(str, self.ids[: 16 if size > 20 else 20].tolist()), *([f"... {size}"] * (size > 20))])
        return f"Hypothesis([{ids}], log_p={self.log_p:.4f}{score}{cut})"


@dataclass(frozen=True, eq=False, repr=False)
class Decoded:
    """The hypotheses for N sources: `decoded[n]` has those for source n, the best one first. Finished ones come before
    others; both are sorted by score."""

    hypotheses: tuple[list[Hypothesis], ...]
    _eos: int | None
    _beam: tuple[Lattice, Leaf] | None

    def __len__(self) -> int:
        return len(self.hypotheses)

    def __getitem__(self, n: int) -> list[Hypothesis]:
        return self.hypotheses[n]

    def __iter__(self) -> Iterator[list[Hypothesis]]:
        return iter(self.hypotheses)

    def __repr__(self) -> str:
        shown = "".join(f"\n  {one}" for one in self.best[:3]) + ("\n  ..." if len(self) > 3 else "")
        return f"<Decoded for {len(self)} source{'s' * (len(self) != 1)}; the best:{shown}>"

    @property
    def best(self) -> list[Hypothesis]:
        """The best hypothesis for each source."""
        return [found[0] for found in self.hypotheses]

    @property
    def ids(self) -> list[Array]:
        """The tokens of the best hypothesis for each source, (T_n,) each."""
        return [one.ids for one in self.best]

    def texts(self, by: Tokenizer | Vocabulary) -> list[str]:
        """The best hypotheses as texts, decoded by the target's tokenizer or vocabulary. Special tokens other than
        `unk` are omitted; a vocabulary's tokens are joined by blanks."""
        if isinstance(by, Vocabulary):
            hidden = {token for token in by.specials if token != by.unk}
            return [" ".join(token for token in by.decode(ids) if token not in hidden) for ids in self.ids]
        return [by.decode(ids, skip_special=True) for ids in self.ids]

    # ---- pictures ------------------------------------------------------------------------------------------------

    def tree(self, n: int = 0, tokens: Names = None) -> BeamTree:
        """The beam that found the hypotheses for source n, as a picture: `.render("tree.svg")` draws it (also as .png
        and .pdf); `.dot()` is its text in Graphviz's language. Notebooks display it.

        tokens  names of the ids: a vocabulary, a tokenizer, or a list; None: numbers

        Raises ValueError if there was no beam, IndexError if there is no such source.
        """
        if self._beam is None:
            raise ValueError("Decoded.tree: there is none; only beam_search makes one")
        lattice, leaves = self._beam
        n = range(len(self))[n]
        mine = Leaf(*(part[leaves.sources == n] for part in leaves))
        return tree_of(lattice, n, mine, [one.score for one in self[n]], self._eos, tokens)

    def attention_map(
        self, n: int = 0, source: Sequence[str] | None = None, target: Names = None, path: StrPath | None = None
    ) -> Any:
        """The attention of the model while it wrote the best hypothesis for source n: a matplotlib Figure with a row
        for each written token, including the end.

        source  the names of the source's tokens: for a padded source, only as many positions are shown
        target  a vocabulary or tokenizer for the names of the written tokens; or a list of names
        path    a file to write the picture to: .png, .svg, .pdf

        Raises ValueError if the model gave no attention, or if there are more names than positions; ImportError without
        matplotlib.
        """
        one = self[n][0]
        if one.attention is None:
            raise ValueError("Decoded.attention_map: the model's step gave no attention")
        if isinstance(target, Vocabulary | Tokenizer):
            end = [self._eos] if one.finished else []
            target = [name_of(i, target) for i in [*one.ids.tolist(), *end]]
        return attention_map(one.attention, source, target, path)


def decoded(lattice: Lattice, leaves: Leaf, scores: Array, eos: int | None, tree: bool) -> Decoded:
    """The results of a search: the leaves (H,) with their scores, source by source, the best first."""
    found: list[list[Hypothesis]] = [[] for _ in range(lattice.N)]
    ends = (~np.isnan(leaves.ends)).tolist()
    for n, score, end, one in zip(leaves.sources.tolist(), scores.tolist(), ends, lattice.read(leaves), strict=True):
        found[n].append(Hypothesis(one.tokens, float(one.log_ps.sum()), score, end, one.log_ps, one.attention))
    return Decoded(tuple(found), eos, (lattice, leaves) if tree else None)
