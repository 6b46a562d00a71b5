"""The page of a report in a browser: on a desk and on a phone, in light and in dark."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn

SECONDS = 60  # for what takes milliseconds
LOOK = """(() => {
    function light(color) {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3)
            .map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }
    const page = document.querySelector(".minigrad-report");
    const ground = light(getComputedStyle(page).backgroundColor);
    const contrast = (color) => {
        const [low, high] = [light(color), ground].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const words = [...page.querySelectorAll("h1, h2, p, li, span")].map((e) => getComputedStyle(e).color);
    const inside = [...page.querySelectorAll("svg text")].map((e) => getComputedStyle(e).fill);
    return JSON.stringify({
        ground, faintest: Math.min(...[...words, ...inside].map(contrast)),
        lines: Math.min(...[...page.querySelectorAll("polyline")].map((e) => contrast(getComputedStyle(e).stroke))),
        wide: document.documentElement.scrollWidth - innerWidth,
        cut: [...page.querySelectorAll("svg")].flatMap((svg) => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll("text")].filter((e) => {
                const box = e.getBoundingClientRect();
                return box.right > frame.right + 1 || box.left < frame.left - 1 || box.bottom > frame.bottom + 1;
            }).map((e) => e.textContent);
        }),
        letters: Math.min(...[...page.querySelectorAll("svg text")].map((e) => e.getBoundingClientRect().height)),
    });
})()"""


class Classifier(nn.Module):
    def __init__(self, layer: Any, size: int) -> None:
        super().__init__()
        self.recurrent, self.out = layer, nn.Linear(size, 3)

    def forward(self, xs: Any) -> Any:
        return self.out(self.recurrent(xs)[0][10])


MODELS = {
    "two layers": lambda: Classifier(nn.LSTM(4, 12, num_layers=2), 12),
    "two directions": lambda: Classifier(nn.GRU(4, 6, num_layers=2, bidirectional=True), 12),
    "no gates": lambda: Classifier(nn.RNN(4, 12, nonlinearity="relu"), 12),
}


@pytest.fixture(params=MODELS)
def page(request: Any, tmp_path: Path) -> Path:
    mg.manual_seed(0)
    model = MODELS[request.param]()
    batch = mg.randn(40, 7, 4), np.arange(7) % 3
    found = nn.diagnose.report(model, batch, nn.CrossEntropyLoss(), optimizer=nn.Adam(model.parameters()))
    return found.save(tmp_path / "report.html")


def look(chromium: Any, page: Path, width: int, theme: str) -> dict[str, Any]:
    ask = chromium.ask
    target = ask("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
    try:
        tab = ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        ask("Page.enable", tab)
        ask("Emulation.setDeviceMetricsOverride", tab, width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        ask("Emulation.setEmulatedMedia", tab, features=[{"name": "prefers-color-scheme", "value": theme}])
        ask("Page.navigate", tab, url=page.as_uri())
        end = time.monotonic() + SECONDS
        ready = f"document.readyState === 'complete' && location.href === {json.dumps(page.as_uri())}"
        while not ask("Runtime.evaluate", tab, expression=ready)["result"].get("value"):
            assert time.monotonic() < end, "the page did not load"
            time.sleep(0.01)
        found: dict[str, Any] = json.loads(ask("Runtime.evaluate", tab, expression=LOOK)["result"]["value"])
        return found
    finally:
        ask("Target.closeTarget", targetId=target)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 390])
def test_the_page_can_be_read(width: int, theme: str, page: Path, chromium: Any) -> None:
    seen = look(chromium, page, width, theme)
    assert (seen["ground"] > 0.5) == (theme == "light")
    assert seen["wide"] <= 0  # nothing scrolls sideways
    assert seen["cut"] == []
    assert seen["faintest"] >= 4.5  # WCAG, level AA
    assert seen["lines"] >= 2.2
    assert seen["letters"] >= 9
