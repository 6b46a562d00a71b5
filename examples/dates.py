"""Dates as people write them, to dates as machines do: "3rd of May 1979" to 1979-05-03, with attention.

    python examples/dates.py [--epochs 4] [--data FILE]
    python examples/dates.py --load out/dates.safetensors "May 3, 1979" "thursday 1 june 2006"

A character model: a bidirectional encoder, additive attention, a decoder (Bahdanau, Cho & Bengio 2015). It has to learn
the meaning of a month's name, which number is the day, and to ignore the weekday. The test dates are other days than
the training dates. A FILE has a date and its ISO form in each line, with a tab between. `--out` receives

    dates.safetensors   the model with its characters
    dates-attention.png the attention of the decoder
    dates-losses.png    the losses
"""

from __future__ import annotations

import argparse
import datetime
from typing import Any

import common
import numpy as np

import nlp
import nn

FORMS = ("{day} {month} {year}", "{month} {day}, {year}", "{weekday}, {day} {month} {year}",
         "{day}{th} of {month} {year}", "{weekday} {month} {day} {year}", "{month} {day}{th} {year}",
         "{year} {month} {day}", "{day}.{number}.{year}", "{number}/{day}/{year}", "the {day}{th} of {month}, {year}",
         "{day} {short} {year}", "{short} {day}, '{yy}")  # fmt: skip
MAX_LENGTH = 12  # of a date in ISO 8601, with a margin


def written(date: datetime.date, form: str, case: int) -> str:
    """A date as somebody might write it."""
    th = "th" if 11 <= date.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(date.day % 10, "th")
    month = date.strftime("%B")
    text = form.format(
        day=date.day, th=th, month=month, short=month[:3], number=date.month, year=date.year,
        yy=f"{date.year % 100:02}", weekday=date.strftime("%A"),
    )  # fmt: skip
    return (text, text.lower(), text.upper())[case]


def examples(days: Any, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(as people write it, as machines do) for days since the first of January 1950."""
    first = datetime.date(1950, 1, 1)
    dates = [first + datetime.timedelta(int(day)) for day in days]
    return [(written(d, FORMS[rng.integers(len(FORMS))], rng.integers(3)), d.isoformat()) for d in dates]


def write(model: Any, texts: list[str]) -> nlp.Decoded:
    """The model's conversion of texts; errors for characters that it never saw."""
    tokenizer = model.texts["tokenizer"]
    for text in texts:
        if not text.strip():
            raise ValueError("there is nothing in the date")
        if unknown := sorted(set(text) - set(tokenizer.vocabulary)):
            raise ValueError(f"{text!r}: the model never saw {', '.join(map(repr, unknown))} in a date")
    return nlp.greedy(model, model.start(nlp.pad(tokenizer.encode_batch(texts))), max_length=MAX_LENGTH)


def train(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(args.seed)
    if args.data:
        pairs = [(x, y) for path in args.data for x, y in nlp.read_tsv(path, fields=2)]
        rng.shuffle(pairs)
    else:
        pairs = examples(rng.permutation(80 * 365)[:21_000], rng)  # up to 2029
    unseen = min(1000, len(pairs) // 10)
    tests, pairs = pairs[:unseen], pairs[unseen:]
    tokenizer = nlp.CharTokenizer().fit([text for pair in pairs for text in pair])
    v = tokenizer.vocabulary

    def encoded(pairs: list[tuple[str, str]]) -> list[tuple[Any, Any]]:
        return [(tokenizer.encode(x), tokenizer.encode(y, bos=True, eos=True)) for x, y in pairs]

    model = nlp.Seq2Seq(
        len(v), len(v), args.embedding, args.hidden, bos_id=v.bos_id, eos_id=v.eos_id, device=args.device
    )
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=1.0)
    mixed: Any = {"shuffle": True, "by_length": True, "seed": args.seed}
    batches = nlp.Batches(encoded(pairs), batch_size=100, shard=args.group, **mixed)
    common.fit(args, model, optimizer, batches, nlp.Batches(encoded(tests), batch_size=200, shard=args.group))
    model.eval().save(args.out / "dates.safetensors", tokenizer=tokenizer)

    found = write(model, [x for x, _ in tests])
    answers = found.texts(tokenizer)
    right = [answer == y for answer, (_, y) in zip(answers, tests, strict=True)]
    print(f"{np.mean(right):.1%} of {len(tests)} unseen dates are right")
    for (x, y), answer in zip(tests[:8], answers, strict=False):
        print(f"  {x:34} {answer}" + ("" if answer == y else f"  should be {y}"))
    longest = int(np.argmax([len(x) for x, _ in tests[:50]]))
    picture = args.out / "dates-attention.png"
    found.attention_map(longest, source=list(tests[longest][0]), target=v, path=picture)
    print(f"see {picture}; the model is in {args.out / 'dates.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.Seq2Seq.load(args.load, device=args.device)
    for text, answer in zip(args.input, write(model, args.input).texts(model.texts["tokenizer"]), strict=True):
        print(f"{text}  →  {answer}")


if __name__ == "__main__":
    parser = common.options("dates", __doc__, epochs=4, data="files of dates, a tab, and their ISO forms", use="dates")
    parser.add_argument("--embedding", type=int, default=32, help="size of a character's vector (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=64, help="size H of the states (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=5e-3, help="Adam's learning rate at first (default: %(default)s)")
    common.run(parser, train, use)
