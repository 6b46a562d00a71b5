"""`python -m minigrad doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .diagnosis import doctor


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="minigrad", description="Automatic differentiation in NumPy's vocabulary.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="report what is installed, test the GPU, and suggest what to install")
    parser.parse_args(arguments)
    doctor()


if __name__ == "__main__":
    main()
