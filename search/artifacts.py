"""The artifacts of trials as files of the home: drawn when first asked for, then kept."""

from __future__ import annotations

import contextlib
import io
import threading
from pathlib import Path
from typing import BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from model.files import written_aside
from studies.artifacts import drawn_artifact
from studies.storage import Storage


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
        """The artifact to be read. Raises ArtifactNotFound where there is none."""
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
        self._folder.mkdir(parents=True, exist_ok=True)
        self._kept.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact's file. Where nobody has asked for it yet there is none, and nothing to do."""
        with contextlib.suppress(ArtifactNotFound):
            self._kept.remove(artifact_id)
