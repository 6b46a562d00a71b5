"""The causes that `report` names, with their advice, and the sections of its page."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log


@dataclass(frozen=True)
class Cause:
    """A reason why a model does not learn.

    name    one of `CAUSES`
    what    the evidence, in a sentence
    advice  things to try
    """

    name: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


@dataclass(frozen=True)
class Section:
    """One question and its answer: a sentence, a picture (SVG, or empty) and the same as lines of text."""

    title: str
    sentence: str
    picture: str = field(default="", repr=False)
    line: str = ""


# In the order in which causes are named: an earlier one may be the reason of a later one. The advice is that for a cell
# without gates; `advice` knows more about a cell with gates.
CAUSES: dict[str, str] = {
    "non-finite data":
        "Remove or mask these entries before they reach the model; check divisions and logarithms in its preparation.",
    "non-finite weights":
        "Go back to a checkpoint from before; then clip gradients (clip_norm=1) or lower the learning rate.",
    "non-finite values":
        "Run the step under mg.detect_anomaly(); guard logarithms, roots and divisions, or clip.",
    "batch and time swapped":
        "Pass batch_first=True to the layer, or swap the first two axes of its input: np.swapaxes(x, 0, 1).",
    "rows of the batch mix":
        "Look for a reshape, a softmax or a mean over the axis of sequences.",
    "reading at padding":
        "Pass lengths= or mask= to the layers and to the loss; take the state that they return, not output[-1].",
    "detached":
        "Remove .detach(), .numpy() or no_grad() on the way, or cut less often.",
    "dead ReLU":
        "Lower the learning rate; begin with biases of 0 and weights of nn.init.kaiming_uniform_; or use nn.LeakyReLU.",
    "exploding":
        "Clip the gradient (clip_norm=1 of the optimizer); begin with nn.init.orthogonal_; or use an LSTM or a GRU.",
    "saturated":
        "Scale the inputs to about 1; begin with smaller weights (±1/√H).",
    "closed forget gate":
        "Begin with an open gate: nn.init.forget_gate_bias_(layer, 1.0) for an LSTM, a positive bias of z for a GRU.",
    "vanishing":
        "Use an LSTM with an open forget gate (nn.init.forget_gate_bias_), or a GRU; let losses enter at more steps; "
        "shorten the sequences.",
    "no gradient":
        "Look for a product with zero, an argmax or a rounding between the model and its loss.",
    "learning rate too high":
        "Divide the learning rate by 10 until a step lowers the loss; warm it up (nn.WarmupLR); clip.",
    "learning rate too low":
        "Multiply the learning rate by 10 until the steps show in the loss.",
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """The cell of a loop, as its gates describe it.

    gated   it has gates
    lstm    it is nn's LSTM
    keeper  the name of the gate that keeps the state; "" if none is known
    kept    the mean of that gate, or of 1 minus it: the part of the state that is kept in a step
    steps   T, the steps of the loop
    closed  the gate keeps the state where it is closed
    """

    gated: bool = False
    lstm: bool = False
    keeper: str = ""
    kept: float = 0.0
    steps: int = 0
    closed: bool = False


def advice(cause: str, cell: Known) -> str:
    """Things to try against a cause, for the cell at hand: a gated network is not told to use gates."""
    if cause == "vanishing" and cell.gated:
        return f"{_opened(cell)}let losses enter at more steps; shorten the sequences."
    if cause == "exploding" and cell.gated:
        return "Clip the gradient (clip_norm=1 of the optimizer); begin with smaller recurrent weights."
    if cause == "closed forget gate" and cell.keeper:
        how = "nn.init.forget_gate_bias_(layer, 1.0)" if cell.lstm else f"a positive bias of {cell.keeper}"
        return f"Begin with an open gate: {how}."
    if cause == "saturated" and cell.lstm:
        return f"{CAUSES[cause].rstrip('.')}; or add layer_norm=True."
    return CAUSES[cause]


def _opened(cell: Known) -> str:
    """The bias that keeps a memory for T steps, ln T (Tallec & Ollivier 2018): σ(ln T)^T is about 1/e."""
    if not cell.keeper:
        return "Let the gate that keeps the state begin open, by a positive bias; "
    bias = f"{log(max(cell.steps, 2)) * (-1 if cell.closed else 1):.1f}"
    open_it, is_open = ("Close", "closed") if cell.closed else ("Open", "open")
    if cell.kept >= 1 - 2 / max(cell.steps, 2):
        return f"The gate {cell.keeper} is {is_open} already: it keeps {cell.kept:.3g} of the state in the mean; "
    how = f"nn.init.forget_gate_bias_(layer, {bias})" if cell.lstm else f"a bias of {bias} for {cell.keeper}"
    return f"{open_it} the gate {cell.keeper} further: {how} keeps a state for about T = {cell.steps} steps; "
