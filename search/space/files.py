"""Which space a name is of, a preset's or a file's: `load_space("quick")`, `load_space("my.toml")`."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from search.base.mistakes import InputError, closest, read_toml
from search.base.toml import as_toml
from search.space.space import SearchSpace, parse_space


class Preset(NamedTuple):
    """A space that ships with the project."""

    name: str
    question: str
    """The first line of its file."""


def list_presets() -> tuple[Preset, ...]:
    """The presets by name."""
    files = [file for file in resources.files("studies.presets").iterdir() if file.name.endswith(".toml")]
    found = [(file.name.removesuffix(".toml"), file.read_text("utf-8").partition("\n")[0]) for file in files]
    return tuple(Preset(name, line.lstrip("# ")) for name, line in sorted(found))


def is_preset(space: object) -> bool:
    """Whether this names a space that ships with the project."""
    return space in [preset.name for preset in list_presets()]


def load_space(name_or_path: str) -> SearchSpace:
    """The space of a preset's name or of a TOML file; a preset's name wins over a file called the same.

    Raises InputError with all mistakes.
    """
    presets = [preset.name for preset in list_presets()]
    if name_or_path in presets:
        with resources.as_file(resources.files("studies.presets") / f"{name_or_path}.toml") as path:
            return parse_space(read_toml(path, path.name), path.name)
    path = Path(name_or_path)
    looks_like_path = name_or_path.endswith(".toml") or os.sep in name_or_path or path.is_file()
    if not looks_like_path:
        raise InputError(
            f"there is no preset {as_toml(name_or_path, 80)}.{closest(name_or_path, presets)} Presets: "
            f"{', '.join(presets)}. A file of your own is named by its path, e.g. my.toml."
        )
    document = read_toml(path)
    return parse_space(document, str(path))
