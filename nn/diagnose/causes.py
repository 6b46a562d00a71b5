"""The causes that `report` names, with their advice, and the sections of its page."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    """One question and its answer: a sentence, a picture (SVG, or empty) and the same as a line of text."""

    title: str
    sentence: str
    picture: str = field(default="", repr=False)
    line: str = ""


# In the order in which causes are named: an earlier one may be the reason of a later one.
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
        "Scale the inputs to about 1; begin with smaller weights (±1/√H); add layer_norm=True.",
    "closed forget gate":
        "Begin with an open gate: nn.init.forget_gate_bias_(layer, 1.0) for an LSTM, a positive bias of z for a GRU.",
    "vanishing":
        "Use an LSTM or a GRU with nn.init.forget_gate_bias_; let losses enter at more steps; shorten the sequences.",
    "no gradient":
        "Look for a product with zero, an argmax or a rounding between the model and its loss.",
    "learning rate too high":
        "Divide the learning rate by 10 until a step lowers the loss; warm it up (nn.WarmupLR); clip.",
    "learning rate too low":
        "Multiply the learning rate by 10 until the steps show in the loss.",
}  # fmt: skip
