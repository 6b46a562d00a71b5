"""German to English on Multi30k, with attention (Bahdanau et al. 2015) and without (Cho et al. 2014).

    python -m benchmarks.reproduce.multi30k --model attention
    python -m benchmarks.reproduce.multi30k --model cho

The settings of bentrevett/pytorch-seq2seq: embeddings 256, GRU 512 (the encoder of "attention" in both directions),
dropout 0.5, Adam with lr 1e-3, B 128, norm clip 1, 10 epochs, words that occur twice. Two differences: the output map
follows tanh of a linear map (512) of its inputs there, and batches are of similar lengths. BLEU is sacrebleu's of the
lower-cased, tokenized text.
"""

from __future__ import annotations

import math
from typing import Any

import nlp
import nn

from .common import Run, begin, options, write_row

MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "attention": ({"attention": "additive"}, "BLEU 28.3, perplexity 25.6"),
    "cho": ({"attention": None, "context": True, "bidirectional": False}, "BLEU 20.6"),
}


def translated(model: nlp.Seq2Seq, batches: nlp.Batches, v: nlp.Vocabulary, beam: int) -> list[str]:
    """The translations of all sources, in their order."""
    found: dict[int, str] = {}
    for numbers, (source, _) in zip(batches.plan(), batches, strict=True):
        decoded = nlp.beam_search(
            model, model.start(source), beam=beam, max_length=60, length_penalty=0.6 if beam > 1 else 0.0,
            forbidden=[v.unk_id],
        )  # fmt: skip
        found |= zip(numbers, decoded.texts(v), strict=True)
    return [found[n] for n in range(len(found))]


if __name__ == "__main__":
    parser = options(__doc__, epochs=10)
    parser.add_argument("--model", choices=MODELS, default="attention")
    args = begin(parser)

    def pairs(part: str) -> list[tuple[list[str], list[str]]]:
        files = [args.data / "multi30k" / "tok" / f"{part}.lc.norm.tok.{language}.txt" for language in ("de", "en")]
        return [(de.split(), en.split()) for de, en in nlp.read_pairs(*files)]

    def vocabulary(sentences: Any) -> nlp.Vocabulary:
        return nlp.Vocabulary(min_freq=2, pad="<pad>", unk="<unk>", bos="<bos>", eos="<eos>").fit(sentences)

    known = pairs("train")
    source, target = vocabulary(de for de, _ in known), vocabulary(en for _, en in known)

    def batches(pairs: Any, **order: Any) -> nlp.Batches:
        ids = [(source.encode([*de, "<eos>"]), target.encode(["<bos>", *en, "<eos>"])) for de, en in pairs]
        return nlp.Batches(ids, batch_size=128, by_length=True, seed=args.seed, **order)

    assert target.bos_id is not None
    assert target.eos_id is not None
    how, published = MODELS[args.model]
    model = nlp.Seq2Seq(
        len(source), len(target), 256, 512, bos_id=target.bos_id, eos_id=target.eos_id, readout_size=512, dropout=0.5,
        device=args.device, **how,
    )  # fmt: skip
    optimizer = nn.Adam(model.named_parameters(), lr=1e-3, clip_norm=1.0)
    run = Run(
        model, optimizer, lambda model, batch: model.loss(*batch), shown=math.exp, restore_best=True, progress=False,
        items=lambda batch: int((batch[1].lengths - 1).sum()), save_steps=100, log_every=100, nonfinite="pass",
    )  # fmt: skip
    run.go(args.out / f"multi30k-{args.model}-{args.seed}.ckpt", batches(known, shuffle=True), args.epochs,
           batches(pairs("val")))  # fmt: skip
    model.eval().save(args.out / f"multi30k-{args.model}-{args.seed}.safetensors", source=source, target=target)

    tests = pairs("test_2016_flickr")
    perplexity = math.exp(run.evaluate(batches(tests)))
    gold = [" ".join(en) for _, en in tests]
    bleu = {beam: nlp.bleu(translated(model, batches(tests), target, beam), gold, tokenize="none").score
            for beam in (1, 5)}  # fmt: skip
    write_row("Multi30k de→en, test 2016", args, f"{args.model}, {args.epochs} epochs",
              f"BLEU {bleu[1]:.1f} greedy, {bleu[5]:.1f} with a beam of 5, perplexity {perplexity:.1f}",
              f"{published} (bentrevett/pytorch-seq2seq)", run.seconds, perplexity=perplexity, bleu=bleu[1],
              bleu_beam_5=bleu[5])  # fmt: skip
