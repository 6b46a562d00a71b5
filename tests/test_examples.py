"""Each example runs to its end, in a small setting, and leaves what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)


def test_char_rnn_from_primitives(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 400, encoding="utf-8")
    done = run("char_rnn_from_primitives.py", "--data", text, "--iterations", 60, "--hidden", 24, "--window", 12,
               "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    held_out = float(done.stdout.split("held-out loss: ")[1].split()[0])
    bigram = float(done.stdout.split("a bigram model: ")[1].split(";")[0])
    assert held_out < 2.5
    assert 0.2 < bigram < 1.5
    for name, start in {"graph.svg": b"<?xml", "loss.png": b"\x89PNG", "gradients.png": b"\x89PNG"}.items():
        assert (tmp_path / "out" / name).read_bytes().startswith(start)


@pytest.mark.parametrize("problem", ["missing", "short"])
def test_char_rnn_refuses_a_bad_file(tmp_path: Path, problem: str) -> None:
    text = tmp_path / "text.txt"
    if problem == "short":
        text.write_text("too short", encoding="utf-8")
    done = run("char_rnn_from_primitives.py", "--data", text, "--out", tmp_path)
    assert done.returncode != 0
    assert "text.txt" in done.stderr
    assert "Traceback" not in done.stderr
