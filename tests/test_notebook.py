"""Tensors and modules in a notebook without treescope."""

from __future__ import annotations

import sys

import pytest

import minigrad as mg
import nn


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "treescope", None)


def test_a_tensor_is_its_text() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    assert x._repr_mimebundle_() == {
        "text/html": "<pre>tensor([1., 2.], requires_grad=True)</pre>",
        "text/plain": "tensor([1., 2.], requires_grad=True)",
    }


def test_a_module_is_a_list_that_folds() -> None:
    class Odd(nn.Module):
        def extra_repr(self) -> str:
            return "<&>"

    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2, affine=False), Odd())
    bundle = model._repr_mimebundle_()
    assert bundle["text/plain"] == repr(model)
    html = bundle["text/html"]
    assert html.count("<details open>") == html.count("</details>") == 3
    assert "<summary>Linear(3, 2, bias=False)</summary><ul><li>weight (2, 3)</li></ul>" in html
    assert "<li>running_mean (2,)</li>" in html
    assert "<li>2: Odd(&lt;&amp;&gt;)</li>" in html
