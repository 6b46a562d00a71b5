"""Make the picture of docs/interventions.md: `python docs/make_interventions.py [folder]`, docs/interventions if none.

The page's own code makes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from drawing import pictures_of, save, style

HERE = Path(__file__).parent
FOLDER = HERE / "interventions"


def make(folder: Path = FOLDER) -> list[Path]:
    """Write the page's pictures; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        return [save(made, folder / name) for name, made in pictures_of(HERE / "interventions.md")]


if __name__ == "__main__":
    for written in make(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(f"{written} ({written.stat().st_size / 1000:.0f} kB)")
