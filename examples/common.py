"""The common part of the examples of `nlp`: options, and a training loop with its outputs.

Each of them also runs on several processes: `mpiexec -n 4 python examples/word_lm.py`. They share every batch, and rank
0 prints; `args.group` is their group, a group of one without `mpiexec`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import minigrad as mg
import nlp
import nn


def options(name: str, text: str | None, *, epochs: int, data: str, use: str) -> argparse.ArgumentParser:
    """The common options.

    name  of the example, the prefix of its files
    text  the example's docstring
    data  a description of the argument of `--data`
    use   a description of the arguments after `--load FILE`
    """
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=(text or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE", help=data)
    parser.add_argument("--epochs", type=int, default=epochs, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda" (default: %(default)s)')
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what is written (default: out)")
    parser.add_argument("--load", type=Path, metavar="FILE", help="train nothing; use the model in this file")
    parser.add_argument("input", nargs="*", help=f"with --load: {use}")
    parser.set_defaults(name=name)
    return parser


def fit(
    args: argparse.Namespace, model: Any, optimizer: Any, batches: Any, validation: Iterable[Any], *,
    step: Callable[[Any, Any], Any] = lambda model, batch: model.loss(*batch), **settings: Any,
) -> nn.History:  # fmt: skip
    """Train with an `nn.Trainer` until `--epochs` are complete: with a learning rate that decreases to a twentieth, a
    progress bar, a checkpoint after each epoch and on Ctrl-C, from which `--resume` continues, and a picture of the
    losses.

    settings  further arguments of the Trainer
    """
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / f"{args.name}.ckpt"
    schedule = nn.LinearLR(optimizer, 1.0, 0.05, total_iters=args.epochs * len(batches))
    trainer = nn.Trainer(
        model, optimizer, step, schedule=schedule, schedule_every="step", checkpoint=checkpoint, group=args.group,
        **settings,
    )  # fmt: skip
    if args.resume:
        trainer.resume(checkpoint)
        print(f"going on after {trainer.reached.epoch} epochs and {trainer.reached.steps} steps")
    try:
        history = trainer.fit(batches, args.epochs, validation=validation)
    except KeyboardInterrupt:
        raise SystemExit(
            f"\nstopped after {trainer.reached.steps} steps; the same command with --resume goes on from {checkpoint}"
            if args.group.first else 1
        ) from None  # fmt: skip
    if not args.group.first:
        raise SystemExit  # the rest is for one process
    history.plot(args.out / f"{args.name}-losses.png")
    return history


def fit_text(
    args: argparse.Namespace, model: nlp.LanguageModel, optimizer: Any, ids: Any, unseen: Any, **settings: Any
) -> nn.History:  # fmt: skip
    """Train a language model on one long text: `--batch` streams, read side by side in windows of `--window` steps,
    with a state carried from window to window.

    ids, unseen  (L,) the texts for training and for validation
    """
    tbptt = nn.TBPTT(args.window)

    def step(model: nlp.LanguageModel, window: nlp.Window) -> Any:
        h = tbptt(model.encode, window.inputs, reset=window.reset, batch_axis=1)
        return model.loss_of(h, window.targets)

    batches = nlp.LanguageModelBatches(ids, args.batch, args.window, shard=args.group)
    tests = nlp.LanguageModelBatches(unseen, min(args.batch, len(unseen) // 20), args.window, shard=args.group)
    return fit(args, model, optimizer, batches, tests, step=step, carried=tbptt,
               items=lambda window: int((window.targets >= 0).sum()), **settings)  # fmt: skip


def run(parser: argparse.ArgumentParser, train: Callable[[Any], None], use: Callable[[Any], None]) -> None:
    """Read the command line, seed the random numbers, and train, or use a trained model; errors are printed as one
    line.
    """
    args = parser.parse_args()
    mg.manual_seed(args.seed)
    if args.input and args.load is None:
        parser.error(f"{args.input[0]!r}: an input needs --load FILE, a model to use it with")
    args.group = nn.distributed.group()
    if not args.group.first:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end)
    if args.device == "cuda" and args.group.size > 1:
        args.device = args.group.device
    try:
        (train if args.load is None else use)(args)
    except (OSError, ValueError, KeyError, FloatingPointError, ImportError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None
