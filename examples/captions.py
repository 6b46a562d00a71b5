"""From a picture to words: a handwritten digit, and its name spelled out.

    python examples/captions.py
    python examples/captions.py --load out/captions.safetensors 12 345

The pictures are scikit-learn's 8 × 8 digits; a picture gives the initial state of an LSTM, which writes the caption
letter by letter: "seven". The test digits are by other people than the training digits. After `--load FILE`, give
numbers of test pictures. `--out` receives

    captions.safetensors  the model with its letters
    captions.png          test pictures with the written captions
    captions-beam.svg     the beam search for the least certain caption
    captions-losses.png   the losses
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import numpy as np
from sklearn.datasets import load_digits

import nlp
import nn

NAMES = "zero one two three four five six seven eight nine".split()
PEOPLE = 1400  # the first pictures, by the writers of the training set; the others are for testing


def pictures(test: bool) -> tuple[np.ndarray, list[str]]:
    """Pictures (N, 8, 8) with ink from 0 to 1, and their captions."""
    digits = load_digits()
    part = slice(PEOPLE, None) if test else slice(PEOPLE)
    return (digits.images[part] / 16).astype(np.float32), [NAMES[n] for n in digits.target[part]]


def features(images: np.ndarray) -> np.ndarray:
    """(N, 8, 8) as vectors (N, 64)."""
    return images.reshape(len(images), -1)


def describe(model: Any, images: np.ndarray, beam: int = 4) -> nlp.Decoded:
    return nlp.beam_search(model, model.start(features(images)), beam=beam, max_length=20)


def draw(images: np.ndarray, captions: list[str], truth: list[str], path: Any) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, 10, figsize=(10, 4.8), layout="constrained")
    wrong = [n for n, caption in enumerate(captions) if caption != truth[n]]
    shown = [*range(40 - min(len(wrong), 10)), *wrong[:10]]  # the last ones are mistakes
    for ax, n in zip(axes.flat, shown, strict=True):
        image, caption, right = images[n], captions[n], truth[n]
        ax.imshow(image, cmap="gray_r")
        ax.set_title(caption, fontsize=10, color="black" if caption == right else "#BB5566")
        ax.set_axis_off()
    figure.savefig(path, dpi=130)


def train(args: argparse.Namespace) -> None:
    if args.data:
        raise ValueError("--data: the pictures are those of scikit-learn; this example takes no others")
    (images, captions), (tests, truth) = pictures(test=False), pictures(test=True)
    tokenizer = nlp.CharTokenizer().fit(captions)
    v = tokenizer.vocabulary
    model = nlp.Captioner(
        64,
        len(v),
        16,
        args.hidden,
        bos_id=v.bos_id,
        eos_id=v.eos_id,
        every_step=True,
        dropout=args.dropout,
        device=args.device,
    )
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=1.0)

    def batches_of(images: np.ndarray, captions: list[str], **order: Any) -> nlp.Batches:
        examples = list(zip(features(images), tokenizer.encode_batch(captions, bos=True, eos=True), strict=True))

        def joined(batch: list[Any]) -> tuple[Any, nlp.Padded]:
            return np.stack([v for v, _ in batch]), nlp.pad([ids for _, ids in batch])

        return nlp.Batches(examples, batch_size=50, collate=joined, shard=args.group, **order)

    batches = batches_of(images, captions, shuffle=True, seed=args.seed)
    common.fit(args, model, optimizer, batches, batches_of(tests, truth))
    model.eval().save(args.out / "captions.safetensors", letters=tokenizer)

    found = describe(model, tests)
    answers = found.texts(tokenizer)
    right = np.mean([a == b for a, b in zip(answers, truth, strict=True)])
    print(f"{right:.1%} of {len(tests)} pictures by other hands have the right caption, letter by letter")
    draw(tests, answers, truth, args.out / "captions.png")
    unsure = int(np.argmin([best.log_p for best in found.best]))
    found.tree(unsure, tokens=v).render(args.out / "captions-beam.svg")
    print(f"see {args.out / 'captions.png'}; the model is in {args.out / 'captions.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.Captioner.load(args.load, device=args.device)
    images, truth = pictures(test=True)
    if wrong := [text for text in args.input if not text.isdigit() or int(text) >= len(images)]:
        raise ValueError(f"{wrong[0]!r}: give numbers of test pictures, from 0 to {len(images) - 1}")
    for text in args.input:
        n = int(text)
        for row in images[n]:
            print("".join(" .:*#"[min(int(5 * ink), 4)] * 2 for ink in row))
        found = describe(model, images[n : n + 1])
        print(f"picture {n}: {found.texts(model.texts['letters'])[0]}; it is {truth[n]}\n")


if __name__ == "__main__":
    parser = common.options("captions", __doc__, epochs=25, data="is not for this example", use="numbers of pictures")
    parser.add_argument("--dropout", type=float, default=0.2, help="(default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=96, help="size H of the states (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=4e-3, help="Adam's learning rate at first (default: %(default)s)")
    common.run(parser, train, use)
