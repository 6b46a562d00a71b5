"""Examples as commands that run in this process, so that their imports are loaded only once."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


class Done(NamedTuple):
    """The exit status of a command, and its output."""

    status: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run an example as a command."""

    def call(name: str, *arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        monkeypatch.syspath_prepend(str(EXAMPLES))
        status: object = 0
        try:
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        except SystemExit as end:
            status = end.code
            if isinstance(status, str):
                print(status, file=sys.stderr)
        said = capsys.readouterr()
        return Done(status if isinstance(status, int) else 1, said.out, said.err)

    return call
