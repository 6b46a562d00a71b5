"""Results in notebooks: no repr is longer than a screen, and tables and pictures need no set-up."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
import nlp
import nn
from nlp.decoding.pictures import BeamNode, BeamTree
from nlp.vectors.evaluation import AnalogyScores, PairScores
from nn.training.progress import Progress

LINES, LETTERS = 24, 2000  # of a screen
T = 16
XS = np.random.default_rng(0).standard_normal((T, 2, 3)).astype(np.float32)


def layer() -> Any:
    return nn.Recurrent(nn.LSTMCell(3, 4))


def profile() -> Any:
    with mg.profile() as found:
        for _ in range(10):
            nn.Recurrent(nn.RNNCell(3, 4), rolled=False)(mg.tensor(XS))
    return found


def intervention() -> Any:
    with mg.intervene({"f": 0.0}) as found:
        layer()(mg.tensor(XS))
    return found


def graph() -> Any:
    return mg.graph(lambda xs: (layer()(xs)[0] ** 2).sum(), mg.tensor(XS))


def states() -> tuple[Any, Any]:
    output, _ = layer()(mg.tensor(XS))
    return (output[-1] ** 2).sum(), output


def terms(by: str) -> Any:
    one = layer()
    return nn.diagnose.bptt_terms((one(mg.tensor(XS))[0] ** 2).sum(), one.cell.weight_hh, by=by)


def hypothesis(n: int = 3000) -> Any:
    return nlp.Hypothesis(np.arange(n), -1.0, -1.0, True, np.zeros(n), None)


DIAGNOSES: dict[str, Callable[[], Any]] = {
    "GradientFlow": lambda: nn.diagnose.gradient_flow(*states()),
    "GradientHorizon": lambda: nn.diagnose.gradient_horizon(*states()),
    "StateJacobians": lambda: nn.diagnose.state_jacobians(layer(), XS),
    "TruncationReport": lambda: nn.diagnose.truncation_report(layer(), XS, lambda y: (y**2).sum()),
    "GateStatistics": lambda: nn.diagnose.gate_statistics(nn.GRU(3, 4), XS),
    "Terms": lambda: terms("use"),
    "TermsByLoss": lambda: terms("loss"),
}
RESULTS: dict[str, Callable[[], Any]] = {
    **DIAGNOSES,
    "Profile": profile,
    "Intervention": intervention,
    "Graph": graph,
    "GraphNode": lambda: max(graph().nodes, key=lambda node: len(repr(node))),
    "Inner": lambda: next(node.inner for node in graph().nodes if node.inner is not None),
    "Section": lambda: nn.diagnose.report(nn.RNN(3, 4), mg.tensor(XS), lambda model, x: model(x)[0].sum()).sections[0],
    "Sequential": lambda: nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(100)]),
    "Event": lambda: profile().events[0],
    "RowSparse": lambda: mg.RowSparse(np.arange(999), np.ones((999, 3)), (1000, 3)),
    "LoadResult": lambda: type(nn.Linear(1, 1).load_state_dict({}, strict=False))(
        [f"layers.{k}.weight" for k in range(500)], []
    ),
    "Progress": lambda: Progress(best_weights={f"w{k}": np.zeros((99, 9)) for k in range(50)}, random=[0] * 9999),
    "Gate": lambda: nn.diagnose.gate_statistics(layer(), XS)["f"],
    "Hypothesis": hypothesis,
    "Decoded": lambda: nlp.Decoded(tuple([hypothesis()] for _ in range(100)), None, None),
    "BeamTree": lambda: BeamTree(tuple(BeamNode(f"n{k}", "", "a", 0.0, 0.0, "open") for k in range(900))),
    "SpanScores": lambda: nlp.SpanScores(1, 1, 1, 99, 1.0, {f"K{k}": nlp.SpanScores(1, 1, 1, 9) for k in range(200)}),
    "AnalogyScores": lambda: AnalogyScores({f"section {k}": (1, 2) for k in range(200)}, 3),
    "PairScores": lambda: PairScores(0.5, 0.5, 10, 1),
}  # fmt: skip


@functools.cache
def made(name: str) -> Any:
    return RESULTS[name]()


@pytest.mark.parametrize("name", RESULTS)
def test_no_repr_is_longer_than_a_screen(name: str) -> None:
    result = made(name)
    assert type(result).__name__ == name
    text = repr(result)
    assert len(text) <= LETTERS
    assert len(text.splitlines()) <= LINES
    if hasattr(result, "_repr_mimebundle_"):
        assert result._repr_mimebundle_().get("text/plain", text) == text


@pytest.mark.parametrize("name", ["GradientFlow", "StateJacobians", "GateStatistics"])  # one way leads to all
def test_diagnoses_have_a_picture_in_any_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = made(name)
    html = result._repr_html_()
    assert html.startswith("<p>")
    assert html.count("<svg") == 1
    assert html.count("<tr>") <= LINES
    ElementTree.fromstring(f"<div>{html}</div>")  # what notebooks are given is well-formed
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "<svg" not in result._repr_html_()
    assert "<table" in result._repr_html_()


@pytest.mark.parametrize("name", ["Profile", "Intervention"])
def test_others_have_a_table(name: str) -> None:
    html = made(name)._repr_html_()
    assert html.count("<tr>") <= LINES + 8
    assert html.count("<td") > 6
    ElementTree.fromstring(html)


def test_tables_are_escaped() -> None:
    from minigrad.tables import html_table

    assert "&lt;b&gt;" in html_table(["<b>"], [["x"]], "a & b")
    assert "a &amp; b" in html_table(["x"], [], "a & b")
