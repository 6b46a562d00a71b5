"""Build the site: `python docs/make_site.py [folder]`, build/site without one. It needs the extra `site`.

The site is files alone: it opens from a folder as well as from a server, and no page asks for anything from elsewhere.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nbformat
from sphinx.cmd.build import build_main

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "website")]

import formulas  # noqa: E402
import make_gallery  # noqa: E402
import make_notebooks  # noqa: E402
import pages  # noqa: E402
import reference  # noqa: E402

from minigrad.pictures import html  # noqa: E402

VIEWERS = "viewers"


def lay_out(stage: Path) -> None:
    """Write Sphinx's input: pages, figures and the reference; and the files that are copied to the site."""
    shutil.rmtree(stage, ignore_errors=True)
    pages.lay_out(stage)
    reference.write(stage / "reference")
    extra = stage / pages.EXTRA
    formulas.write_font(extra / "_static" / "stix-two-math.woff2")
    add_viewers(stage / "gallery.md", extra / VIEWERS)
    add_notebooks(stage / "course", extra / "course")


def add_viewers(gallery: Path, folder: Path) -> None:
    """Write a page to step through each graph of the gallery, and lead to it from below the picture."""
    folder.mkdir(parents=True)
    text = gallery.read_text(encoding="utf-8")
    for name, (title, _) in make_gallery.PICTURES.items():
        image = f"(gallery/{name}.svg)\n"
        assert image in text, f"the gallery shows no {name}"
        text = text.replace(image, f'{image}\n<p><a href="{VIEWERS}/{name}.html">Step through this graph</a></p>\n')
        (folder / f"{name}.html").write_text(html.page(make_gallery.make(name).data(), title), encoding="utf-8")
    gallery.write_text(text, encoding="utf-8")


def add_notebooks(course: Path, folder: Path) -> None:
    """Write the course's notebooks, and lead to each from below its page's title."""
    folder.mkdir(parents=True)
    for source in sorted(make_notebooks.COURSE.glob("*.md")):
        name = f"{source.stem}.ipynb"
        nbformat.write(make_notebooks.notebook(source, make_notebooks.COURSE), folder / name)
        title, _, text = (course / source.name).read_text(encoding="utf-8").partition("\n\n")
        link = (
            f'<p><a href="{name}" download>This page as a notebook</a>, for the folder docs/course of the sources</p>'
        )
        (course / source.name).write_text(f"{title}\n\n{link}\n\n{text}", encoding="utf-8")


def build(site: Path) -> int:
    """Build the site into a folder; 0 if nothing is wrong. Warnings, dead links among them, are errors."""
    stage = site.with_name(site.name + "-source")
    lay_out(stage)
    settings = ["-c", str(HERE / "website"), "-D", f"html_extra_path={stage / pages.EXTRA}"]
    return int(build_main(["-b", "html", "-q", "-W", "--keep-going", *settings, str(stage), str(site)]))


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "build" / "site"
    failed = build(folder.resolve())
    if not failed:
        print(f"{folder / 'index.html'}: the site")
    sys.exit(failed)
