"""The site as its readers see it: every page in a browser, on a desk and on a phone, in light and in dark."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

import pytest

SECONDS = 60  # for what takes milliseconds
ROOT = Path(__file__).parents[2]
LOOK = """(() => {
    function light(color) {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3)
            .map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }
    function ground(node) {
        for (; node; node = node.parentElement) {
            const color = getComputedStyle(node).backgroundColor;
            if (!/, 0\\)$/.test(color)) return color;
        }
        return "rgb(255, 255, 255)";
    }
    function faint(node) {  // less than what WCAG asks for (level AA)
        const [low, high] = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05) < 4.5;
    }
    const seen = (node) => node.offsetParent !== null;
    const all = (selector) => [...document.querySelectorAll(selector)];
    const may = "pre, .table-wrapper, div.formula, p:has(> img.wide), .sidebar-scroll, .toc-scroll, .highlight";
    const letters = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    return JSON.stringify({
        links: all("a[href]").map((a) => a.getAttribute("href")),
        anchors: all("[id]").map((node) => node.id),
        scrolls: [document.documentElement, ...all("body *")]
            .filter((node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth > 1)
            .filter((node) => ["auto", "scroll"].includes(getComputedStyle(node).overflowX) && !node.matches(may))
            .map((node) => node.className || node.tagName),
        width: document.documentElement.scrollWidth,
        small: all("article *").filter((node) => letters(node) && seen(node) && !node.closest("math, sup, sub"))
            .filter((node) => parseFloat(getComputedStyle(node).fontSize) < 12).map((node) => node.outerHTML),
        text: all("article p").filter(seen).map((node) => parseFloat(getComputedStyle(node).fontSize)),
        broken: all("img").filter((img) => seen(img) && !(img.complete && img.naturalWidth)).map((img) => img.src),
        faint: all("article p, article li, article td, article code, article a").filter(seen).filter(faint)
            .map((node) => node.outerHTML.slice(0, 200)),
        formulas: all("math").filter((node) => node.getBoundingClientRect().height < 5).length,
        errors: all("merror, .problematic, .system-message").length,
    });
})()"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site's address: built anew, and served."""
    folder = tmp_path_factory.mktemp("site") / "site"
    build = [sys.executable, str(ROOT / "docs" / "make_site.py"), str(folder)]
    done = subprocess.run(build, capture_output=True, text=True, check=False, cwd=folder.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class Reader:
    """A tab. What a page asks for from elsewhere, and an error in it, is an error here."""

    def __init__(self, chromium: Any, home: str) -> None:
        self.chromium, self.home = chromium, home
        self.target = chromium.ask("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        self.tab = chromium.ask("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Any:
        return self.chromium.ask(method, self.tab, **parameters)

    def evaluate(self, script: str) -> Any:
        done = self.ask("Runtime.evaluate", expression=script, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def screen(self, width: int, theme: str) -> None:
        phone = width < 500
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=phone)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def open(self, address: str) -> None:
        self.wait("document.fonts.status === 'loaded'")
        self.chromium.events.clear()
        self.ask("Page.navigate", url=address)
        here = f"document.readyState === 'complete' && location.href.startsWith({json.dumps(address)})"
        self.wait(f"{here} && document.fonts.status === 'loaded'")
        for event in self.chromium.events:
            method, told = event.get("method"), event.get("params", {})
            assert method != "Runtime.exceptionThrown", (address, told["exceptionDetails"])
            if method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                pytest.fail(f"{address}: {told['entry']['text']} {told['entry'].get('url')}")
            if method == "Network.requestWillBeSent":
                url = told["request"]["url"]
                assert url.startswith((self.home, "data:", "blob:")), f"{address} asked for {url}"

    def wait(self, condition: str) -> None:
        end = time.monotonic() + SECONDS
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never: {condition}"
            time.sleep(0.01)


@pytest.fixture
def reader(chromium: Any, site: str) -> Iterator[Reader]:
    tab = Reader(chromium, site)
    try:
        yield tab
    finally:
        chromium.ask("Target.closeTarget", targetId=tab.target)


def pages(reader: Reader) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """All pages that can be reached from the first one, on a wide light screen and on a narrow dark one."""
    waiting, known = [reader.home + "index.html"], {reader.home + "index.html"}
    while waiting:
        address = waiting.pop()
        reader.screen(1280, "light")
        reader.open(address)
        desk = json.loads(reader.evaluate(LOOK))
        reader.screen(390, "dark")
        phone = json.loads(reader.evaluate(LOOK))
        desk["links"] = [urljoin(address, link) for link in desk["links"]]
        yield address, desk, phone
        for link in desk["links"]:
            page = urldefrag(link).url
            if page.startswith(reader.home) and page.endswith(".html") and page not in known:
                known.add(page)
                waiting.append(page)


def faults_of(found: dict[str, Any], width: int) -> dict[str, Any]:
    """The faults that a reader would object to, by name."""
    faults = {name: found[name][:3] for name in ("broken", "faint", "scrolls", "small") if found[name]}
    faults |= {name: found[name] for name in ("formulas", "errors") if found[name]}
    if found["width"] > width:
        faults["width"] = found["width"]
    if min(found["text"], default=16) < 14:
        faults["text"] = min(found["text"])
    return faults


@pytest.mark.timeout(600)
def test_every_page(reader: Reader) -> None:
    """No dead link or anchor, no error, no request that leaves the site; legible by day, at night and on a phone.

    Nothing scrolls sideways but code, tables, formulas and wide figures by themselves.
    """
    seen, faults = {}, {}
    for address, desk, phone in pages(reader):
        seen[address] = desk
        if "/viewers/" not in address:
            faults[address] = {"desk": faults_of(desk, 1280), "phone": faults_of(phone, 390)}
    assert {address: found for address, found in faults.items() if any(found.values())} == {}
    names = {address.removeprefix(reader.home) for address in seen}
    assert {"course/1-vanilla-rnn.html", "cells.html", "RESULTS.html", "reference/nn.html", "CHANGELOG.html"} <= names
    assert len([name for name in names if name.startswith("viewers/")]) >= 10
    check_links(reader.home, seen)


def check_links(home: str, seen: dict[str, Any]) -> None:
    anchors = {address: {"", *found["anchors"]} for address, found in seen.items()}
    files = {""}  # a figure has no anchors
    dead = [
        f"{address}: {link}"
        for address, found in seen.items()
        for link in found["links"]
        if link.startswith(("file:", home)) and urldefrag(link).fragment not in anchors.get(urldefrag(link).url, files)
    ]
    assert dead == []
    for file in {link for found in seen.values() for link in found["links"]} - {*seen}:
        if file.startswith(home) and not file.partition("#")[0].endswith(".html"):
            urllib.request.urlopen(file, timeout=SECONDS).close()  # raises where there is none


def test_search_finds_a_class_and_a_page(reader: Reader) -> None:
    reader.screen(1280, "light")
    for words, page in (
        ("LSTMCell", "reference/nn/cells.html"),
        ("vanishing", "course/3-vanishing-and-exploding.html"),
    ):
        reader.open(f"{reader.home}search.html?q={words}")
        reader.wait(f"[...document.querySelectorAll('.search a')].some((a) => a.href.includes({json.dumps(page)}))")


def test_the_reader_chooses_the_theme(reader: Reader) -> None:
    """The figures follow the page's switch, not the system."""
    reader.screen(1280, "light")
    reader.open(reader.home + "gallery.html")
    shown = "[...document.images].filter((img) => img.offsetParent).map((img) => img.matches('.only-dark')).sort()"
    assert set(reader.evaluate(f"JSON.stringify({shown})")[1:-1].split(",")) == {"false"}
    reader.evaluate("document.body.dataset.theme = 'dark'")
    assert set(reader.evaluate(f"JSON.stringify({shown})")[1:-1].split(",")) == {"true"}
