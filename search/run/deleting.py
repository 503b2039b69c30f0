"""The end of a study: it is deleted with the files that its search left in a home.

What was trained beside the queue (`retrain`, `verify` and their like) stays: models are made of hours.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from optuna.artifacts.exceptions import ArtifactNotFound

from search.base.artifacts import Artifacts, artifact_ids
from search.base.file_store import FilesError, StudyFiles
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.toml import as_shown
from studies.queue.queue import Queue, delete_study
from studies.queue.standing import Counts, SlotStatus
from studies.record.catalog import StudyRecord, all_studies, described
from studies.record.cost import ledger
from studies.store.storage import Storage
from studies.words import duration


@dataclass(frozen=True)
class Belongings:
    """What goes with a study, and what stays."""

    study: StudyRecord
    counts: Counts
    workers: tuple[SlotStatus, ...]
    """Those that are alive."""
    folders: tuple[tuple[Path, int], ...]
    """Of checkpoints and logs, each with its bytes."""
    artifacts: tuple[tuple[str, int], ...]
    """Ids of those that have a file, each with its bytes."""
    stays: tuple[Path, ...]
    """Folders beside them."""
    followed: StudyFiles | None = None
    """What is kept where --files said, if that can be reached."""
    followed_bytes: int = 0
    unreached: str = ""
    """Why it can't."""


def belongings_of(storage: Storage, home: Home, study: StudyRecord) -> Belongings:
    """What deleting the study would remove. Changes nothing."""
    followed, followed_bytes, unreached = None, 0, ""
    try:
        if study.files and study.is_ours:
            followed = StudyFiles.of(study.files, study.attributes["uid"])
            followed_bytes = followed.size()
    except (FilesError, InputError) as error:
        followed, unreached = None, str(error)
    queue = Queue(storage, study.study_id)
    folders = [each for each in _folders(storage, home, study) if each.is_dir()]
    files = [(each, _size(home.artifacts / each)) for each in artifact_ids(storage, study.study_id)]
    return Belongings(
        study=study,
        counts=queue.counts(),
        workers=tuple(slot for slot in queue.slots() if not slot.stale),
        folders=tuple((each, _size(each)) for each in folders),
        artifacts=tuple((each, size) for each, size in files if size),
        stays=tuple(each for each in _beside(home, study) if each.is_dir()),
        followed=followed,
        followed_bytes=followed_bytes,
        unreached=unreached,
    )


def delete(storage: Storage, home: Home, belongings: Belongings) -> list[str]:
    """Delete the study and its files; those that could not be removed.

    The study goes first: where the database refuses, nothing has happened.
    """
    study = belongings.study
    delete_study(storage, study.study_id)
    kept = Artifacts(storage, home.artifacts)
    left: list[str] = []
    try:
        if belongings.followed:
            belongings.followed.remove()
    except FilesError as error:
        left.append(str(error))
    for artifact_id, _ in belongings.artifacts:
        try:
            kept.remove(artifact_id)
        except (OSError, ArtifactNotFound):
            left.append(as_shown(home.artifacts / artifact_id))
    for folder, _ in belongings.folders:
        home.forget(folder)
        left += [as_shown(folder)] if folder.exists() else []
    for empty in (home.study(study.folder) / "checkpoints", home.study(study.folder)):
        with contextlib.suppress(OSError):
            empty.rmdir()
    return left


def _folders(storage: Storage, home: Home, study: StudyRecord) -> list[Path]:
    """Its checkpoints, and its logs unless another study has written some under the same name."""
    if "uid" not in study.attributes:
        return []
    with contextlib.suppress(InputError):  # a link lies in the way: what is behind it is not ours to remove
        own = home.all_checkpoints(study.folder, study.attributes["uid"])
        shared = any(each.study_id != study.study_id and each.folder == study.folder for each in all_studies(storage))
        others = own.parent.is_dir() and any(each.name != own.name for each in own.parent.iterdir())
        return [own] if shared or others else [own, home.logs(study.folder)]
    return []


def _beside(home: Home, study: StudyRecord) -> list[Path]:
    return [home.study(study.folder) / name for name in ("retrain", "reproduce", "verify")] if study.is_ours else []


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed, and what can't be read counts none."""
    with contextlib.suppress(OSError, ValueError):
        if path.is_dir() and not path.is_symlink():
            return sum(_size(Path(folder) / name) for folder, _, files in os.walk(path) for name in files)
        return path.lstat().st_size
    return 0


def told(storage: Storage, going: Belongings) -> list[str]:
    """What goes, with its sizes, and what stays, for people."""
    study = going.study
    seconds = ledger(storage, study.study_id).device_seconds
    spent = f"; {duration(seconds)} of device time" if seconds else ""
    made = f" ({study.origin})" if study.origin else ""
    lines = [f"study {study.shown}{made} in {storage.name}: {described(going.counts)}{spent}"]
    lines += [f"  with {as_shown(folder)}: {_megabytes(size)}" for folder, size in going.folders]
    if going.artifacts:
        size = _megabytes(sum(size for _, size in going.artifacts))
        lines.append(f"  with {len(going.artifacts)} artifact{'s' * (len(going.artifacts) != 1)}: {size}")
    if going.followed:
        lines.append(f"  with what it keeps at {going.followed.store.url}: {_megabytes(going.followed_bytes)}")
    elif going.unreached:
        lines.append(f"  what it keeps elsewhere stays, since it can't be reached: {going.unreached}")
    return lines + [f"  {as_shown(folder)} stays" for folder in going.stays]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
