"""From one language to another: by default English numbers to French ones, "ninety-two" to "quatre-vingt-douze".

    python examples/translate.py [--attention general]
    python examples/translate.py --load out/translate.safetensors "ninety-seven thousand and one"
    python examples/translate.py --data train.de train.en --min-freq 2 --hidden 512 --dropout 0.5 --batch 128

Numbers are a small language with a real grammar: French counts by twenties from seventy on, says "et un" but
"quatre-vingt-un", and drops the s of "cents" before another word. The test numbers are not among the training numbers.
With `--data`, line n of the second file translates line n of the first; the last tenth (at most 1,000 lines) are for
testing. `--out` receives

    translate.safetensors    the model with both vocabularies
    translate-attention.png  the attention of the decoder
    translate-beam.svg       the beam that found a translation
    translate-losses.png     the losses
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import numpy as np

import nlp
import nn

# ---- numbers, in words -------------------------------------------------------------------------------------------

ENGLISH = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
           "seventeen eighteen nineteen").split()  # fmt: skip
ENGLISH_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
FRENCH = "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize".split()
FRENCH_TENS = "- - vingt trente quarante cinquante soixante".split()


def english(n: int) -> str:
    """A number below a million in British English."""
    if n < 20:
        return ENGLISH[n]
    if n < 100:
        return ENGLISH_TENS[n // 10] + (f"-{ENGLISH[n % 10]}" if n % 10 else "")
    if n < 1000:
        rest = f" and {english(n % 100)}" if n % 100 else ""
        return f"{ENGLISH[n // 100]} hundred{rest}"
    link = " and " if n % 1000 < 100 else " "
    return f"{english(n // 1000)} thousand" + (f"{link}{english(n % 1000)}" if n % 1000 else "")


def french(n: int, final: bool = True) -> str:
    """A number below a million in French; `final`: nothing follows, so "cents" and "vingts" keep their s."""
    if n < 17:
        return FRENCH[n]
    if n < 20:
        return f"dix-{FRENCH[n - 10]}"
    if n < 70:
        tens, one = FRENCH_TENS[n // 10], n % 10
        return tens if not one else f"{tens} et un" if one == 1 else f"{tens}-{FRENCH[one]}"
    if n < 80:
        return "soixante et onze" if n == 71 else f"soixante-{french(n - 60)}"
    if n < 100:
        return f"quatre-vingt{'s' if final else ''}" if n == 80 else f"quatre-vingt-{french(n - 80)}"
    if n < 1000:
        hundreds = "" if n < 200 else f"{FRENCH[n // 100]} "
        if n % 100:
            return f"{hundreds}cent {french(n % 100, final)}"
        return f"{hundreds}cent{'s' if hundreds and final else ''}"
    thousands = "" if n < 2000 else f"{french(n // 1000, False)} "
    return f"{thousands}mille" + (f" {french(n % 1000)}" if n % 1000 else "")


# ---- training and using ------------------------------------------------------------------------------------------


def pairs_of(args: argparse.Namespace) -> list[tuple[str, str]]:
    """(source, target) sentences, those for testing last."""
    if not args.data:
        numbers = np.random.default_rng(args.seed).permutation(10**5)[:6000]
        return [(english(int(n)), french(int(n))) for n in numbers]
    if len(args.data) != 2:
        raise ValueError("--data takes two files, of sources and of targets")
    pairs = [pair for pair in nlp.read_pairs(*args.data) if pair[0].strip() and pair[1].strip()]
    if len(pairs) < 20:
        raise ValueError(f"{len(pairs)} pairs of sentences are too few to learn from")
    return pairs


def translate(model: Any, sentences: list[str], beam: int) -> nlp.Decoded:
    """The translations found by beam search; unknown words become unknown tokens."""
    source = model.texts["source"]
    for sentence in sentences:
        if not source.tokenize(sentence):
            raise ValueError(f"there is no word in {sentence!r}")
    words = nlp.pad(source.encode_batch(sentences, eos=True))
    unknown = model.texts["target"].vocabulary.unk_id
    return nlp.beam_search(
        model, model.start(words), beam=beam, max_length=2 * len(words.values) + 5, length_penalty=0.6,
        forbidden=[unknown],
    )  # fmt: skip


def train(args: argparse.Namespace) -> None:
    pairs = pairs_of(args)
    unseen = min(1000, len(pairs) // 10)
    pairs, tests = pairs[:-unseen], pairs[-unseen:]
    source, target = (nlp.WordTokenizer(min_freq=args.min_freq).fit([pair[side] for pair in pairs]) for side in (0, 1))
    v = target.vocabulary
    print(f"{len(pairs):,} pairs, {len(source):,} and {len(v):,} different words")

    def encoded(pairs: list[tuple[str, str]]) -> list[tuple[Any, Any]]:
        return [(source.encode(x, eos=True), target.encode(y, bos=True, eos=True)) for x, y in pairs]

    model = nlp.Seq2Seq(
        len(source), len(v), args.embedding, args.hidden, bos_id=v.bos_id, eos_id=v.eos_id, readout_size=args.hidden,
        attention=None if args.attention == "none" else args.attention, dropout=args.dropout, device=args.device,
    )  # fmt: skip
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=1.0)
    shared: Any = {"by_length": True, "shard": args.group}
    batches = nlp.Batches(encoded(pairs), batch_size=args.batch, shuffle=True, seed=args.seed, **shared)
    common.fit(args, model, optimizer, batches, nlp.Batches(encoded(tests), batch_size=200, **shared),
               items=lambda batch: int((batch[1].lengths - 1).sum()))  # fmt: skip
    model.eval().save(args.out / "translate.safetensors", source=source, target=target)

    found = translate(model, [x for x, _ in tests], args.beam)
    answers = [target.decode(ids, skip_special=True) for ids in found.ids]
    gold = [target.decode(target.encode(y)) for _, y in tests]
    exact = np.mean([a == b for a, b in zip(answers, gold, strict=True)])
    print(f"of {len(tests)} unseen sentences {exact:.1%} are translated word for word; {nlp.bleu(answers, gold)}")
    for (x, y), answer in zip(tests[:6], answers, strict=False):
        print(f"  {x}\n    {answer}" + ("" if answer == target.decode(target.encode(y)) else f"\n    should be: {y}"))
    shown = int(np.argmin([abs(len(x.split()) - 8) for x, _ in tests]))
    if args.attention != "none":
        picture = args.out / "translate-attention.png"
        found.attention_map(shown, source=[*source.tokenize(tests[shown][0]), "end"], target=v, path=picture)
    found.tree(shown, tokens=target.vocabulary).render(args.out / "translate-beam.svg")
    print(f"see {args.out / 'translate-beam.svg'}; the model is in {args.out / 'translate.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.Seq2Seq.load(args.load, device=args.device)
    found = translate(model, args.input, args.beam)
    for sentence, answer in zip(args.input, found.texts(model.texts["target"]), strict=True):
        print(f"{sentence}\n  {answer}")


if __name__ == "__main__":
    parser = common.options("translate", __doc__, epochs=6, data="two files, line n of one translating line n of the "
                            "other (default: numbers in words)", use="sentences")  # fmt: skip
    parser.add_argument("--attention", choices=("additive", "dot", "general", "concat", "none"), default="additive")
    parser.add_argument("--embedding", type=int, default=64, help="size of a word's vector (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=128, help="size H of the states (default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.0, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="sentences in a batch (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=4e-3, help="Adam's learning rate at first (default: %(default)s)")
    parser.add_argument("--min-freq", type=int, default=1, help="rarer words are unknown (default: %(default)s)")
    parser.add_argument("--beam", type=int, default=4, help="hypotheses that are pursued (default: %(default)s)")
    common.run(parser, train, use)
