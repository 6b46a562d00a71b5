"""The notebooks of the course: each is its page, and running it gives what the page says."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbclient", reason="needs nbclient and ipykernel, of the extra `dev`")
import make_notebooks
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
PAGES = sorted(make_notebooks.COURSE.glob("*.md"))
LINK = re.compile(r"\]\((?!attachment:)([^)#]+)[^)]*\)")


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    paths = make_notebooks.make_all(folder)
    assert [path.stem for path in paths] == [page.stem for page in PAGES]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in make_notebooks.make_all(folder)] == before


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_has_all_of_its_page(page: Path) -> None:
    notebook = make_notebooks.notebook(page)
    nbformat.validate(notebook)
    text = page.read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_examples(text)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    wants = [example.want for example in examples if example.want and example.exc_msg is None]
    assert [cell.metadata["wanted"] for cell in cells if "wanted" in cell.metadata] == wants
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "```math" not in prose
    assert "<details" not in prose
    assert prose.count("$$") == 2 * text.count("```math")
    assert sum(len(cell.get("attachments", {})) for cell in notebook.cells) == text.count("![")
    for link in LINK.findall(prose):
        assert "://" in link or link.removesuffix(".ipynb") in [p.stem for p in PAGES] or (
            make_notebooks.FOLDER / link
        ).resolve().exists(), link  # fmt: skip


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "README"], ids=lambda page: page.stem)
def test_a_notebook_runs_and_gives_what_its_page_says(page: Path) -> None:
    notebook = make_notebooks.notebook(page)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for cell in notebook.cells:
        if "wanted" in cell.metadata:
            got = shown(cell)
            assert doctest.OutputChecker().check_output(cell.metadata["wanted"], got, flags), f"{cell.source}\n{got}"


def shown(cell: Any) -> str:
    """The printed text of a cell, and its result as text."""
    parts = [output.text if output.output_type == "stream" else output.data["text/plain"] for output in cell.outputs
             if output.output_type in ("stream", "execute_result") and output.get("name") != "stderr"]  # fmt: skip
    return "".join(part if part.endswith("\n") else part + "\n" for part in parts)
