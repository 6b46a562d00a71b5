"""The reference, written from docstrings: a page for each package, and one for each of its sections.

Docstrings are Markdown with two exceptions: examples have no fence, and arguments are in columns, names and
descriptions. `markdown` makes fences and lists of these.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.util.inspect import stringify_signature

SECTIONS = {
    "minigrad": {
        "Tensors": "tensors creation randomness gradients kinds backend",
        "Functions": "rules primitives vocabulary scan",
        "Derivatives": "backward transforms modes checkpointing tape",
        "Fused and compiled functions": "fusion replay",
        "Scopes, pictures, interventions": "scopes pictures interventions",
        "Finding mistakes": "anomaly checking profiling diagnosis",
    },
    "nn": {
        "Modules": "modules containers",
        "Layers over time": "sequences",
        "Cells": "cells",
        "Layers": "layers crf",
        "Losses": "losses",
        "Optimizers": "optimizers clipping",
        "Schedules": "schedules",
        "Training": "training onnx",
    },
    "nn.diagnose": {},
    "nn.zoo": {},
    "nn.init": {},
    "nn.distributed": {},
    "nlp": {
        "Tokenizers": "tokenizers vocabulary ids",
        "Data": "readers batching padding windows",
        "Word vectors": "vectors word2vec",
        "Models": "models",
        "Decoding": "decoding",
        "Metrics": "metrics",
    },
}
REST = "More"  # the names of all other modules
SENTENCE = re.compile(r".*?(?:(?<!\bal)(?<!\beq)\.(?= [A-Z])|$)")
COLUMN = re.compile(r"(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*) {2,}(\S.*)")


def write(folder: Path) -> None:
    """Write the pages into a folder."""
    for name in SECTIONS:
        for page, text in pages(name).items():
            path = folder / f"{page}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def pages(name: str) -> dict[str, str]:
    """The pages of a package: its own, with a table of all names, and one for each section."""
    package = importlib.import_module(name)
    first = name.replace(".", "-")
    sections: dict[str, list[str]] = {title: [] for title in (*SECTIONS[name], REST)}
    for public in sorted(public_names(package), key=lambda text: (text[:1].islower(), text.lower())):
        sections[_section(name, getattr(package, public))].append(public)
    head = f"# {name}\n\n" + markdown(package.__doc__ or "", headline=True)
    made: dict[str, str] = {}
    for title, names in sections.items():
        if not names:
            continue
        entries = "\n\n".join(entry(f"{name}.{public}", getattr(package, public)) for public in names)
        if not SECTIONS[name]:
            return {first: f"{head}\n\n{_table(name, names)}\n\n{entries}\n"}
        page = f"{first}/{re.sub('[^a-z]+', '-', title.lower())}"
        made[page] = f"# {title}\n\n{entries}\n"
        head += f"\n\n## {title}\n\n{_table(name, names)}"
    inside = "\n".join(made)
    return {first: f"{head}\n\n```{{toctree}}\n:hidden:\n\n{inside}\n```\n"} | made


def _table(package: str, names: list[str]) -> str:
    """A row for each name: the first sentence of its docstring. `names.py` makes links of the names."""
    rows = ["| name | |", "| --- | --- |"]
    prefix = "mg" if package == "minigrad" else package
    for name in names:
        doc = markdown(inspect.getdoc(getattr(importlib.import_module(package), name)) or "").partition("\n\n")[0]
        sentence = SENTENCE.match(doc.replace("\n", " "))
        rows.append(f"| `{prefix}.{name}` | {sentence[0].replace('|', '&#124;') if sentence else ''} |")
    return "\n".join(rows)


def public_names(package: ModuleType) -> list[str]:
    """`__all__`, or the names that the module itself defines."""
    listed = getattr(package, "__all__", None)
    if listed is None:
        listed = [n for n, o in vars(package).items() if getattr(o, "__module__", None) == package.__name__]
    return [n for n in listed if not n.startswith("_") and callable(getattr(package, n))]


def _section(package: str, thing: Any) -> str:
    module = type(thing).__module__ if not hasattr(thing, "__qualname__") else thing.__module__
    part = module.removeprefix(package + ".").partition(".")[0]
    return next((title for title, parts in SECTIONS[package].items() if part in parts.split()), REST)


def entry(name: str, thing: Any, kind: str = "", fence: int = 7) -> str:
    """A directive for a class, a function or a method, with its docstring and, of a class, its members."""
    is_class = inspect.isclass(thing)
    kind = kind or (
        "exception" if is_class and issubclass(thing, BaseException) else "class" if is_class else "function"
    )
    lines = [f"{'`' * fence}{{py:{kind}}} {name}{signature(thing)}", "", markdown(inspect.getdoc(thing) or "")]
    if is_class:
        lines += list(members(thing, fence - 1))
    return "\n".join([*lines, "`" * fence])


def members(cls: type, fence: int) -> Iterator[str]:
    """A class's own public methods and properties that have a docstring, with those of bases that are not public."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if base is not cls and (base.__module__.partition(".")[0] not in SECTIONS or _is_public(base)):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or name in seen or (doc := inspect.getdoc(getattr(cls, name))) is None:
                continue
            seen.add(name)
            if isinstance(member, property) or type(member).__name__ == "cached_property":
                yield "\n".join([f"{'`' * fence}{{py:property}} {name}", "", markdown(doc), "`" * fence])
            elif isinstance(member, (classmethod, staticmethod)) or inspect.isfunction(member):
                kind = type(member).__name__ if isinstance(member, (classmethod, staticmethod)) else "method"
                yield entry(name, getattr(cls, name), kind, fence)


def _is_public(cls: type) -> bool:
    package = importlib.import_module(cls.__module__.split(".")[0])
    return getattr(package, cls.__name__, None) is cls and cls.__name__ in package.__all__


def signature(thing: Any) -> str:
    """The arguments, without `self` and without the type Any."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):  # a primitive: its docstring begins with them
        found = re.match(r"\w+(\([^)]*?)(?:, /.*)?\)", inspect.getdoc(thing) or "")
        return found[1] + ")" if found else ""
    try:
        made = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    parameters = list(made.parameters.values())
    if inspect.isfunction(thing) and parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    empty = inspect.Parameter.empty
    parameters = [p.replace(annotation=empty) if p.annotation in ("Any", Any) else p for p in parameters]
    returned = made.return_annotation
    if inspect.isclass(thing) or returned in ("None", "Any", None, Any):
        returned = empty
    text = stringify_signature(
        made.replace(parameters=parameters, return_annotation=returned), unqualified_typehints=True
    )
    text = re.sub(r"<[^<>]+>", "...", text).replace("\n", " ").removesuffix(" -> M")
    return re.sub(r"\bmg\.(?=[A-Z])", "~minigrad.", text)


def markdown(doc: str, *, headline: bool = False) -> str:
    """A docstring as Markdown; the headline of a module says its name, which the page has said."""
    doc = inspect.cleandoc(doc)
    doc = re.split(r"\n\n(?:Parameters|Returns|Notes)\n-+\n", doc)[0]  # NumPy's docstrings, of its functions
    doc = re.sub(r"\A\w+\([^\n]*\)\n\n", "", doc)
    if headline:
        doc = re.sub(r"\A[\w.]+: (\w)", lambda found: found[1].upper(), doc)
    blocks = re.split(r"\n[ ]*\n", doc)
    return "\n\n".join(_block(block) for block in blocks)


def _block(block: str) -> str:
    flat = inspect.cleandoc("\n" + block)
    if flat.startswith(">>>"):
        return f"```python\n{flat}\n```"
    if COLUMN.match(flat):
        return _columns(flat)
    return block if block.startswith("    ") else flat


def _columns(block: str) -> str:
    """Arguments in columns as a list."""
    items: list[str] = []
    for line in block.splitlines():
        found = None if line.startswith(" ") else COLUMN.match(line)
        if found:
            items.append(f"* `{found[1]}`: {found[2]}")
        elif line.startswith(" "):
            items[-1] += " " + line.strip()
        else:
            return f"```text\n{block}\n```"
    return "\n".join(items)
