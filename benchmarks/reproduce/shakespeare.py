"""Characters of tiny Shakespeare with 2 × 128 LSTM, as char-rnn trained it (Karpathy 2015).

    python -m benchmarks.reproduce.shakespeare

RMSProp with lr 2e-3 and a value clip of 5, B 50, T 50, 20 epochs, the first 95 % of the text for training. (char-rnn
takes the last 5 % of each of the 50 streams for validation, which is easier: they come from all over the text.)
"""

from __future__ import annotations

import nlp
import nn

from .common import begin, options, write_row
from .language_models import train

if __name__ == "__main__":
    args = begin(options(__doc__, epochs=20))
    text = nlp.read_text(args.data / "tinyshakespeare" / "input.txt")
    cut = len(text) * 95 // 100
    tokenizer = nlp.CharTokenizer(pad=None, unk=None, bos=None, eos=None).fit([text])
    ids = tokenizer.encode(text)
    model = nlp.LanguageModel(len(tokenizer), 128, 128, 2, device=args.device)
    optimizer = nn.RMSprop(model.named_parameters(), lr=2e-3, clip_value=(-5, 5))
    run = train(model, optimizer, 50)
    run.go(args.out / f"shakespeare-{args.seed}.ckpt", nlp.LanguageModelBatches(ids[:cut], 50, 50), args.epochs,
           nlp.LanguageModelBatches(ids[cut:], 50, 50))  # fmt: skip
    _, losses = run.history.column("validation")
    after = {epoch: losses[epoch - 1] for epoch in (1, 2, 5, 10, 20) if epoch <= len(losses)}
    write_row("tiny Shakespeare, validation nats a character", args, f"2×128 LSTM, {args.epochs} epochs",
              ", ".join(f"{value:.2f} after {epoch}" for epoch, value in after.items()),
              "1.81 after 1, 1.71 after 2, 1.62 after 5, 1.59 after 10, 1.61 after 20 "
              "(PyTorch, same text and settings)",
              run.seconds, **{f"epoch {epoch}": value for epoch, value in after.items()})  # fmt: skip
