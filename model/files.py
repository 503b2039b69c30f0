"""The one way this package writes a file or folder: aside, synced, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffix, that takes its place when the block ends well.

    A reader, or a crash at any moment, finds the old file or the new one and never half of one. When the block raises,
    the old file stays and the temporary one goes.

    Raises:
        OSError: the folder can't be made or written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all. Raises OSError as `written_aside` does."""
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def folder_written_aside(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, not there yet, for a folder that takes its place when the block ends well.

    When the block raises, the temporary folder goes. A folder that holds something is never replaced.

    Raises:
        OSError: `path` is there and is no empty folder, it can't be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        for folder, _, files in os.walk(temporary):
            for name in files:
                with (Path(folder) / name).open("rb+") as file:
                    os.fsync(file.fileno())
            _sync_folder(Path(folder))
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Without this a rename may be lost with the power, after the caller was told that the file is there."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
