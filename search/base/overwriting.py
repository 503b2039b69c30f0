"""No command replaces what it did not write, unless it is told to.

A recipe is known by its digest, a page or picture by the mark that is written into its head, and the folder of a
training by what lies in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from search.base.mistakes import InputError
from search.base.toml import as_shown
from studies.words import WRITTEN_BY

HEAD_BYTES = 4096


def check_file(path: Path, *, force: bool, is_ours: Callable[[Path], bool] | None = None) -> None:
    """Whether a command may write the file `path`: nothing is there, or what `is_ours` says is of alexsearch.

    Without `is_ours`, a file is ours if its head bears our mark. With `force` all may be replaced.

    Raises:
        InputError: something else is there, or no file can be called so.
    """
    try:
        if not path.is_file() or force or (is_ours or is_marked)(path):
            return
    except OSError as error:
        raise InputError(f"{as_shown(path)}: can't be written ({error.strerror}). Name another file.") from None
    raise InputError(
        f"{as_shown(path)}: is there already, and may be your own work. Name another file, or replace this one with "
        "--force."
    )


def is_marked(path: Path) -> bool:
    """Whether the head of a file bears our mark."""
    with path.open("rb") as file:
        return WRITTEN_BY.encode() in file.read(HEAD_BYTES)


def check_folder(folder: Path, *marks: str, force: bool, beside: str = "") -> None:
    """Whether a command may train into `folder`: it is empty or not there, or one of `marks`, patterns, lies in it.

    What is called `beside` is no sign of anything: the folder may hold it, and nothing else. With `force`, all.

    Raises:
        InputError: the folder holds something else, or no folder can be called so.
    """
    try:
        holds = folder.is_dir() and any(path.name != beside for path in folder.iterdir())
        if not holds or force or any(any(folder.glob(mark)) for mark in marks):
            return
    except OSError as error:
        raise InputError(f"{as_shown(folder)}: can't be used ({error.strerror}). Name another folder.") from None
    raise InputError(
        f"{as_shown(folder)}: holds something that no such training left. Name an empty or a new folder with --out, or "
        "have files of the same names replaced with --force."
    )
