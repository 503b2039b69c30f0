"""Values as TOML writes them: for messages, and for the recipe. The standard library only reads TOML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def as_toml(value: object, limit: int | None = None) -> str:
    """`value` as TOML writes it, on one line, with everything unprintable escaped; cut after `limit` characters.

    Used for messages and for the recipe alike, so that what we show can be pasted into a file.
    """
    text = _as_toml(value)
    return text if limit is None or len(text) <= limit else text[: limit - 3] + "..."


def _as_toml(value: object) -> str:
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = '"' + "".join(_escaped(character) for character in value) + '"'
        case BaseModel():
            text = _as_toml(value.model_dump(exclude_none=True))
        case Mapping():
            inside = ", ".join(f"{toml_key(str(key))} = {_as_toml(item)}" for key, item in value.items())
            text = f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            text = "[" + ", ".join(_as_toml(item) for item in value) + "]"
        case int() if value.bit_length() > 64:
            text = f"a number of {value.bit_length()} bits"  # writing out a very long one is refused by Python
        case _:
            text = str(value)
    return text


def toml_key(key: str) -> str:
    """`key` as TOML writes it: bare where TOML allows it, quoted otherwise."""
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _as_toml(key)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def as_shown(path: Path) -> str:
    """A path for a message: unprintable characters in it are escaped."""
    return "".join(character if character.isprintable() else _escaped(character) for character in str(path))


def with_tuples(value: Any) -> Any:
    """`value` with every list in it made a tuple: our models are strict, and frozen values hold tuples."""
    if isinstance(value, Mapping):
        return {key: with_tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(with_tuples(item) for item in value)
    return value
