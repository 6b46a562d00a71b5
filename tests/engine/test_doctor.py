"""The doctor: its output, and its report of missing parts."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend, diagnosis
from minigrad.__main__ import main


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    mg.doctor()
    printed = capsys.readouterr().out
    for part in (
        mg.__version__,
        np.__version__,
        "BLAS",
        "cores",
        "matplotlib",
        "GPU" if not backend.CUPY.usable else "cuda:0",
    ):
        assert part in printed


def test_from_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "minigrad", "doctor"], capture_output=True, text=True, check=True)
    assert f"minigrad     {mg.__version__}" in done.stdout


def test_another_projects_nn_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not diagnosis._strangers(diagnosis._owners())
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "__init__.py").touch()
    known = {name: sys.modules.pop(name) for name in [*sys.modules] if name == "nn" or name.startswith("nn.")}
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        assert f"nn           not minigrad's: `import nn` finds {tmp_path / 'nn'}" in diagnosis.report()
    sys.modules.update(known)


def test_another_distribution_with_the_same_names_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "packages_distributions", lambda: {"nlp": ["minigrad", "othernlp"]})
    report = diagnosis.report()
    assert "nlp          also installed by othernlp" in report
    assert "pip uninstall othernlp, and install minigrad again" in report


def test_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nurse"])
    assert "invalid choice" in capsys.readouterr().err


def test_what_is_missing_comes_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_version", lambda module, owners: None)
    report = diagnosis.report()
    assert "pip install 'minigrad[fast,viz,nlp,mpi,tsne,onnx,log,notebook]'" in report


def test_an_installed_cupy_without_a_gpu_keeps_the_original_error(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = backend._Cupy()
    absent.searched, absent.error = True, ImportError("no module named cupy")
    monkeypatch.setattr(backend, "CUPY", absent)
    monkeypatch.delitem(backend._BY_DEVICE, "cuda", raising=False)
    with pytest.raises(
        mg.DeviceError, match=r'"cuda:0" is not available because CuPy cannot be imported: ImportError: no'
    ):
        mg.zeros(2, device="cuda:0")
    absent.module, absent.error = object(), RuntimeError("cudaErrorNoDevice")
    with pytest.raises(mg.DeviceError, match="no GPU answers: RuntimeError: cudaErrorNoDevice"):
        mg.zeros(2).to("cuda")
