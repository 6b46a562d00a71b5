"""`python -m minigrad doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .diagnosis import doctor


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="minigrad", description="Automatic differentiation in NumPy's vocabulary.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="what is installed, whether a GPU answers, and what would help")
    parser.parse_args(arguments)
    doctor()


if __name__ == "__main__":
    main()
