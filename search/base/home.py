"""The one folder a user has in hand, and the only place that knows where things lie in it.

HOME/alexsearch.db            the studies, unless --storage names another database
HOME/data/                    decoded images: CIFAR-10, image folders
HOME/artifacts/               what the dashboard shows of trials, and what retrainings left
HOME/alexsearch-HOST.log      what `run` and `worker` did on a host: trials taken, given back, settled; outages; and who
                              logged in to the dashboard and edited there
HOME/tensorflow.log           what TensorFlow printed in `retrain`, `evaluate` and their like
HOME/seed-report/             what `alexsearch seed-report` made, unless --out names another folder
HOME/STUDY/checkpoints/       the training state of trials that are running or waiting to go on; where --files is given,
                              also how far each is, and what is still to be uploaded
HOME/STUDY/logs/              what the training processes printed
HOME/STUDY/retrain/           what `alexsearch retrain` made, unless --out names another folder
HOME/STUDY/reproduce/         the same of `retrain --validate`
HOME/STUDY/verify/            the same of `alexsearch verify`

Names come from databases and recipes, which anybody may have written: none of them leads out of the home, and nothing
is written or removed through a link that somebody has put below it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from model.files import make_folder
from search.base.mistakes import InputError

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
        return self.folder / f"alexsearch-{this_host()}.log"

    @property
    def seed_report(self) -> Path:
        return self.folder / "seed-report"

    def study(self, name: str) -> Path:
        """`name` is the one that the study was begun with: see `StudyRecord.folder`."""
        # A study made by another tool may be called anything; ours are checked when the space is read.
        called = re.sub(r"[^A-Za-z0-9 ._-]", "_", name).strip(". ") or "_"
        return self.folder / (called if len(called) <= LONGEST_NAME else f"{called[:200]}-{_digest(name)}")

    def checkpoints(self, study: str, study_uid: str, number: int) -> Path:
        """Of one trial. `study_uid` keeps apart what studies of the same name left, in this database or another.

        Raises InputError where a link lies on the way there.
        """
        return self._own(self.all_checkpoints(study, study_uid) / f"trial-{number:05d}")

    def all_checkpoints(self, study: str, study_uid: str) -> Path:
        """Of all its trials. Raises InputError where a link lies on the way there."""
        return self._own(self.study(study) / "checkpoints" / uid_part(study_uid))

    def mark(self, checkpoints: Path) -> Path:
        """Beside what `checkpoints` gave: how far a trial is here, and what of it lies where --files says."""
        return checkpoints.with_name(f"{checkpoints.name}.json")

    def forget(self, checkpoints: Path) -> None:
        """Remove what `checkpoints` gave and a training has written. What can't be removed does no harm.

        Nothing is removed through a link that has come to lie on the way. Raises InputError where it is not the home's.
        """
        forget_below(self.folder, checkpoints)

    def logs(self, study: str) -> Path:
        """Of every study that was begun with this name. Raises InputError where a link lies on the way there."""
        return self._own(self.study(study) / "logs")

    def log(self, study: str, place: str) -> Path:
        return self._own(self.logs(study) / f"{place}.log")

    def retrain(self, study: str, number: int) -> Path:
        return self._own(self.study(study) / "retrain" / f"trial-{number:05d}")

    def reproduce(self, study: str, number: int) -> Path:
        return self._own(self.study(study) / "reproduce" / f"trial-{number:05d}")

    def verify(self, study: str, study_uid: str) -> Path:
        return self._own(self.study(study) / "verify" / uid_part(study_uid))

    def check_writable(self) -> None:
        """Raises InputError if nothing can be written."""
        try:
            make_folder(self.folder)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise InputError(
                f"home {self.folder}: can't be written ({error.strerror}). Name another folder with --home or "
                "ALEXSEARCH_HOME."
            ) from None

    def _own(self, path: Path) -> Path:
        return _without_links(self.folder, path)


def this_host() -> str:
    """The name of this host as a part of a path."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())[:100]


def forget_below(folder: Path, path: Path) -> None:
    """Remove `path`, which we wrote below `folder`, a home or one that a command was given; see `Home.forget`."""
    # The folder itself may be reached by "..".
    if folder not in path.parents or ".." in path.relative_to(folder).parts:
        raise InputError(f"{path}: does not lie in {folder}, so it is not removed.")
    with contextlib.suppress(InputError):
        shutil.rmtree(_without_links(folder, path), ignore_errors=True)


def _without_links(folder: Path, path: Path) -> Path:
    """`path`, which lies below `folder` and is reached without a link; the folder itself may be one.

    Raises InputError where a link is in the way.
    """
    parts = path.relative_to(folder).parts
    below = [folder.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    link = next((each for each in below if each.is_symlink()), None)
    if link is not None:
        raise InputError(
            f"{link}: is a link that leads out of the home, or may: nothing is written or removed through "
            "it. Put a folder in its place, or name another home with --home."
        )
    return path


def uid_part(study_uid: object) -> str:
    """A study's uid as a part of a path: it comes out of a database, where anybody may have changed it."""
    if isinstance(study_uid, str) and re.fullmatch("[0-9a-f]{32}", study_uid):
        return study_uid[:12]
    return f"odd-{_digest(str(study_uid))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
