"""Build the site: `python docs/make_site.py [folder]`, build/site without one. It needs the extra `site`.

The site is files alone: it opens from a folder as well as from a server, and no page asks for anything from elsewhere.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "website")]

import formulas  # noqa: E402
import make_gallery  # noqa: E402
import pages  # noqa: E402
import reference  # noqa: E402

from minigrad.pictures import html  # noqa: E402

VIEWERS = "viewers"


def lay_out(stage: Path) -> None:
    """Write all that Sphinx reads: pages, figures, the reference, and the gallery's graphs to step through."""
    shutil.rmtree(stage, ignore_errors=True)
    pages.lay_out(stage)
    reference.write(stage / "reference")
    formulas.write_font(stage / pages.EXTRA / "_static" / "stix-two-math.woff2")
    gallery = stage / "gallery.md"
    text = gallery.read_text(encoding="utf-8")
    for name, (title, _) in make_gallery.PICTURES.items():
        image = f"(gallery/{name}.svg)\n"
        assert image in text, f"the gallery shows no {name}"
        text = text.replace(image, f'{image}\n<p><a href="{VIEWERS}/{name}.html">Step through this graph</a></p>\n')
        path = stage / pages.EXTRA / VIEWERS / f"{name}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(html.page(make_gallery.make(name).data(), title), encoding="utf-8")
    gallery.write_text(text, encoding="utf-8")


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
