"""What is slow to decode is kept in a folder, written aside and renamed under a lock: of several processes that start
at once one decodes, and none reads half a file."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from model.config import DataError
from model.files import written_aside

Part = Literal["train", "validation", "test"]
Arrays = dict[str, npt.NDArray[np.generic]]
"""x and y, and, if there are any, notes: texts."""


def key_of(kind: str, path: Path) -> str:
    """A name for what is kept of a file or folder."""
    return f"{kind}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"


def notes_in(arrays: Arrays) -> tuple[str, ...]:
    """The notes that were kept with the arrays."""
    return tuple(str(note) for note in arrays.get("notes", ()))


def kept(cache: Path, key: str, part: Part, stamp: str, decode: Callable[[], dict[Part, Arrays]]) -> Arrays:
    """The arrays of a part, from the cache if it holds them with this stamp, else decoded and kept there."""
    path = cache / f"{key}-{part}.npz"
    if (found := _read(path, stamp)) is not None:
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{key}.lock"):
            if (found := _read(path, stamp)) is not None:  # another process decoded it while this one waited
                return found
            decoded = decode()
            for name, arrays in decoded.items():
                with written_aside(cache / f"{key}-{name}.npz") as temporary:
                    np.savez(temporary, stamp=np.array(stamp), **arrays, allow_pickle=False)
    except OSError as error:
        raise DataError(
            f"Decoded images can't be kept in {cache} ({error}). Make it writable, free space, or use another home."
        ) from error
    return decoded[part]


def _read(path: Path, stamp: str) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if str(archive["stamp"]) != stamp:
                return None
            return {name: archive[name] for name in archive.files if name != "stamp"}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None  # absent, or damaged by something else than us: decode again
