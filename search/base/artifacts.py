"""The artifacts of trials and studies as files of the home.

Those of a trial are drawn when first asked for, then kept; those of a study are what its retrainings came to.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from sqlalchemy import orm

from model.files import make_folder, written_aside
from search.base.file_store import FilesError, StudyFiles
from search.base.mistakes import InputError
from studies.record.catalog import StudyRecord, all_studies
from studies.record.retrained import Retrained
from studies.show.artifacts import drawn_artifact
from studies.store.artifact_names import KINDS, PREFIX, described
from studies.store.storage import Storage
from studies.store.tables import STUDY_SYSTEM, TRIAL_SYSTEM, TRIALS

RETRAINED = {
    "accuracy.png": "image/png",
    "score.png": "image/png",
    "index.html": "text/html",
    "best.keras": "application/zip",
}
"""What of a retraining's folder is kept beside its study: name and MIME type."""

log = logging.getLogger(__name__)


class Artifacts:
    """An artifact store, as Optuna and optuna-dashboard take one, over a folder and a database.

    The folder is that of Optuna's `FileSystemArtifactStore`: what it holds, any program of Optuna's can read there.
    """

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage = storage
        self._folder = folder
        self._kept = FileSystemArtifactStore(folder)
        self._drawing = threading.Lock()

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The artifact to be read. Raises ArtifactNotFound if there is none, here or where its study's files lie."""
        self._check(artifact_id)
        with self._drawing:
            try:
                return self._kept.open_reader(artifact_id)
            except ArtifactNotFound:
                content = drawn_artifact(self._storage, artifact_id)
            if content is not None:
                with contextlib.suppress(OSError), written_aside(self._folder / artifact_id) as aside:
                    aside.write_bytes(content)  # where the disk is full it is drawn again the next time
                return io.BytesIO(content)
        self._fetch(artifact_id)
        return self._kept.open_reader(artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep an artifact that somebody uploads."""
        self._check(artifact_id)
        make_folder(self._folder)
        self._kept.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact's file. Where nobody has asked for it yet there is none, and nothing to do."""
        self._check(artifact_id)
        with contextlib.suppress(ArtifactNotFound):
            self._kept.remove(artifact_id)

    def _fetch(self, artifact_id: str) -> None:
        """Bring it here from where its study's files lie, if it is there."""
        study = _study_of(self._storage, artifact_id)
        if study is None or study.files is None:
            return
        try:
            files = StudyFiles.of(study.files, study.attributes.get("uid"))
            files.fetch_artifact(artifact_id, self._folder / artifact_id)
        except (FilesError, InputError) as error:
            log.warning("artifact %s: %s", artifact_id, error)

    def _check(self, artifact_id: str) -> None:
        """Raises ArtifactNotFound for an id that would be another path, or a link: it came over the network."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", artifact_id) or (self._folder / artifact_id).is_symlink():
            raise ArtifactNotFound(f"there is no artifact {artifact_id[:100]!r}")


def keep_retrained(storage: Storage, study: StudyRecord, artifacts: Path, retrained: Retrained, folder: Path) -> None:
    """Beside the study: what a retraining left in `folder`, in place of an earlier one's of the same trial and images.

    Raises:
        OSError: the folder `artifacts` can't be written or the disk is full, or the place of the study's files is away:
            then the next run or worker of this home brings them there.
        StorageError: the database can't be written.
    """
    kept = []
    for name, mimetype in RETRAINED.items():
        if not (folder / name).is_file() or (folder / name).is_symlink():  # a link is not what a retraining wrote
            continue
        shown = f"trial-{retrained.trial}-{retrained.split}-{name}"
        artifact_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{study.attributes['uid']}/{shown}"))
        with written_aside(artifacts / artifact_id) as aside:
            shutil.copyfile(folder / name, aside)
        storage.set_study_system_attr(study.study_id, *described(artifact_id, shown, mimetype))
        kept.append(artifact_id)
    if study.files:
        try:
            files = StudyFiles.of(study.files, study.attributes["uid"])
        except InputError as error:  # what is needed for that is not installed here
            raise FilesError(str(error)) from None
        for artifact_id in kept:
            files.put_artifact(artifact_id, artifacts / artifact_id)


def artifact_ids(storage: Storage, study_id: int, *, drawn: bool = True) -> list[str]:
    """Of the study and its trials, as their attributes name them; `drawn` False leaves out what any host can draw."""
    of_trials, of_study = TRIAL_SYSTEM.c, STUDY_SYSTEM.c
    trials = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
    no_drawn = [sa.not_(of_trials.value_json.contains(f'"filename": "{name}"')) for name in KINDS if not drawn]
    queries = (
        sa.select(of_trials.key).where(of_trials.trial_id.in_(trials), of_trials.key.startswith(PREFIX), *no_drawn),
        sa.select(of_study.key).where(of_study.study_id == study_id, of_study.key.startswith(PREFIX)),
    )

    def body(session: orm.Session) -> list[str]:
        return [key.removeprefix(PREFIX) for query in queries for key in session.scalars(query)]

    return storage.read(body)


def _study_of(storage: Storage, artifact_id: str) -> StudyRecord | None:
    """The study that has the artifact, or whose trial has it."""
    of_trials, of_study, key = TRIAL_SYSTEM.c, STUDY_SYSTEM.c, PREFIX + artifact_id
    queries = (
        sa.select(of_study.study_id).where(of_study.key == key),
        sa.select(TRIALS.c.study_id)
        .join(TRIAL_SYSTEM, of_trials.trial_id == TRIALS.c.trial_id)
        .where(of_trials.key == key),
    )

    def body(session: orm.Session) -> set[int]:
        return {study_id for query in queries for study_id in session.scalars(query)}

    found = storage.read(body)
    return next((study for study in all_studies(storage) if study.study_id in found), None)
