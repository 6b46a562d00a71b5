"""Make notebooks of the course: `python docs/make_notebooks.py [folder]`, out/notebooks without one.

A notebook is generated from its page. Examples become cells, each with one result at its end; pictures are attached;
solutions are folded. Nothing is run here.
"""

from __future__ import annotations

import ast
import base64
import doctest
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

DOCS = Path(__file__).parent
COURSE = DOCS / "course"
FOLDER = DOCS.parent / "out" / "notebooks"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
FOLD = re.compile(r"^<details[^>]*><summary>(.*?)</summary>\n(.*?)^</details>\n", re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
LINK = re.compile(r"(?<!!)(\[[^\]]*\])\(([^)#]+)(#[^)]*)?\)")
OPTION = re.compile(r" *# doctest: \+\w+")
INSTALL = """# Install minigrad if it is missing.
import importlib.util

if importlib.util.find_spec("minigrad") is None:
    %pip install --quiet "{root}[viz,nlp]\""""


def notebook(page: Path, folder: Path = FOLDER) -> Any:
    """The notebook of a page, with links relative to its folder.

    A cell with an expected output has it in its metadata, as `wanted`."""
    made = list(cells(page, folder))
    if any(cell.cell_type == "code" for cell in made):
        title, _, rest = made[0].source.partition("\n\n")
        install = INSTALL.format(root=Path(os.path.relpath(DOCS.parent, folder)).as_posix())
        made[0].source = rest
        made[:0] = [v4.new_markdown_cell(title), v4.new_code_cell(install)]
    for k, cell in enumerate(made):
        cell.id = f"{page.stem.lower()}-{k}"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return v4.new_notebook(cells=made, metadata=kernel)


def cells(page: Path, folder: Path) -> Iterator[Any]:
    """The cells of a page, in order."""
    text, at = page.read_text(encoding="utf-8"), 0
    for fold in [*FOLD.finditer(text), None]:
        yield from plain(text[at : fold.start() if fold else None], page, folder)
        if fold:
            for cell in plain(f"*{fold[1]}*\n{fold[2]}", page, folder):
                cell.metadata["jupyter"] = {"source_hidden": True}
                yield cell
            at = fold.end()


def plain(text: str, page: Path, folder: Path) -> Iterator[Any]:
    """The cells of a text without folds."""
    prose, at = "", 0
    for fence in FENCE.finditer(text):
        prose += text[at : fence.start()]
        at = fence.end()
        if fence[1] == "math":
            prose += f"$$\n{fence[2]}$$\n"
        elif fence[1] == "python" and fence[2].startswith(">>> "):
            yield from markdown(prose, page, folder)
            prose = ""
            yield from code(fence[2])
        else:
            prose += fence[0]
    yield from markdown(prose + text[at:], page, folder)


def markdown(text: str, page: Path, folder: Path) -> Iterator[Any]:
    """A cell of text, if there is any, with its pictures attached. Links between pages lead to their notebooks."""
    attachments: dict[str, Any] = {}

    def attached(image: re.Match[str]) -> str:
        path = page.parent / image[2]
        attachments[path.name] = {"image/svg+xml": base64.b64encode(path.read_bytes()).decode()}
        alternative = " ".join(image[1].split())
        return f"![{alternative}](attachment:{path.name})"

    def relative(link: re.Match[str]) -> str:
        label, target, anchor = link.groups()
        if "://" in target:
            return link[0]
        path = (page.parent / target).resolve()
        if path.parent == page.parent.resolve() and path.suffix == ".md":
            place = path.stem + ".ipynb"
        else:
            place = Path(os.path.relpath(path, folder.resolve())).as_posix()
        return f"{label}({place}{anchor or ''})"

    text = LINK.sub(relative, IMAGE.sub(attached, text)).strip("\n")
    if text:
        cell = v4.new_markdown_cell(text)
        if attachments:
            cell["attachments"] = attachments
        yield cell


def code(text: str) -> Iterator[Any]:
    """The cells of a block of examples. A cell ends where an example prints something."""
    lines = ""
    for example in doctest.DocTestParser().get_examples(text):
        source, skipped = OPTION.sub("", example.source), doctest.SKIP in example.options
        if skipped:  # pictures that the page writes are shown
            source = source.partition(".")[0] + "\n"
        lines += spaced(lines, source)
        if example.want or skipped:
            cell = v4.new_code_cell(lines.strip("\n"))
            lines = ""
            if example.exc_msg is not None:
                cell.metadata["tags"] = ["raises-exception"]
            elif example.want:
                cell.metadata["wanted"] = example.want
            yield cell
    if lines:
        yield v4.new_code_cell(lines.strip("\n"))


def spaced(before: str, source: str) -> str:
    """A statement, with an empty line around a function or class."""
    block = isinstance(ast.parse(source).body[0], ast.FunctionDef | ast.ClassDef)
    return ("\n" if block and before and not before.endswith("\n\n") else "") + source + ("\n" if block else "")


def make_all(folder: Path = FOLDER) -> list[Path]:
    """Write the notebooks of all pages and of the contents; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for page in sorted(COURSE.glob("*.md")):
        path = folder / f"{page.stem}.ipynb"
        nbformat.write(notebook(page, folder), path)
        paths.append(path)
    return paths


if __name__ == "__main__":
    for path in make_all(*map(Path, sys.argv[1:2])):
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")
