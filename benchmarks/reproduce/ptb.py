"""Words of the Penn Treebank with 2 × 200 LSTM (Zaremba, Sutskever & Vinyals 2014, non-regularised).

    python -m benchmarks.reproduce.ptb

Weights U(±0.1), SGD with lr 1, halved for each epoch from the fifth on, 13 epochs, B 20, T 20, carried state, norm
clip 5. The paper's loss is a sum over the steps; here it is their mean, so lr is 20 and the clip 5/20.
"""

from __future__ import annotations

import math

import nlp
import nn

from .common import begin, options, write_row
from .language_models import train

if __name__ == "__main__":
    args = begin(options(__doc__, epochs=13))

    def sentences(part: str) -> nlp.Stream[list[str]]:
        return nlp.read_lines(args.data / "ptb" / f"ptb.{part}.txt").map(lambda line: [*line.split(), "<eos>"])

    v = nlp.Vocabulary().fit(sentences("train"))
    ids = {part: v.encode([w for s in sentences(part) for w in s]) for part in ("train", "valid", "test")}
    model = nlp.LanguageModel(len(v), 200, 200, 2, device=args.device)
    for weight in model.parameters():
        nn.init.uniform_(weight, -0.1, 0.1)
    optimizer = nn.SGD(model.named_parameters(), lr=20.0, clip_norm=5 / 20)
    schedule = nn.LambdaLR(optimizer, lambda epoch: 0.5 ** max(epoch + 1 - 4, 0))
    run = train(model, optimizer, 20, schedule=schedule, shown=math.exp)
    run.go(args.out / f"ptb-{args.seed}.ckpt", nlp.LanguageModelBatches(ids["train"], 20, 20), args.epochs,
           nlp.LanguageModelBatches(ids["valid"], 20, 20))  # fmt: skip
    valid, test = (math.exp(run.evaluate(nlp.LanguageModelBatches(ids[part], 1, 20))) for part in ("valid", "test"))
    write_row("PTB words, perplexity", args, f"2×200 LSTM, {args.epochs} epochs", f"valid {valid:.1f}, test {test:.1f}",
              "valid 120.7, test 114.5–115.9 (Zaremba et al. 2014; TF tutorial 121.4, 115.9)", run.seconds, valid=valid,
              test=test)  # fmt: skip
