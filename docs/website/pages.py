"""The site's pages, laid out for Sphinx: the Markdown of README, docs and CHANGELOG, with links that lead on the site.

A page keeps its place in `docs`; README is the first one. A file of the source that a page links to, and every file of
such a folder, is a page of its own under `source/`.
"""

from __future__ import annotations

import os
import re
from itertools import zip_longest
from pathlib import Path, PurePosixPath

import figures

ROOT = Path(__file__).resolve().parents[2]
FIRST = "README.md"
NAVIGATION = {
    "Learn": "course/README gallery glossary",
    "Networks": "nn cells diagnose interventions distributed onnx",
    "Text": "text word-vectors models decoding",
    "The engine": "vocabulary from-pytorch primitives fusion programs replay engine RELIABILITY",
    "Results": "RESULTS results-log",
    "Reference": "reference/minigrad reference/nn reference/nn-diagnose reference/nn-zoo reference/nn-init "
    "reference/nn-distributed reference/nlp",
    "Project": "decisions/index CHANGELOG CONTRIBUTING",
}
REST = "More"
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s]+)\)|`[^`\n]*`")  # or code, in which nothing is a link
PICTURE = re.compile(r"<picture>(.*?)</picture>", re.DOTALL)
SOURCE = re.compile(r'(?<=\bsrc=")[^"]+|(?<=\bsrcset=")[^"]+')
EXTRA = "extra"  # of the stage: files that come to the site as they are


def lay_out(stage: Path) -> None:
    """Write all pages and their figures into a folder, but for the reference."""
    sources = [ROOT / name for name in (FIRST, "CHANGELOG.md", "CONTRIBUTING.md")]
    sources += [path for path in sorted((ROOT / "docs").rglob("*.md")) if "website" not in path.parts]
    texts = {place(path): mended(path.read_text(encoding="utf-8"), path, stage) for path in sources}
    texts["decisions/index.md"] = _decisions(texts)
    listed = {page for group in NAVIGATION.values() for page in group.split()}
    course = [page for page in texts if page.startswith("course/") and page != "course/README.md"]
    records = [page for page in texts if page.startswith("decisions/") and page != "decisions/index.md"]
    texts["course/README.md"] += _tree("", [page.removeprefix("course/").removesuffix(".md") for page in course])
    texts["decisions/index.md"] += _tree("", [p.removeprefix("decisions/").removesuffix(".md") for p in records[::-1]])
    others = {page.removesuffix(".md") for page in {*texts} - {*course} - {*records}} - listed - {"index"}
    for title, group in (NAVIGATION | {REST: " ".join(sorted(others))}).items():
        there = [p for p in group.split() if f"{p}.md" in texts or p.startswith("reference/")]
        texts["index.md"] += _tree(title, there) if there else ""
    for page, text in texts.items():
        _write(stage / page, text)


def place(path: Path) -> str:
    """The address of a file's page on the site."""
    inside = path.relative_to(ROOT)
    if str(inside) == FIRST:
        return "index.md"
    if inside.parts[0] == "docs" and path.suffix not in (".py", ".json"):
        return PurePosixPath(*inside.parts[1:], *["index.md"][: path.is_dir()]).as_posix()
    if path.suffix == ".md":
        return inside.as_posix()
    return f"source/{inside.as_posix()}" + ("/index.md" if path.is_dir() else ".md")


def mended(text: str, path: Path, stage: Path) -> str:
    """A page's text with its links as the site needs them; the figures that it shows are copied."""

    def mend(found: re.Match[str]) -> str:
        label, target = found.groups(default="")
        name, mark, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not name:
            return found[0]
        there = Path(os.path.normpath(path.parent / name))
        if not there.exists():
            raise FileNotFoundError(f"{path.relative_to(ROOT)}: {target} leads nowhere")
        page = place(there)
        if page.startswith("source/"):
            _write_source(there, stage)
        elif not page.endswith(".md"):
            figures.copy(there, stage / page)
        return f"{label}({os.path.relpath(page, Path(place(path)).parent)}{mark}{anchor})"

    def themed(found: re.Match[str]) -> str:
        return "\n".join(
            f'<picture class="only-{theme}">{shown(found[1], theme)}</picture>' for theme in figures.THEMES
        )

    def shown(html: str, theme: str) -> str:
        """HTML of a picture with the figures of a theme."""

        def mend(found: re.Match[str]) -> str:
            figure = place(Path(os.path.normpath(path.parent / found[0])))
            figures.copy(ROOT / "docs" / figure, stage / EXTRA / figure)
            return os.path.relpath(figures.of_theme(figure, theme), Path(place(path)).parent)

        return SOURCE.sub(mend, html)

    parts = re.split(r"(^```.*?^```[ ]*$)", PICTURE.sub(themed, text), flags=re.MULTILINE | re.DOTALL)
    fenced = [part.replace("\n\n```", "\n```") for part in parts[1::2]]  # doctest wants an empty line, a reader none
    free = [LINK.sub(mend, part) for part in parts[::2]]
    return "".join(part for pair in zip_longest(free, fenced, fillvalue="") for part in pair)


def _decisions(texts: dict[str, str]) -> str:
    records = sorted((page for page in texts if page.startswith("decisions/")), reverse=True)
    lines = [
        "# Decision records",
        "",
        "Why the code is as it is: the question, the choice, and what else was tried.",
        "",
    ]
    for page in records:
        title = texts[page].partition("\n")[0].removeprefix("# ")
        lines.append(f"* [{title}]({page.removeprefix('decisions/')})")
    return "\n".join(lines) + "\n"


def _tree(title: str, pages: list[str]) -> str:
    caption = f":caption: {title}\n" if title else ""
    return f"\n```{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(pages) + "\n```\n"


def _write_source(path: Path, stage: Path) -> None:
    """The page of a file of the source, or of a folder: a list, and its files' pages."""
    target = stage / place(path)
    if target.exists():
        return
    inside = path.relative_to(ROOT).as_posix()
    head = f"---\norphan: true\nnosearch: true\n---\n\n# `{inside}`\n\n"
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix == ".py"]
        _write(target, head + "\n".join(f"* [{file.name}]({file.name}.md)" for file in files) + "\n")
        for file in files:
            _write_source(file, stage)
    else:
        _write(
            target,
            f"{head}`````{'python' if path.suffix == '.py' else 'text'}\n{path.read_text(encoding='utf-8')}`````\n",
        )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
