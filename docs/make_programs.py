"""Make the graphs of docs/programs.md and docs/engine.md: `python docs/make_programs.py [folder]`, docs if none.

Each is made by the page's own code, and is written to a folder of the page's name.
"""

from __future__ import annotations

import sys
from pathlib import Path

from drawing import pictures_of, save, style

HERE = Path(__file__).parent
PAGES = ("programs", "engine")


def make_all(folder: Path = HERE) -> list[Path]:
    """Write all pictures of the pages; returns their paths."""
    written = []
    for page in PAGES:
        (folder / page).mkdir(parents=True, exist_ok=True)
        with style():
            written += [save(made, folder / page / name) for name, made in pictures_of(HERE / f"{page}.md")]
    return written


if __name__ == "__main__":
    for path in make_all(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE):
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")
