"""A film in a browser: at each moment it shows what has been computed, and which gradients have arrived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.pictures.film import FADE, film

# Stops all motion at a time, in milliseconds; the opacity of each group of things, in the order of the file.
OPACITIES = """
(time => {
  for (const motion of document.getAnimations()) { motion.pause(); motion.currentTime = time; }
  const groups = [...document.querySelectorAll('g[class]')];
  return JSON.stringify(groups.map(one => [one.textContent.trim(), Number(getComputedStyle(one).opacity)]));
})
"""


def network() -> mg.Graph:
    W, b = mg.randn(2, 2, requires_grad=True), mg.zeros(2, requires_grad=True)

    def f(xs: Any) -> Any:
        s = mg.zeros((1, 2))
        for t, x in mg.steps(xs):
            s = mg.name(np.tanh(x + s @ W + b), f"s{t}")
        return mg.name(s.sum(), "loss")

    return mg.graph(f, mg.randn(3, 1, 2), params={"W": W, "b": b})


def shown(chromium: Any, path: Path, times: list[float], reduced: bool = False) -> list[list[tuple[str, float]]]:
    ask = chromium.ask
    target = ask("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
    try:
        tab = ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        ask("Page.enable", tab)
        value = "reduce" if reduced else "no-preference"
        ask("Emulation.setEmulatedMedia", tab, features=[{"name": "prefers-reduced-motion", "value": value}])
        ask("Page.navigate", tab, url=path.as_uri())
        ready = "document.readyState === 'complete' && document.documentElement.nodeName === 'svg'"
        while not ask("Runtime.evaluate", tab, expression=ready)["result"].get("value"):
            pass
        return [
            [tuple(one) for one in json.loads(
                ask("Runtime.evaluate", tab, expression=f"{OPACITIES}({1000 * t})")["result"]["value"])]
            for t in times
        ]  # fmt: skip
    finally:
        ask("Target.closeTarget", targetId=target)


def test_the_browser_shows_each_moment(chromium: Any, tmp_path: Path) -> None:
    graph = network()
    found = film(graph, None, 0.7)
    starts = np.cumsum([0, *found.seconds[:-1]])
    frames = shown(chromium, graph.animate(tmp_path / "g.svg"), [float(t) + 1.5 * FADE for t in starts])
    assert len(frames) == len(found.moments)
    labels = {node.label: node.id for node in graph.nodes if node.label.startswith(("s", "loss"))}
    for moment, frame in zip(found.moments, frames, strict=True):
        for label, id in labels.items():
            value, gradient = [opacity for text, opacity in frame if label in text]
            assert (value == 1) == (id in moment.computed), (label, moment.phase)
            assert gradient == pytest.approx(float(id in moment.arrived)), (label, moment.phase)
        said = {text for text, opacity in frame if opacity == 1 and ":" in text}
        assert said == {f"{moment.phase}: {'values' if moment.phase == 'forward' else 'gradients'}"} - {": gradients"}


def test_readers_who_want_less_motion_see_its_end(chromium: Any, tmp_path: Path) -> None:
    graph = network()
    still, end = (
        shown(chromium, graph.animate(tmp_path / "g.svg"), [at], reduced)[0]
        for at, reduced in ((0.0, True), (sum(film(graph, None, 0.7).seconds) - 2 * FADE, False))
    )
    assert still == end
