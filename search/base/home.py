"""The one folder a user has in hand, and the only place that knows where things lie in it.

HOME/alexsearch.db            the studies, unless --storage names another database
HOME/data/                    decoded images: CIFAR-10, image folders
HOME/artifacts/               what the dashboard shows of trials, and what retrainings left
HOME/alexsearch-HOST.log      what `run` and `worker` did on a host: trials taken, given back, settled; outages; and who
                              logged in to the dashboard and edited there
HOME/tensorflow.log           what TensorFlow printed in `retrain`, `evaluate` and their like
HOME/seed-report/             what `alexsearch seed-report` made, unless --out names another folder
HOME/STUDY/checkpoints/       the training state of trials that are running or waiting to go on
HOME/STUDY/logs/              what the training processes printed
HOME/STUDY/retrain/           what `alexsearch retrain` made, unless --out names another folder
HOME/STUDY/reproduce/         the same of `retrain --validate`
HOME/STUDY/verify/            the same of `alexsearch verify`
"""

from __future__ import annotations

import hashlib
import re
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from search.base.mistakes import InputError

TAKEN = ("alexsearch.db", "data", "artifacts", "tensorflow.log", "seed-report")
"""What lies beside the studies' folders: no study of ours may be called so."""

LONGEST_NAME = 255
"""Bytes of a file's name on nearly every file system. A study may be called by more."""


@dataclass(frozen=True)
class Home:
    """Paths under the home folder. Nothing is made before it is written to."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def tensorflow_log(self) -> Path:
        return self.folder / "tensorflow.log"

    @property
    def log_file(self) -> Path:
        """Of this host: several may share the folder."""
        host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())[:100]
        return self.folder / f"alexsearch-{host}.log"

    @property
    def seed_report(self) -> Path:
        return self.folder / "seed-report"

    def study(self, name: str) -> Path:
        # A study made by another tool may be called anything; ours are checked when the space is read.
        called = re.sub(r"[^A-Za-z0-9 ._-]", "_", name).strip(". ") or "_"
        if len(called) > LONGEST_NAME:
            called = f"{called[:200]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        return self.folder / called

    def checkpoints(self, study: str, study_uid: str, number: int) -> Path:
        """Of one trial. `study_uid` keeps apart what studies of the same name left, in this database or another."""
        return self.study(study) / "checkpoints" / study_uid[:12] / f"trial-{number:05d}"

    def log(self, study: str, place: str) -> Path:
        return self.study(study) / "logs" / f"{place}.log"

    def retrain(self, study: str, number: int) -> Path:
        return self.study(study) / "retrain" / f"trial-{number:05d}"

    def reproduce(self, study: str, number: int) -> Path:
        return self.study(study) / "reproduce" / f"trial-{number:05d}"

    def verify(self, study: str, study_uid: str) -> Path:
        return self.study(study) / "verify" / study_uid[:12]

    def check_writable(self) -> None:
        """Raises InputError if nothing can be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise InputError(
                f"home {self.folder}: can't be written ({error.strerror}). Name another folder with --home or "
                "ALEXSEARCH_HOME."
            ) from None
