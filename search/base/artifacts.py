"""The artifacts of trials and studies as files of the home.

Those of a trial are drawn when first asked for, then kept; those of a study are what its retrainings came to.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from model.files import make_folder, written_aside
from studies.record.catalog import StudyRecord
from studies.record.retrained import Retrained
from studies.show.artifacts import drawn_artifact
from studies.store.artifact_names import described
from studies.store.storage import Storage

RETRAINED = {
    "accuracy.png": "image/png",
    "score.png": "image/png",
    "index.html": "text/html",
    "best.keras": "application/zip",
}
"""What of a retraining's folder is kept beside its study: name and MIME type."""


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
        """The artifact to be read. Raises ArtifactNotFound if there is none."""
        self._check(artifact_id)
        with self._drawing:
            try:
                return self._kept.open_reader(artifact_id)
            except ArtifactNotFound:
                content = drawn_artifact(self._storage, artifact_id)
                if content is None:
                    raise
            with contextlib.suppress(OSError), written_aside(self._folder / artifact_id) as aside:
                aside.write_bytes(content)  # where the disk is full it is drawn again the next time
            return io.BytesIO(content)

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

    def _check(self, artifact_id: str) -> None:
        """Raises ArtifactNotFound for an id that would be another path, or a link: it came over the network."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", artifact_id) or (self._folder / artifact_id).is_symlink():
            raise ArtifactNotFound(f"there is no artifact {artifact_id[:100]!r}")


def keep_retrained(storage: Storage, study: StudyRecord, artifacts: Path, retrained: Retrained, folder: Path) -> None:
    """Beside the study: what a retraining left in `folder`, in place of an earlier one's of the same trial and images.

    Raises:
        OSError: the folder `artifacts` can't be written or the disk is full.
        StorageError: the database can't be written.
    """
    for name, mimetype in RETRAINED.items():
        if not (folder / name).is_file() or (folder / name).is_symlink():  # a link is not what a retraining wrote
            continue
        shown = f"trial-{retrained.trial}-{retrained.split}-{name}"
        artifact_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{study.attributes['uid']}/{shown}"))
        with written_aside(artifacts / artifact_id) as aside:
            shutil.copyfile(folder / name, aside)
        storage.set_study_system_attr(study.study_id, *described(artifact_id, shown, mimetype))
