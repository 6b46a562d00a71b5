"""Files: every reader, given damaged files, raises ValueError or OSError, quickly and in little memory.

Each reader gets thousands of damaged copies of good files (bytes and lengths changed, JSON altered inside a valid
container), and bombs: files that are small only on disk, are nested deeply, or promise more than they hold. A file that
is still accepted is used as well.
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import random
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as bytes_of

sys.path.insert(0, str(Path(__file__).parents[2]))

import minigrad as mg
import nlp
import nn
from nlp.models.model import Model
from tests.trust.common import arguments, conclude
from tests.trust.fuzzing import BOMB_SECONDS, SECONDS, damaged, nested, tried, twisted

Read = Callable[[str], Any]
TEXT = "I go to the mall today.\nDas ist größer, 東京 🙂.\n\nlast line"
TABLE = "EU\tNNP\tB-ORG\nrejects\tVBZ\tO\n\nGerman\tJJ\tB-MISC\ncall\tNN\tO\n"
PLAIN = Path(__file__)  # an intact file beside a damaged one


def trainer() -> nn.Trainer:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = nn.Adam(model.named_parameters(), lr=0.1, clip_norm=1.0)
    schedule = nn.StepLR(optimizer, step_size=2)
    return nn.Trainer(model, optimizer, lambda m, b: (m(b) ** 2).mean(), schedule=schedule, progress=False)


def resume(path: str) -> None:
    """Resume in a trainer, which must be unchanged if it refuses."""
    made = trainer()
    before = [p.numpy() for p in made.model.parameters()]
    try:
        made.resume(path)
    except Exception:
        assert all(np.array_equal(p.data, old) for p, old in zip(made.model.parameters(), before, strict=True))
        raise


def use(tokenizer: Any) -> Any:
    return tokenizer.decode(range(len(tokenizer)))


def first(vectors: nlp.WordVectors) -> Any:
    return vectors[vectors.words[0]] if len(vectors) else None  # a damaged file may hold other words, or none


READERS: dict[str, tuple[str, Read]] = {  # the suffix, and the reader
    "nn.load": (".safetensors", nn.load),
    "nn.load_metadata": (".safetensors", nn.load_metadata),
    "nn.load_checkpoint": (".ckpt", nn.load_checkpoint),
    "Trainer.resume": (".ckpt", resume),
    "Model.load": (".safetensors", Model.load),
    "Tokenizer.load": (".json", lambda path: use(nlp.Tokenizer.load(path))),
    "BPETokenizer.load": (".json", lambda path: use(nlp.BPETokenizer.load(path))),
    "Vocabulary.load": (".json", lambda path: list(nlp.Vocabulary.load(path))),
    "WordVectors text": (".txt", nlp.WordVectors.load),
    "WordVectors text .gz": (".txt.gz", nlp.WordVectors.load),
    "WordVectors binary": (".bin", nlp.WordVectors.load),
    "WordVectors binary .xz": (".bin.xz", nlp.WordVectors.load),
    "WordVectors safetensors": (".safetensors", nlp.WordVectors.load),
    "WordVectors mapped": (".safetensors", lambda path: first(nlp.WordVectors.load(path, mmap=True))),
    "read_text": (".txt", nlp.read_text),
    "read_lines .gz": (".gz", lambda path: sum(1 for _ in nlp.read_lines(path))),
    "read_lines .xz": (".xz", lambda path: sum(1 for _ in nlp.read_lines(path))),
    "read_tsv": (".tsv", lambda path: list(nlp.read_tsv(path, columns=(0, 2)))),
    "read_columns": (".conll", lambda path: list(nlp.read_columns(path, columns=(0, 2)))),
    "read_pairs": (".de", lambda path: list(nlp.read_pairs(path, PLAIN))),
}


def good_files(folder: Path) -> dict[str, list[bytes]]:
    """Valid files for each reader."""
    mg.manual_seed(0)

    def written(name: str, write: Callable[[Path], Any]) -> bytes:
        write(folder / name)
        return (folder / name).read_bytes()

    run = trainer()
    run.fit([mg.randn(4, 2)] * 3, epochs=2)
    lines = TEXT.splitlines()
    word, character, pieces = nlp.WordTokenizer().fit(lines), nlp.CharTokenizer().fit(lines), nlp.NGramTokenizer(2)
    bpe = nlp.BPETokenizer(vocab_size=280).fit([TEXT])
    vectors = nlp.WordVectors(["go", "home", "größer"], np.arange(12, dtype=np.float32).reshape(3, 4) + 1)
    weights = written("a.safetensors", lambda path: nn.save(nn.LSTM(2, 3), path, {"note": "a text"}))
    classifier = nlp.SequenceClassifier(len(word), 2, embedding_size=3, hidden_size=3)
    model = written("b.safetensors", lambda path: classifier.save(path, words=word))
    checkpoint = written("c.ckpt", run.save)
    parts: dict[str, Any] = {"a": (1, [2.5, None]), 3: mg.ones(2), "s": np.float32(1), "x": float("nan"), "i": 10**3000}
    various = written("d.ckpt", lambda path: nn.save_checkpoint(path, parts=parts))
    texts = [written(f"{k}.json", t.save) for k, t in enumerate((word, character, pieces.fit(lines), bpe))]
    vocabulary = written("v.json", word.vocabulary.save)
    text, binary = written("v.txt", vectors.save), written("v.bin", vectors.save)
    tensors = written("v.safetensors", vectors.save)
    plain, table = TEXT.encode(), TABLE.encode()
    zipped, packed = gzip.compress(plain * 20), lzma.compress(plain * 20)
    return {
        "nn.load": [weights, model], "nn.load_metadata": [weights, model],
        "nn.load_checkpoint": [various, checkpoint], "Trainer.resume": [checkpoint], "Model.load": [model],
        "Tokenizer.load": texts, "BPETokenizer.load": texts[3:], "Vocabulary.load": [vocabulary],
        "WordVectors text": [text, text.partition(b"\n")[2]], "WordVectors text .gz": [gzip.compress(text)],
        "WordVectors binary": [binary], "WordVectors binary .xz": [lzma.compress(binary)],
        "WordVectors safetensors": [tensors], "WordVectors mapped": [tensors],
        "read_text": [plain], "read_lines .gz": [zipped], "read_lines .xz": [packed],
        "read_tsv": [table.replace(b"\n\n", b"\n")], "read_columns": [table], "read_pairs": [PLAIN.read_bytes()],
    }  # fmt: skip


# ---- inside a valid container ------------------------------------------------------------------------------------


def with_header(data: bytes, header: bytes) -> bytes:
    """A safetensors file with another header of the right length."""
    size = int.from_bytes(data[:8], "little")
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def changed(data: bytes, rng: random.Random) -> bytes:
    """A file with changed bytes, or with valid bytes of another meaning."""
    kind = rng.randrange(3)
    if kind == 0:
        return damaged(data, rng)
    if data[:2] == b"\x1f\x8b":
        return gzip.compress(damaged(gzip.decompress(data), rng), 1)
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.compress(damaged(lzma.decompress(data), rng), preset=0)
    if data[:1] == b"{":
        return json.dumps(twisted(json.loads(data), rng)).encode()
    size = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{" or size > len(data):
        return damaged(data, rng)
    header = json.loads(data[8 : 8 + size])
    if kind == 1 and "tree.json" in header:
        arrays = dict(arrays_of(data))
        tree = json.dumps(twisted(json.loads(arrays["tree.json"].tobytes()), rng)).encode()
        return bytes_of(arrays | {"tree.json": np.frombuffer(tree, np.uint8)}, header["__metadata__"])
    if kind == 1 and "nlp.model" in header.get("__metadata__", {}):
        header["__metadata__"]["nlp.model"] = json.dumps(twisted(json.loads(header["__metadata__"]["nlp.model"]), rng))
        return with_header(data, json.dumps(header).encode())
    return with_header(data, json.dumps(twisted(header, rng)).encode())


def bombs(good: bytes, suffix: str) -> list[bytes]:
    """Files that hold, or promise, far more than their size."""
    found = [
        b"",
        nested(100_000),
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b"9" * 1_000_000,
        b'{"version": ' + b"9" * 100_000 + b"}",
    ]
    found += [struct.pack("<Q", size) + b"{" for size in (2**63, 2**64 - 1, 2**40, 2**31)]
    found += [
        b"999999999999 300\nword 1 2 3\n",
        b"3 1048576\na ",
        b"1 99999999999999999\na 1\n",
        b"a " + b"1 " * 2_000_000,
    ]
    if good[8:9] == b"{":
        found += [with_header(good, b'{"a":' * 10_000 + b"1" + b"}" * 10_000), with_header(good, nested(100_000))]
        for shape in ([2**62, 0], [2**32, 2**32], [0] * 1000, [1] * 100):
            entry = {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
            found.append(with_header(good, json.dumps(entry).encode()))
    if "tree.json" in (arrays := arrays_of(good) if good[8:9] == b"{" else {}):
        for tree in (b'{"a":' + nested(100_000) + b"}", b'{"a":{"$int":"0x' + b"f" * 1_000_000 + b'"}}'):
            found.append(bytes_of(arrays | {"tree.json": np.frombuffer(tree, np.uint8)}, {"nn.checkpoint": "1"}))
    if suffix.endswith(".gz"):
        pump = zlib.compressobj(9, wbits=31)
        found.append(b"".join(pump.compress(bytes(2**20)) for _ in range(3000)) + pump.flush())  # 3 GB of zeros
        found.append(gzip.compress(b"\n" * 2**22) + gzip.compress(b"3 3\n") * 1000)
    if suffix.endswith(".xz"):
        found.append(lzma.compress(bytes(2**28), preset=0))
        hungry = bytearray(lzma.compress(b"a line\n" * 10))
        end = 12 + 4 * hungry[12]  # of the first block's header, with the size of the dictionary
        hungry[16] = 40  # 4 GB
        hungry[end : end + 4] = struct.pack("<I", zlib.crc32(hungry[12:end]))
        found.append(bytes(hungry))
    return found


def main() -> None:
    options = arguments(__doc__, inputs=(1000, 100_000))
    faults, total, read, most = [], 0, 0, 0
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as place:
        folder = Path(place)
        for name, good in good_files(folder).items():
            suffix, reader = READERS[name]
            path = folder / f"damaged{suffix}"

            def one(number: int, good: list[bytes] = good, name: str = name) -> bytes:
                rng = random.Random(f"{options.seed} {name} {number}")
                return changed(rng.choice(good), rng)

            heavy = bombs(good[0], suffix)
            for sound in good:
                path.write_bytes(sound)
                reader(str(path))
            for title, inputs, count, seconds in (("", one, options.inputs, SECONDS),
                                                  ("bomb ", heavy.__getitem__, len(heavy), BOMB_SECONDS)):  # fmt: skip
                found = tried(reader, path, inputs, count, seconds)
                total, read, most = total + found.inputs, read + found.read, max(most, found.memory)
                faults += [f"{name}, {title}{fault}" for fault in found.faults]
    conclude("files", f"{total:,} damaged files for {len(READERS)} readers ({read:,} still read), documented errors "
             f"only, at most {most / 2**20:.0f} MiB", faults)  # fmt: skip


if __name__ == "__main__":
    main()
