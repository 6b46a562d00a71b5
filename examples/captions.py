"""From a picture to words: two handwritten digits side by side, and the number that they are, spelled out.

    python examples/captions.py
    python examples/captions.py --load out/captions.safetensors 12 345

The pictures are scikit-learn's 8 × 8 digits, two of them joined at random; the caption is written a letter at a time:
"seventy three". The digits on which it is tested are by hands that were not trained on. After `--load FILE`, give
numbers of test pictures. Into `--out` go

    captions.safetensors  the model with its letters
    captions.png          test pictures with the captions that were written
    captions-beam.svg     how the beam search spelled one of them
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

ONES = "zero one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def spelled(n: int) -> str:
    """A number below 100 in words."""
    if n < 10:
        return ONES[n]
    if n < 20:
        return TEENS[n - 10]
    return TENS[n // 10 - 2] + (f" {ONES[n % 10]}" if n % 10 else "")


def pictures(part: str, count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Pictures (count, 8, 16) of numbers, and their captions; the digits of the two parts are different ones."""
    digits, rng = load_digits(), np.random.default_rng(seed)
    ids = np.arange(1400) if part == "train" else np.arange(1400, len(digits.target))
    pairs = rng.choice(ids, (count, 2))
    images = np.concatenate([digits.images[pairs[:, 0]], digits.images[pairs[:, 1]]], axis=2) / 16
    if part == "train":  # moved a little, so that there are more hands than there were
        shifts = rng.integers(-1, 2, (count, 2))
        images = np.stack([np.roll(image, shift, (0, 1)) for image, shift in zip(images, shifts, strict=True)])
    numbers = 10 * digits.target[pairs[:, 0]] + digits.target[pairs[:, 1]]
    return images.astype(np.float32), [spelled(int(n)) for n in numbers]


def features(images: np.ndarray) -> np.ndarray:
    """(N, 8, 16) as vectors (N, 128)."""
    return images.reshape(len(images), -1)


def describe(model: Any, images: np.ndarray, beam: int = 4) -> nlp.Decoded:
    return nlp.beam_search(model, model.start(features(images)), beam=beam, max_length=20)


def draw(images: np.ndarray, captions: list[str], truth: list[str], path: Any) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 5, figsize=(10, 4.2), layout="constrained")
    for ax, image, caption, right in zip(axes.flat, images, captions, truth, strict=False):
        ax.imshow(image, cmap="gray_r")
        ax.set_title(caption, fontsize=10, color="black" if caption == right else "#BB5566")
        ax.set_axis_off()
    figure.savefig(path, dpi=130)


def train(args: argparse.Namespace) -> None:
    if args.data:
        raise ValueError("--data: the pictures are those of scikit-learn; this example takes no others")
    images, captions = pictures("train", 10_000, args.seed)
    tests, truth = pictures("test", 1000, args.seed + 1)
    tokenizer = nlp.CharTokenizer().fit(captions)
    v = tokenizer.vocabulary
    model = nlp.Captioner(
        128, len(v), 32, args.hidden, bos_id=v.bos_id, eos_id=v.eos_id, every_step=True, dropout=0.2, device=args.device
    )
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=1.0)

    def batches_of(images: np.ndarray, captions: list[str], **order: Any) -> nlp.Batches:
        examples = list(zip(features(images), tokenizer.encode_batch(captions, bos=True, eos=True), strict=True))

        def joined(batch: list[Any]) -> tuple[Any, nlp.Padded]:
            return np.stack([v for v, _ in batch]), nlp.pad([ids for _, ids in batch])

        return nlp.Batches(examples, batch_size=100, collate=joined, **order)

    batches = batches_of(images, captions, shuffle=True, seed=args.seed)
    schedule = nn.LinearLR(optimizer, 1.0, 0.05, total_iters=args.epochs * len(batches))
    common.fit(args, model, optimizer, lambda model, batch: model.loss(*batch), batches, schedule=schedule,
               schedule_every="step", validation=batches_of(tests, truth))  # fmt: skip
    model.eval().save(args.out / "captions.safetensors", letters=tokenizer)

    found = describe(model, tests)
    answers = found.texts(tokenizer)
    right = np.mean([a == b for a, b in zip(answers, truth, strict=True)])
    print(f"{right:.1%} of {len(tests)} pictures of digits by other hands have the right caption, letter by letter")
    draw(tests, answers, truth, args.out / "captions.png")
    found.tree(0, tokens=v).render(args.out / "captions-beam.svg")
    print(f"see {args.out / 'captions.png'}; the model is in {args.out / 'captions.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.Captioner.load(args.load, device=args.device)
    images, truth = pictures("test", 1000, args.seed + 1)
    if wrong := [text for text in args.input if not text.isdigit() or int(text) >= len(images)]:
        raise ValueError(f"{wrong[0]!r}: give numbers of test pictures, from 0 to {len(images) - 1}")
    for text in args.input:
        n = int(text)
        for row in images[n]:
            print("".join(" .:*#"[min(int(5 * ink), 4)] * 2 for ink in row))
        found = describe(model, images[n : n + 1])
        print(f"picture {n}: {found.texts(model.texts['letters'])[0]}; it is {truth[n]}\n")


if __name__ == "__main__":
    parser = common.options("captions", __doc__, epochs=8, data="is not for this example", use="numbers of pictures")
    parser.add_argument("--hidden", type=int, default=96, help="size H of the states (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=4e-3, help="Adam's learning rate at first (default: %(default)s)")
    common.run(parser, train, use)
