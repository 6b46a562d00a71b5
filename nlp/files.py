"""Versioned JSON files: tokenizers and vocabularies as text that can be read and compared.

A file holds data, and no code. It is written atomically, and its content is checked before use.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from nn.training.files import StrPath, atomic

T = TypeVar("T")
DEEPEST = 50  # levels of nesting: far more than in valid files, far fewer than `repr` can print
LONGEST = 600  # characters of a message, which may quote the file


def write_json(path: StrPath, content: Mapping[str, Any]) -> None:
    """Write a JSON object into a file atomically, one line for each field."""
    fields = (f" {json.dumps(name)}: {_text(value)}" for name, value in content.items())
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("{\n" + ",\n".join(fields) + "\n}\n")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def read_json(path: StrPath) -> Document:
    """The JSON object in a file. Raises OSError if it cannot be read, ValueError, with its name, if it holds none."""
    name = os.fspath(path)
    if not os.path.isdir(name) and not os.path.isfile(name) and os.path.exists(name):
        raise ValueError(f"{name} is not a regular file")
    with open(name, "rb") as file:
        return Document(name, parse_json(name, file.read()))


def parse_json(name: str, text: str | bytes) -> Any:
    """The content of JSON text from a file. Raises ValueError, with the file's name, for text that is not JSON, is
    nested too deeply, or contains NaN or infinity."""
    try:
        content = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ValueError(f"{name} is not a JSON file, or a damaged one: {error}") from None
    level = [content]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)
                 if isinstance(inner, dict | list)] if isinstance(content, dict | list) else []  # fmt: skip
        if not level:
            return content
    raise ValueError(f"{name} is not a JSON file of this program: it is nested more than {DEEPEST} levels deep")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


class Document:
    """A JSON object whose fields are checked when they are read.

    path     the file, for messages
    content  the object
    place    the object's place in the file
    """

    def __init__(self, path: str, content: Any, place: str = "") -> None:
        self.path, self.place = path, place
        if not isinstance(content, dict):
            self.fail(f"there is {_kind(content)}, where an object is expected")
        self.content: dict[str, Any] = content

    def fail(self, why: str) -> NoReturn:
        """Raise ValueError about this file."""
        why = why if len(why) <= LONGEST else f"{why[:LONGEST]} ..."
        raise ValueError(f"{self.path}{f', {self.place}' if self.place else ''}: {why}")

    def demand_format(self, name: str, version: int) -> None:
        """Check that the file declares this format and version."""
        if (found := self.content.get("format")) != name:
            self.fail(f"its format is {found!r}, not {name!r}")
        if (found := self.content.get("version")) != version:
            self.fail(f"its version is {found!r}; this program reads version {version}")

    def get(self, name: str, *kinds: Any, default: Any = ...) -> Any:
        """The value of a field, which must be of one of the kinds: types (a bool is not an int), or None.

        default  the value of a missing field; without it, the field is required
        """
        if name not in self.content:
            if default is not ...:
                return default
            self.fail(f"the field {name!r} is missing")
        value = self.content[name]
        if value is None and None in kinds:
            return value
        types = tuple(kind for kind in kinds if kind is not None)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            expected = " or ".join("null" if kind is None else KINDS[kind] for kind in kinds)
            self.fail(f"the field {name!r} is {_kind(value)}, where {expected} is expected")
        return value

    def get_object(self, name: str) -> Document:
        """A field that is an object."""
        return Document(self.path, self.get(name, dict), f"{self.place}.{name}" if self.place else name)

    def get_list(self, name: str, kind: type) -> list[Any]:
        """A field that is a list of values of one kind."""
        values: list[Any] = self.get(name, list)
        for place, value in enumerate(values):
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                self.fail(f"item {place} of {name!r} is {_kind(value)}, where {KINDS[kind]} is expected")
        return values


KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false", list: "a list",
         dict: "an object"}  # fmt: skip


def _kind(value: Any) -> str:
    return "null" if value is None else KINDS[type(value)]


def kinds_of(base: type[T]) -> list[type[T]]:
    """The concrete subclasses of a base class: the classes whose objects a file may hold."""
    return [kind for below in base.__subclasses__() for kind in (below, *kinds_of(below))]
