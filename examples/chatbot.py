"""A chat about a small world: questions about trains, answered by a network trained on examples alone.

    python examples/chatbot.py
    python examples/chatbot.py --load out/chatbot.safetensors "when does the train to paris leave?"
    python examples/chatbot.py --load out/chatbot.safetensors        # a conversation; an empty line ends it

The world is a timetable: five cities, each with a time, a platform, a price and a duration. Questions ask for one of
them in many ways, or compare two cities. The test questions are new: for each city, some of the wordings were never
asked in training. So an answer must combine the meaning of the words with the knowledge of the city. `--out` receives

    chatbot.safetensors    the model with its words
    chatbot-attention.png  the attention of an answer to its question's words
    chatbot-losses.png     the losses
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import common
import numpy as np

import nlp
import nn

# city: (leaves at, platform, price, hours)
WORLD = {
    "paris": ("nine", "two", "eighty", "three"), "rome": ("ten", "seven", "ninety", "nine"),
    "vienna": ("noon", "four", "sixty", "six"), "berlin": ("eight", "one", "fifty", "four"),
    "madrid": ("midnight", "five", "seventy", "eleven"),
}  # fmt: skip
PLACES = ("eight", "nine", "ten", "noon", "midnight")  # the times in their order
NUMBERS = ("three", "four", "six", "nine", "eleven", "fifty", "sixty", "seventy", "eighty", "ninety")  # the others
ASKED = {
    "time": (
        ["when does the train to {c} leave?", "what time does the {c} train go?", "at what time can i leave for {c}?",
         "tell me when the train to {c} departs.", "i want to go to {c}, when is the train?",
         "when is the next train to {c}?", "{c}, at what time please?"],
        "the train to {c} leaves at {0}.",
    ),
    "platform": (
        ["from which platform does the {c} train leave?", "where do i find the train to {c}?",
         "what platform for {c}?", "which platform is it for {c} please?", "where does the train to {c} go from?",
         "i am looking for the train to {c}."],
        "the train to {c} is on platform {1}.",
    ),
    "price": (
        ["how much is a ticket to {c}?", "what does it cost to go to {c}?", "what is the price of a ticket to {c}?",
         "can you tell me the price for {c}?", "how much do i pay for {c}?", "a ticket to {c} please, how much is it?"],
        "a ticket to {c} is {2} euros.",
    ),
    "duration": (
        ["how long does it take to {c}?", "how many hours is it to {c}?", "how long is the journey to {c}?",
         "is it a long way to {c}?", "how long will i sit on the train to {c}?"],
        "it takes {3} hours to {c}.",
    ),
}  # fmt: skip
COMPARED = {
    "which is cheaper, {c} or {d}?": (2, "{x} is cheaper.", NUMBERS),
    "is it cheaper to go to {c} or to {d}?": (2, "{x} is cheaper.", NUMBERS),
    "which train leaves first, {c} or {d}?": (0, "the train to {x} leaves first.", PLACES),
    "what is nearer, {c} or {d}?": (3, "{x} is nearer.", NUMBERS),
    "which journey is shorter, the one to {c} or the one to {d}?": (3, "{x} is nearer.", NUMBERS),
}
POLITE = ("", "hello, ", "excuse me, ", "please, ", "sorry, ", "good morning, ")


def conversations(seed: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(question, answer) pairs: for training, and for testing, with wordings that were not asked about that city."""
    rng = np.random.default_rng(seed)
    known, unseen = [], []
    for city, facts in WORLD.items():
        for wordings, answer in ASKED.values():
            held_out = rng.integers(len(wordings))
            for k, (wording, polite) in enumerate(itertools.product(wordings, POLITE)):
                pair = (polite + wording.format(c=city), answer.format(*facts, c=city))
                (unseen if k // len(POLITE) == held_out else known).append(pair)
    for (c, d), (wording, (fact, answer, order)) in itertools.product(
        itertools.permutations(WORLD, 2), COMPARED.items()
    ):
        first = min((c, d), key=lambda city: order.index(WORLD[city][fact]))
        test = rng.random() < 0.1
        for polite in POLITE:
            pair = (polite + wording.format(c=c, d=d), answer.format(x=first))
            (unseen if test else known).append(pair)
    return known, unseen


def reply(model: Any, questions: list[str]) -> nlp.Decoded:
    words = model.texts["words"]
    for question in questions:
        if not words.tokenize(question):
            raise ValueError("a question has at least one word")
    ids = nlp.pad(words.encode_batch(questions, eos=True))
    return nlp.beam_search(model, model.start(ids), beam=4, max_length=20, forbidden=[words.vocabulary.unk_id])


def train(args: argparse.Namespace) -> None:
    if args.data:
        pairs = [(q, a) for path in args.data for q, a in nlp.read_tsv(path, fields=2)]
        np.random.default_rng(args.seed).shuffle(pairs)
        cut = max(len(pairs) // 10, 1)
        known, unseen = pairs[cut:], pairs[:cut]
    else:
        known, unseen = conversations(args.seed)
    words = nlp.WordTokenizer(lowercase=True).fit([text for pair in known for text in pair])
    v = words.vocabulary
    print(f"{len(known):,} questions with answers, {len(v)} different words; {len(unseen)} questions for testing")

    def encoded(pairs: list[tuple[str, str]]) -> list[tuple[Any, Any]]:
        return [(words.encode(q, eos=True), words.encode(a, bos=True, eos=True)) for q, a in pairs]

    model = nlp.Seq2Seq(
        len(v), len(v), 64, args.hidden, bos_id=v.bos_id, eos_id=v.eos_id, cell="gru", dropout=0.1,
        device=args.device,
    )  # fmt: skip
    optimizer = nn.Adam(model.named_parameters(), lr=args.lr, clip_norm=1.0)
    batches = nlp.Batches(encoded(known), batch_size=32, shuffle=True, by_length=True, seed=args.seed, shard=args.group)
    common.fit(args, model, optimizer, batches, nlp.Batches(encoded(unseen), batch_size=100, shard=args.group))
    model.eval().save(args.out / "chatbot.safetensors", words=words)

    found = reply(model, [q for q, _ in unseen])
    answers = found.texts(words)
    gold = [words.decode(words.encode(a)) for _, a in unseen]
    right = [a == b for a, b in zip(answers, gold, strict=True)]
    print(f"{np.mean(right):.1%} of the answers to unseen questions are right, word for word")
    for n in np.random.default_rng(1).permutation(len(unseen))[:8]:
        print(f"  {unseen[n][0]}\n    {answers[n]}" + ("" if right[n] else f"\n    should be: {gold[n]}"))
    picture = args.out / "chatbot-attention.png"
    found.attention_map(0, source=[*words.tokenize(unseen[0][0]), "end"], target=v, path=picture)
    print(f"see {picture}; the model is in {args.out / 'chatbot.safetensors'}")


def use(args: argparse.Namespace) -> None:
    model = nlp.Seq2Seq.load(args.load, device=args.device)
    questions = args.input or iter(lambda: input("> ").strip(), "")
    try:
        for question in questions:
            print(reply(model, [question]).texts(model.texts["words"])[0])
    except EOFError:
        print()


if __name__ == "__main__":
    parser = common.options("chatbot", __doc__, epochs=20, data="files of questions, a tab, and answers",
                            use="questions; without any, a conversation")  # fmt: skip
    parser.add_argument("--hidden", type=int, default=96, help="size H of the states (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=4e-3, help="Adam's learning rate at first (default: %(default)s)")
    common.run(parser, train, use)
