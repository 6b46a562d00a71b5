"""A character language model: an LSTM reads a text character by character, and learns to continue it.

    python examples/char_lm.py [--data FILE]
    python examples/char_lm.py --load out/char_lm.safetensors --temperature 0.7 "The class statement"

The same as `char_rnn_from_primitives.py`, but from the parts of `nn` and `nlp`. The default text is the documentation
that ships inside Python. Truncated back-propagation carries the state from window to window, so the model remembers
more than one window. `--out` receives

    char_lm.safetensors  the model with its characters
    char_lm-surprise.png held-out text, with less expected characters in a stronger red
    char_lm-losses.png   the losses
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import common
import numpy as np

import minigrad as mg
import nlp
import nn


def go_on(model: Any, prompts: list[str], args: argparse.Namespace) -> list[str]:
    """The model's continuation of each prompt."""
    tokenizer = model.texts["characters"]
    ids = nlp.pad(tokenizer.encode_batch(prompts))
    special = [tokenizer.vocabulary[token] for token in tokenizer.vocabulary.specials]
    found = nlp.sample(model, model.start(ids), max_length=args.length, temperature=args.temperature, top_p=args.top_p,
                       forbidden=special, seed=args.seed)  # fmt: skip
    return [prompt + text for prompt, text in zip(prompts, found.texts(tokenizer), strict=True)]


def draw_surprise(model: Any, text: str, path: Path) -> None:
    """The text in lines, with −log p in bits as the background of each character."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    ids = model.texts["characters"].encode(text)
    with mg.no_grad():
        log_p = mg.log_softmax(model(ids[:-1, None])[0])[:, 0].numpy()  # (T − 1, V)
    bits = np.concatenate([[0], -log_p[np.arange(len(ids) - 1), ids[1:]] / math.log(2)])
    rows, columns = text.split("\n"), max(map(len, text.split("\n")))
    figure, ax = plt.subplots(figsize=(0.105 * columns + 0.6, 0.24 * len(rows) + 0.5), layout="constrained")
    grid, at = np.full((len(rows), columns), np.nan), 0
    for r, row in enumerate(rows):
        grid[r, : len(row)] = bits[at : at + len(row)]
        at += len(row) + 1
        for c, character in enumerate(row):
            ax.text(c, r, character, family="monospace", fontsize=8, ha="center", va="center",
                    color="white" if grid[r, c] > 7 else "black")  # fmt: skip
    image = ax.imshow(grid, cmap="Reds", vmin=0, vmax=12, aspect="auto")
    figure.colorbar(image, label="surprise in bits", shrink=0.9, pad=0.01)
    ax.set_axis_off()
    figure.savefig(path, dpi=130)


def train(args: argparse.Namespace) -> None:
    text = nlp.read_text(*args.data) if args.data else nlp.python_documentation()
    if len(text) < 10_000:
        raise ValueError(f"{len(text)} characters are too few to learn from; give at least 10,000")
    cut = len(text) * 95 // 100
    tokenizer = nlp.CharTokenizer().fit([text[:cut]])
    train_ids, test_ids = tokenizer.encode(text[:cut]), tokenizer.encode(text[cut:])
    print(f"{len(text):,} characters, {len(tokenizer)} different; {cut:,} for training")

    model = nlp.LanguageModel(len(tokenizer), 64, args.hidden, args.layers, dropout=args.dropout, device=args.device)
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=5.0)
    history = common.fit_text(args, model, optimizer, train_ids, test_ids)
    model.eval().save(args.out / "char_lm.safetensors", characters=tokenizer)

    held_out = history.column("validation")[1][-1]
    print(f"held-out loss: {held_out:.3f} nats, {held_out / math.log(2):.3f} bits a character")
    print("-" * 80)
    print(go_on(model, ["The "], args)[0])
    print("-" * 80)
    shown = text[cut:].split("\n")[-60:][:24]  # of the end of the held-out text
    draw_surprise(model, "\n".join(line[:90] for line in shown), args.out / "char_lm-surprise.png")
    print(f"see {args.out / 'char_lm-surprise.png'}; the model is in {args.out / 'char_lm.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.LanguageModel.load(args.load, device=args.device)
    for text in go_on(model, args.input or ["The "], args):
        print(text + "\n" + "-" * 80)


if __name__ == "__main__":
    parser = common.options("char_lm", __doc__, epochs=5, data="texts in UTF-8 (default: Python's documentation)",
                            use="beginnings of texts")  # fmt: skip
    parser.add_argument("--hidden", type=int, default=192, help="size H of the states (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.1, help="(default: %(default)s)")
    parser.add_argument(
        "--batch", type=int, default=32, help="streams that are read side by side (default: %(default)s)"
    )
    parser.add_argument("--window", type=int, default=50, help="steps between cuts of the graph (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=5e-3, help="Adam's learning rate at first (default: %(default)s)")
    parser.add_argument("--length", type=int, default=400, help="characters to write (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="lower is safer (default: %(default)s)")
    parser.add_argument("--top-p", type=float, default=0.95, help="the most probable ones that have this probability "
                        "together (default: %(default)s)")  # fmt: skip
    common.run(parser, train, use)
