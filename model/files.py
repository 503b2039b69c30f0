"""The one way this package writes a file or folder: aside, synced, renamed; and reads a file of which nothing is known.

A folder may be shared with people who wish us ill. So what is written aside has a name that nobody can guess, is made
by us or not at all, never through a link, and is for its owner alone; a link that lies where the file is to be is
replaced, and what it points to stays as it is.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffix, that takes its place when the block ends well.

    A reader, or a crash at any moment, finds the old file or the new one and never half of one. When the block raises,
    the old file stays and the temporary one goes. A new file is its owner's alone; an old one's rights stay.

    Raises:
        OSError: the folder can't be made or written, or the disk is full.
    """
    make_folder(path.parent)
    temporary = _aside(path, path.suffix)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, FILE_MODE))
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fchmod(file.fileno(), _mode_of(path))  # the writer may have made the file anew
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
    make_folder(path.parent)
    temporary = _aside(path, "")
    try:
        yield temporary
        temporary.chmod(FOLDER_MODE)
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


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone. What is there stays as it is.

    Raises:
        OSError: it can't be made, or there is something else.
    """
    if path.is_dir():
        return
    if not path.parent.exists():
        make_folder(path.parent)
    with suppress(FileExistsError):  # another process was faster
        path.mkdir(mode=FOLDER_MODE)
    if not path.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def read_regular(path: Path, most_bytes: int) -> bytes:
    """What is in a file, or its first `most_bytes`.

    Raises:
        OSError: it can't be read, or is no regular file: a pipe would have us wait for ever, a device never ends.
    """
    # Without O_NONBLOCK, opening a pipe already waits for somebody to write to it.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe, a device or a socket, not a file", str(path))
        return file.read(most_bytes)


def _aside(path: Path, suffix: str) -> Path:
    """A path beside `path` that nobody can guess. A name of the longest kind is cut: what is added must have room."""
    return path.with_name(f".{path.name.removesuffix(suffix)[:50]}.{secrets.token_hex(8)}{suffix}")


def _mode_of(path: Path) -> int:
    """The rights of the file that is to be replaced; of a new one, or in place of a link, its owner's alone."""
    with suppress(OSError):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            return stat.S_IMODE(mode) & 0o777
    return FILE_MODE
