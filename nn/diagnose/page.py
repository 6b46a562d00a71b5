"""One page about a model and a batch: as text, as HTML, and in notebooks."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minigrad as mg

from ..modules import Module
from ..training.files import StrPath, atomic, write_bytes
from ..training.trainer import Trainer
from .causes import Cause, Section
from .checks import Checks
from .perturbing import Batch

WIDTH = 100  # letters of a line
# Light colours, and those of a dark page.
DARK = {
    "#333333": "#e4e6e8", "#9A9A9A": "#7d868f", "#E8E8E8": "#30363d", "#DDDDDD": "#454c54", "#4477AA": "#7fb2e5",
    "#BB5566": "#e5788a", "#CC9922": "#e3b93c", "#228833": "#66c27a", "#66CCEE": "#66ccee", "#AA3377": "#dd77aa",
}  # fmt: skip
STYLE = """
.minigrad-report { color: #333; background: #fff; font: 15px/1.45 Helvetica, Arial, sans-serif; max-width: 860px;
  padding: 12px; box-sizing: border-box; overflow-wrap: break-word }
.minigrad-report h1 { font-size: 22px; margin: 0 }
.minigrad-report h2 { font-size: 15px; margin: 0 }
.minigrad-report p { margin: 2px 0 }
.minigrad-report ol { padding-left: 1.4em }
.minigrad-report .cause { color: #a8394c; font-weight: bold }
.minigrad-report .sound { color: #1f7a2e }
.minigrad-report .facts, .minigrad-report .advice { color: #666 }
.minigrad-report .sections { columns: 2 380px; column-gap: 28px; margin-top: 18px }
.minigrad-report section { break-inside: avoid; margin: 0 0 20px }
@media (prefers-color-scheme: dark) {
.minigrad-report { color: #e4e6e8; background: #16191d }
.minigrad-report .cause { color: #e5788a }
.minigrad-report .sound { color: #66c27a }
.minigrad-report .facts, .minigrad-report .advice { color: #a9b0b7 }
%s
}
"""
BODY = """
body { margin: 0; background: #fff }
.minigrad-report { margin: 0 auto }
@media (prefers-color-scheme: dark) { body { background: #16191d } }
"""


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The reasons why a model does not learn on a batch: `print` it, display it in a notebook, or `save` the page.

    causes    the causes found, the first reason first; empty if nothing is alarming
    sections  one for each question, with a sentence and a picture
    loss      the loss of the batch
    model     the name of the model's class
    steps, sequences  T and N of the batch; None where they are unknown
    """

    causes: tuple[Cause, ...]
    sections: tuple[Section, ...]
    loss: float
    model: str
    steps: int | None = None
    sequences: int | None = None

    @property
    def facts(self) -> str:
        """The size of the batch and its loss: `T = 20 steps, N = 7 sequences, loss 1.102`."""
        sizes = (("T", self.steps, "steps"), ("N", self.sequences, "sequences"))
        known = [f"{letter} = {count} {what}" for letter, count, what in sizes if count is not None]
        return ", ".join([*known, f"loss {self.loss:.4g}"])

    @property
    def verdict(self) -> str:
        """The first cause in a sentence."""
        return str(self.causes[0]) if self.causes else "nothing alarming was found"

    def __repr__(self) -> str:
        return f"<Report: {_cut(self.verdict, 200)}>"

    def __str__(self) -> str:
        lines = _wrapped("", f"{self.model}: {self.facts}")
        lines += [] if self.causes else [self.verdict]
        for k, cause in enumerate(self.causes, 1):
            lines += _wrapped(f"{k}. ", f"{cause.name.upper()}: {cause.what}")
            lines += _wrapped("   try: ", cause.advice)
        lines.append("")
        width = max(len(section.title) for section in self.sections) + 2
        for section in self.sections:
            lines += _wrapped(section.title.ljust(width), section.sentence)
            if section.line:
                lines += [part for line in section.line.splitlines() for part in _aligned(" " * width, line)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        found = "".join(
            f'<li><span class="cause">{html.escape(c.name)}</span>: {html.escape(c.what)}.<br/>'
            f'<span class="advice">Try: {html.escape(c.advice)}</span></li>'
            for c in self.causes
        )
        head = f"<ol>{found}</ol>" if found else f'<p class="sound">{html.escape(_sentence(self.verdict))}</p>'
        body = "".join(
            f"<section><h2>{html.escape(_sentence(s.title, end=''))}</h2>"
            f"<p>{html.escape(_sentence(s.sentence))}</p>{s.picture}</section>"
            for s in self.sections
        )
        return (
            f'<div class="minigrad-report"><style>{_style()}</style>'
            f'<h1>Report on {html.escape(self.model)}</h1><p class="facts">{html.escape(self.facts)}</p>{head}'
            f'<div class="sections">{body}</div></div>'
        )

    def save(self, path: StrPath) -> Path:
        """Write the page: .html, which is self-contained, or .txt. Raises ValueError for another suffix."""
        path = Path(path)
        if path.suffix == ".txt":
            page = f"{self}\n"
        elif path.suffix == ".html":
            title = html.escape(f"Report on {self.model}")
            page = (
                '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
                f'<meta name="viewport" content="width=device-width"/><title>{title}</title>'
                f"<style>{BODY}</style></head><body>{self._repr_html_()}</body></html>\n"
            )
        else:
            raise ValueError(f"Report.save: cannot write {path.name!r}; the ending must be .html or .txt")
        with atomic(path) as unfinished:
            write_bytes(unfinished, page.encode())
        return path


def report(
    model: Any, batch: Any, loss: Callable[..., Any] | None = None, *, optimizer: Any = None, lengths: Any = None,
    mask: Any = None, batch_axis: int | None = None,
) -> Report:  # fmt: skip
    """Examine a model and a batch from all sides: why does it not learn?

    model      a module; or a Trainer, which has the loss and the optimizer
    batch      as for the loss; its first array with two axes or more is the input
    loss       (model, batch) -> loss, as Trainer's `step`; or a loss such as `nn.CrossEntropyLoss()`, for a batch
               (x, y) and a model that returns its output, or a tuple that begins with it. None: `model.loss(*batch)`
    optimizer  to judge the size of its steps; without one, only the effect of a step along the gradient is shown
    lengths, mask  the real steps of the input; by default the entries of these names in a batch that is a dict, or a
               guess from equal ends of sequences
    batch_axis the axis of the input that holds the sequences, 0 or 1; by default the one whose size another array of
               the batch with one axis has (labels, lengths)

    Its questions: is anything not finite; does the gradient reach the early steps, and how far back does it flow; what
    would truncation cost; how does a state affect the next one; are gates saturated or ReLUs dead; does the loss read
    padding; do sequences of a batch mix; is the learning rate of the right scale? `report.causes` lists the problems,
    the first reason first, with things to try (`nn.diagnose.CAUSES` lists all).

    The loss is computed about ten times, always with the same random numbers. Weights, their `.grad`, buffers, the
    optimizer and the random state are restored afterwards; other side effects of `loss` are not undone.

    >>> import numpy as np, minigrad as mg, nn
    >>> class Last(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.rnn, self.out = nn.RNN(3, 8), nn.Linear(8, 2)
    ...     def forward(self, xs):
    ...         return self.out(self.rnn(xs)[0][-1])
    >>> model = Last()
    >>> _ = nn.init.orthogonal_(model.rnn.weight_hh_l0, gain=0.3)
    >>> batch = mg.randn(20, 4, 3), np.array([0, 1, 1, 0])
    >>> found = nn.diagnose.report(model, batch, nn.CrossEntropyLoss())
    >>> found.causes[0].name
    'vanishing'

    Raises TypeError for a loss that is not a scalar.
    """
    carried = None
    if isinstance(model, Trainer):
        carried = model.carried
        loss, optimizer = loss or model.step, optimizer or model.optimizer
        model = model.model
    if not isinstance(model, Module):
        raise TypeError(f"report: expected a Module or a Trainer, got {type(model).__name__}")
    random, kept = mg.get_random_state(), None if carried is None else carried.state_dict()
    buffers = [(buffer, buffer.data.copy()) for buffer in model.buffers()]

    def step(model: Any, batch: Any) -> Any:
        if carried is not None:
            carried.load_state_dict(kept)
        return _loss(model, batch, loss)

    try:
        checks = Checks(model, Batch(batch, batch_axis, lengths, mask), batch, step, optimizer)
        checks.run()
    finally:
        mg.set_random_state(random)
        _restore(buffers)
        if carried is not None:
            carried.load_state_dict(kept)
    loss_now, name = float(checks.watched.loss.item()), type(model).__name__
    return Report(tuple(checks.causes), tuple(checks.sections), loss_now, name, *checks.sizes())


def _restore(buffers: list[tuple[mg.Tensor, Any]]) -> None:
    """Undo what the runs wrote into buffers, such as the running statistics of batch normalization."""
    with mg.no_grad():
        for buffer, before in buffers:
            if buffer.data.tobytes() != before.tobytes():
                buffer[...] = before


def _loss(model: Any, batch: Any, loss: Callable[..., Any] | None) -> Any:
    """The loss in the given form: a step, a criterion, or the model's own."""
    if loss is None:
        given = batch if isinstance(batch, tuple | list) else (batch,)
        found = model.loss(*given) if hasattr(model, "loss") else model(*given)
        return found[0] if isinstance(found, tuple) else found
    if isinstance(loss, Module):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"report: {type(loss).__name__} needs a batch (x, y), not a {type(batch).__name__}; give a function "
                "(model, batch) -> loss"
            )
        output = model(batch[0])
        return loss(output[0] if isinstance(output, tuple) else output, batch[1])
    return loss(model, batch)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    )  # fmt: skip


def _aligned(head: str, line: str) -> list[str]:
    """The parts of a line, which are two spaces apart, in as many lines as they need."""
    lines = [head]
    for part in line.split("  "):
        if len(lines[-1]) + len(part) > WIDTH:
            lines.append(head)
        lines[-1] += f"{part}  "
    return [each.rstrip() for each in lines]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 2] + " …"


def _sentence(text: str, end: str = ".") -> str:
    """A text as a sentence; names at its beginning stay as they are written."""
    first = text.split(" ", 1)[0].rstrip(",;:")
    return (text[:1].upper() + text[1:] if first.replace("-", "").isalpha() and first.islower() else text) + end


def _style() -> str:
    """The sheet of the page. The pictures' colours are attributes, for readers without style sheets."""
    rules = [
        f'.minigrad-report [{what}="{light}"] {{ {what}: {dark} }}' for light, dark in DARK.items()
        for what in ("fill", "stroke")
    ]  # fmt: skip
    return STYLE.replace("%s", "\n".join(rules))
