"""Pictures of decoding: the tree of a beam has the right tokens, and any token can be drawn."""

from __future__ import annotations

import builtins
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_by_tables import Tables

import nlp
from minigrad.pictures import drawing
from nlp import beam_search, greedy, sample
from nlp.decoding.pictures import BeamNode, BeamTree, visible

HARD = ["</s>", '"', "\\N", "<b>&amp;</b>", "a\nb", " ", "", "東京", "שלום", "مرحبا", "👩‍👩‍👧", "\x00\x1b", "\ud800",
        "x" * 99, "{|}", "Ġthe", "café"]  # fmt: skip


def written_in(node: BeamNode, tree: BeamTree) -> list[str]:
    """The tokens from the first to this one."""
    nodes = {one.id: one for one in tree.nodes}
    found = []
    while node.parent:
        found.append(node.token)
        node = nodes[node.parent]
    return found[::-1]


@pytest.mark.parametrize("options", [{}, {"length_penalty": 0.8}, {"max_length": 3, "min_length": 2}])
def test_the_tree_has_every_hypothesis_that_was_in_the_beam(options: Any) -> None:
    model = Tables(8, N=5)
    found = beam_search(model, model.start(), **{"beam": 4, "n_best": 3, "max_length": 7} | options)
    for n in range(5):
        tree = found.tree(n)
        start, *nodes = tree.nodes
        assert (start.kind, start.parent, start.kept) == ("start", "", True)
        assert len({node.id for node in tree.nodes}) == len(tree.nodes)
        ways = [written_in(node, tree) for node in nodes]
        assert len(set(map(tuple, ways))) == len(ways)
        per_step = np.bincount([len(way) for way, node in zip(ways, nodes, strict=True) if node.kind != "finished"])
        assert per_step.max() == 4
        for node, way in zip(nodes, ways, strict=True):
            ids = [0 if token == "end" else int(token) for token in way]
            assert node.log_p == pytest.approx(model.after(n, ids[:-1])[0][ids[-1]])
            if node.kind == "open":
                assert node.value == pytest.approx(model.log_probability(n, ids))
        returned = {node.rank: node for node in nodes if node.rank}
        assert sorted(returned) == [1, 2, 3]
        for rank, one in enumerate(found[n], 1):
            node = returned[rank]
            assert written_in(node, tree) == [*map(str, one.ids), *["end"] * one.finished]
            assert (node.kind, node.value) == ("finished" if one.finished else "cut", pytest.approx(one.score))
        kept = {node.id for node in nodes if node.kept}
        assert kept == {
            node.id
            for node, way in zip(nodes, ways, strict=True)
            if any(written_in(r, tree)[: len(way)] == way for r in returned.values())
        }
        useful = [way for node, way in zip(nodes, ways, strict=True) if node.kind != "open"]
        for node, way in zip(nodes, ways, strict=True):
            assert node.given_up == (not any(other[: len(way)] == way for other in useful))


def test_finished_ones_that_are_not_returned_are_drawn_too() -> None:
    model = Tables(8, N=20)
    found = beam_search(model, model.start(), beam=5, n_best=1, max_length=7, length_penalty=0.6)
    assert any(node.kind == "finished" and not node.rank for n in range(20) for node in found.tree(n).nodes)


def test_the_text_in_the_language_of_graphviz() -> None:
    model = Tables(2, N=1, V=3)
    tree = beam_search(model, model.start(), beam=2, max_length=3).tree(0, ["</s>", "a", "b"])
    dot = tree.dot()
    assert dot == beam_search(model, model.start(), beam=2, max_length=3).tree(0, ["</s>", "a", "b"]).dot()
    assert len(re.findall(r"^  \w+ -> \w+ \[", dot, re.M)) == len(tree.nodes) - 1
    assert len(re.findall("penwidth=2.2", dot)) == sum(node.kept for node in tree.nodes) - 1
    assert dot.count("#1   −") == 1
    assert repr(tree) == f"<BeamTree of {len(tree.nodes) - 1} hypotheses, 1 returned>"


def test_what_the_ids_are_called() -> None:
    tokenizer = nlp.WordTokenizer(pad=None, bos=None).fit(["so it is"])
    v = tokenizer.vocabulary
    model = Tables(2, N=1, V=len(v), eos_id=v.eos_id)
    found = beam_search(model, model.start(), beam=2, max_length=4)
    trees = [found.tree(0, names) for names in (v, tokenizer, list(v))]
    assert trees[0] == trees[1] == trees[2]
    assert {node.token for node in trees[0].nodes[1:]} <= set(v)
    assert {node.token for node in found.tree().nodes[1:]} <= {*map(str, range(len(v))), "end"}
    with pytest.raises(ValueError, match="there are 1 names, but none for the id"):
        found.tree(0, ["x"])


def test_only_a_beam_has_a_tree() -> None:
    model = Tables(2)
    for found in (greedy(model, model.start(), max_length=2), sample(model, model.start(), max_length=2)):
        with pytest.raises(ValueError, match=r"Decoded.tree: there is none; only beam_search makes one"):
            found.tree()
    found = beam_search(model, model.start(), max_length=2)
    assert found.tree(-1) == found.tree(2)
    with pytest.raises(IndexError):
        found.tree(3)


@pytest.fixture
def renderer() -> Callable[[str, str], bytes]:
    pytest.importorskip("pygraphviz", reason="needs pygraphviz, of the extra `viz`")
    return drawing.draw


def test_any_token_can_be_drawn(tmp_path: Path, renderer: Any) -> None:
    model = Tables(3, N=1, V=len(HARD))
    found = beam_search(model, model.start(), beam=len(HARD), n_best=5, max_length=3)
    tree = found.tree(0, HARD)
    path = tree.render(tmp_path / "tree.svg")
    drawn = {"".join(e.itertext()) for e in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")}
    assert {visible(token).replace("\ud800", "\ufffd") for token in HARD} <= {
        text.replace("\xa0", " ") for text in drawn
    }
    assert tree.render(tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")
    assert tree.render(tmp_path / "tree.dot").read_text("utf-8") == tree.dot()
    assert set(tree._repr_mimebundle_()) == {"text/plain", "image/svg+xml"}
    with pytest.raises(ValueError, match=r"cannot draw 'tree.gif'"):
        tree.render(tmp_path / "tree.gif")


def test_a_tree_that_is_too_large_is_refused(tmp_path: Path) -> None:
    nodes = tuple(BeamNode(f"n{k}", "n0" if k else "", "x", -1.0, -1.0, "open") for k in range(drawing.MOST + 1))
    tree = BeamTree(nodes)
    with pytest.raises(
        ValueError, match="3,001 hypotheses are more than can be laid out in reason; search with a small"
    ):
        tree.render(tmp_path / "tree.svg")
    assert set(tree._repr_mimebundle_()) == {"text/plain"}
    tree.render(tmp_path / "tree.dot")


def test_what_is_visible() -> None:
    assert [visible(t) for t in (" the", "\n", "\t", "", "a\x00", "é")] == ["␣the", "↵", "⇥", "∅", "aU+0000", "é"]
    assert visible("x" * 99) == "x" * 23 + "…"


# ---- attention ---------------------------------------------------------------------------------------------------


def test_the_map_of_attention(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra `viz`")
    names = ["</s>", "so", "it", "is", "東京"]
    model = Tables(5, N=3)
    found = beam_search(model, model.start(), max_length=5, min_length=3)
    for n, one in enumerate(found.best):
        S = int(model.mask[n].sum())
        figure = found.attention_map(n, source=["a", "long\nword", "שלום", "東京"][:S], target=nlp.Vocabulary.of(names))
        ax, bar = figure.axes
        (image,) = ax.images
        np.testing.assert_array_equal(image.get_array(), one.attention[:, :S])
        assert image.get_clim() == (0, 1)
        assert [t.get_text() for t in ax.get_yticklabels()] == [names[i] for i in [*one.ids, *[0] * one.finished]]
        assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "long↵word", "שלום", "東京"][:S]
        assert bar.get_ylabel() == "weight"
    plain = greedy(model, model.start(), max_length=2, min_length=2).attention_map()
    assert [t.get_text() for t in plain.axes[0].get_xticklabels()] == ["0", "1", "2", "3"]
    assert [t.get_text() for t in plain.axes[0].get_yticklabels()] == ["0", "1"]
    for ending in ("png", "svg", "pdf"):
        path = tmp_path / f"map.{ending}"
        found.attention_map(0, source=["東", "ש"][: int(model.mask[0].sum())], path=path)
        assert path.stat().st_size > 1000


def test_maps_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Tables(5)
    found = greedy(model, model.start(), max_length=2, min_length=2)
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(ImportError, match=r"Decoded.attention_map needs matplotlib: pip install 'minigrad\[viz\]'"):
            found.attention_map()
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra `viz`")
    with pytest.raises(ValueError, match="5 names of the source for 4 positions"):
        found.attention_map(source=list("abcde"))
    with pytest.raises(ValueError, match="3 names of the target for 2 positions"):
        found.attention_map(target=list("abc"))

    class Blind(Tables):
        def step(self, ids: Any, state: Any, memory: Any) -> nlp.Step:
            return super().step(ids, state, memory)._replace(attention=None)

    model = Blind(5)
    with pytest.raises(ValueError, match=r"Decoded.attention_map: the model's step gave no attention"):
        greedy(model, model.start(), max_length=2).attention_map()
    assert greedy(model, model.start(), max_length=2).best[0].attention is None
    assert math.isfinite(beam_search(model, model.start(), max_length=2).best[0].log_p)
