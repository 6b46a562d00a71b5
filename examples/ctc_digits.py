"""Rows of drawn digits to numbers, column by column, without knowing which columns belong to which digit: CTC.

    python examples/ctc_digits.py
    python examples/ctc_digits.py --load out/ctc_digits.safetensors 2718 31415926

Digits of a small font are drawn side by side: with different widths and heights, some close together, and with noise
everywhere. A bidirectional LSTM reads a drawing as a sequence of columns, and gives at each one the probability that a
digit has just been read, and which. `nn.CTCLoss` compares that with the number, over all alignments. After
`--load FILE`, give numbers: they are drawn, and read. `--out` receives

    ctc_digits.safetensors  the weights
    ctc_digits-reading.png  a drawing, and the network's output at each of its columns
    ctc_digits-losses.png   the losses
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import common
import numpy as np

import minigrad as mg
import nlp
import nn

FONT = """
.###. ..#.. .###. .###. ...#. ##### .###. ##### .###. .###.
#...# .##.. #...# #...# ..##. #.... #.... ....# #...# #...#
#..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...#
#.#.# ..#.. ...#. ..##. #..#. ....# ####. ..#.. .###. .####
##..# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....#
#...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ....#
.###. .###. ##### .###. ...#. .###. .###. ..#.. .###. .###.
"""
DIGITS = [np.array([[ink == "#" for ink in row.split()[d]] for row in FONT.split("\n")[1:-1]]) for d in range(10)]
HEIGHT = 10  # of a drawing; a digit is 7 high
BLANK = 10  # the class for no digit


def draw(number: str, rng: np.random.Generator, noise: float = 0.25) -> np.ndarray:
    """The columns of a drawing of some digits, (T, HEIGHT)."""
    columns = [np.zeros((int(rng.integers(1, 4)), HEIGHT))]
    for digit in number:
        width = int(rng.integers(4, 9))
        stretched = DIGITS[int(digit)][:, np.arange(width) * 5 // width].T  # (width, 7)
        top = int(rng.integers(HEIGHT - 6))
        columns += [np.pad(stretched, ((0, 0), (top, HEIGHT - 7 - top))), np.zeros((int(rng.integers(4)), HEIGHT))]
    ink = np.concatenate(columns)
    return (ink + noise * rng.standard_normal(ink.shape)).astype(np.float32)


def drawings(count: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Drawings (T, HEIGHT) of three to eight random digits, and these."""
    numbers = [rng.integers(0, 10, rng.integers(3, 9)) for _ in range(count)]
    return [(draw("".join(map(str, number)), rng), number) for number in numbers]


class Reader(nn.Module):
    """Log-probabilities of the digits and the blank at each column."""

    def __init__(self, hidden: int, device: str = "cpu") -> None:
        super().__init__()
        self.lstm = nn.LSTM(HEIGHT, hidden, bidirectional=True, device=device)
        self.out = nn.Linear(2 * hidden, len(DIGITS) + 1, device=device)
        self.ctc = nn.CTCLoss(BLANK)

    def forward(self, columns: Any, lengths: Any) -> Any:
        """(T, N, HEIGHT) to (T, N, 11)."""
        return mg.log_softmax(self.out(self.lstm(columns, lengths=lengths)[0]))

    def loss(self, drawn: nlp.Padded, numbers: nlp.Padded) -> Any:
        """CTC's loss of a batch; targets are (N, S)."""
        return self.ctc(self(drawn.values, drawn.lengths), numbers.values.T, drawn.lengths, numbers.lengths)


def read(model: Reader, drawn: Sequence[np.ndarray], decode: Any = nlp.ctc_beam_search) -> list[str]:
    """The digits in drawings."""
    columns, lengths = nlp.pad(drawn)
    with mg.no_grad():
        found = decode(model.eval()(columns, lengths), lengths, blank=BLANK)
    return ["".join(map(str, ids)) for ids in found.ids]


def distance(a: str, b: str) -> int:
    """The number of digits to replace, delete or insert to turn a into b (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def shown(drawing: np.ndarray) -> str:
    """A drawing in characters."""
    return "\n".join("".join(" .+#"[int(np.clip(3.5 * ink, 0, 3))] for ink in row) for row in drawing.T)


def plot(model: Reader, drawing: np.ndarray, path: Any) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    with mg.no_grad():
        p = np.exp(model.eval()(drawing[:, None], [len(drawing)]).numpy()[:, 0])  # (T, 11)
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
    above.imshow(drawing.T, cmap="gray_r", aspect="auto")
    above.set_axis_off()
    for digit in range(len(DIGITS)):
        below.plot(p[:, digit], label=str(digit))
    below.plot(p[:, BLANK], color="lightgray", label="blank")
    below.set(xlabel="column", ylabel="probability")
    below.legend(ncols=11, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    figure.savefig(path, dpi=130)


def train(args: argparse.Namespace) -> None:
    if args.data:
        raise ValueError("--data: the digits are drawn; this example takes no others")
    rng = np.random.default_rng(args.seed)
    examples, tests = drawings(args.drawings, rng), drawings(max(args.drawings // 10, 20), rng)
    model = Reader(args.hidden, args.device)
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=1.0)
    batches = nlp.Batches(examples, batch_size=25, shuffle=True, by_length=True, seed=args.seed)
    history = common.fit(args, model, optimizer, batches, nlp.Batches(tests, batch_size=200))
    for record in history:
        if "validation" in record:
            print(f"epoch {record['epoch']}: loss {record['mean_loss']:.3f}, on unseen {record['validation']:.3f}")
    nn.save(model, args.out / "ctc_digits.safetensors", {"hidden": str(args.hidden)})

    drawn, truth = [x for x, _ in tests], ["".join(map(str, number)) for _, number in tests]
    for name, decode in (("best path", nlp.ctc_greedy), ("beam search", nlp.ctc_beam_search)):
        answers = read(model, drawn, decode)
        wrong = sum(map(distance, answers, truth)) / sum(map(len, truth))
        whole = np.mean([a == b for a, b in zip(answers, truth, strict=True)])
        print(f"{name}: {wrong:.2%} of the digits are wrong, {whole:.1%} of {len(truth)} numbers are right")
    for drawing, answer, right in list(zip(drawn, answers, truth, strict=True))[:3]:
        print(f"{shown(drawing)}\n  is read as {answer or 'nothing'}" + ("" if answer == right else f", not {right}"))
    plot(model, drawn[0], args.out / "ctc_digits-reading.png")
    print(f"see {args.out / 'ctc_digits-reading.png'}; the model is in {args.out / 'ctc_digits.safetensors'}")


def use(args: argparse.Namespace) -> None:
    if wrong := [text for text in args.input if not (text.isascii() and text.isdigit())]:
        raise ValueError(f"{wrong[0]!r}: give numbers to draw and read")
    model = Reader(int(nn.load_metadata(args.load)["hidden"]), args.device)
    model.load_state_dict(nn.load(args.load, args.device))
    drawn = [draw(number, np.random.default_rng(args.seed)) for number in args.input]
    for number, drawing, answer in zip(args.input, drawn, read(model, drawn), strict=True):
        print(f"{shown(drawing)}\n  {number} is read as {answer or 'nothing'}")


if __name__ == "__main__":
    parser = common.options("ctc_digits", __doc__, epochs=8, data="is not for this example", use="numbers")
    parser.add_argument("--drawings", type=int, default=3000, help="drawings to learn from (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=48, help="size H of the states (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=1e-2, help="Adam's learning rate at first (default: %(default)s)")
    common.run(parser, train, use)
