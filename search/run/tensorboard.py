"""A run for TensorBoard: a folder of event files a trial, with its curves and what the HParams page needs.

The host writes them from what its slots tell it, so training knows nothing of them. Trials that were settled before, or
by another host, are written from the database when the run begins. What can't be written is told once, and the search
goes on without.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from model.files import make_folder
from search.base.event_file import EventFile, Scalar
from search.base.mistakes import InputError
from search.base.toml import as_shown
from search.run.events import Begun, Completed, EpochDone, Event, FailedForGood, Paused, Pruned, Retried, Returned
from studies.record.catalog import StudyRecord
from studies.store.epochs import epochs_of_study
from studies.store.storage import Storage

log = logging.getLogger(__name__)


def check_writable(folder: Path) -> None:
    """Raises InputError if nothing can be written to the folder that --tensorboard names."""
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"--tensorboard {as_shown(folder)}: can't be written ({error.strerror}). Name another folder."
        ) from None


class Curves:
    """The event files of one study. One thread uses it."""

    def __init__(self, folder: Path, searched: Collection[str]) -> None:
        """`folder` is the study's own; `searched` are the parameters that it searches."""
        self._folder, self._searched = folder, searched
        self._open: dict[int, EventFile] = {}
        self.trouble: str | None = None
        """Why nothing is written any more."""

    def catch_up(self, storage: Storage, study: StudyRecord) -> None:
        """Write the trials that are settled and have no files yet."""
        epochs: dict[int, list[dict[str, Any]]] = {}
        for epoch in epochs_of_study(storage, study.study_id):
            epochs.setdefault(epoch["trial"], []).append(epoch)
        for trial in storage.get_all_trials(study.study_id, deepcopy=False):
            if trial.state.is_finished() and not self._of(trial.number).exists():
                self._guarded(self._whole, trial, epochs.get(trial.number, []))

    def event(self, event: Event) -> None:
        """Write what happened to a trial."""
        self._guarded(self._event, event.number, event.what)

    def close(self) -> None:
        for number in list(self._open):
            self._close(number)

    def _of(self, number: int) -> Path:
        return self._folder / f"trial-{number:05d}"

    def _guarded(self, write: Any, *arguments: Any) -> None:
        if self.trouble is not None:
            return
        try:
            write(*arguments)
        except OSError as error:
            self.trouble = f"nothing more is written for TensorBoard: {as_shown(self._folder)}: {error.strerror}"
            log.warning("%s", self.trouble)

    def _event(self, number: int, what: object) -> None:
        now = time.time()
        match what:
            case Begun():
                self._close(number)
                self._open[number] = self._begun(number, what.config.model_dump(mode="json"), now)
            case EpochDone() if number in self._open:
                stored = what.metrics.model_dump(exclude_none=True)
                self._open[number].scalars(stored["epoch"], _metrics(stored), now)
            case Completed() | Pruned() | FailedForGood() if number in self._open:
                self._open[number].end(well=not isinstance(what, FailedForGood), at=now)
                self._close(number)
            case Retried() | Returned() | Paused():
                self._close(number)

    def _whole(self, trial: FrozenTrial, epochs: Iterable[Mapping[str, Any]]) -> None:
        """A trial that is settled, as the database has it."""
        begun = trial.datetime_start.timestamp() if trial.datetime_start else time.time()
        file = self._begun(trial.number, trial.user_attrs.get("config") or trial.params, begun)
        try:
            at = begun
            for epoch in epochs:
                at += epoch["seconds"]
                file.scalars(epoch["epoch"], _metrics(epoch), at)
            file.end(well=trial.state != TrialState.FAIL, at=at)
        finally:
            file.close()

    def _begun(self, number: int, config: Mapping[str, Any], at: float) -> EventFile:
        file = EventFile(self._of(number))
        values = {**config, **(config.get("network") or {}), **(config.get("params") or {})}
        searched = {name: _scalar(values[name]) for name in self._searched if values.get(name) is not None}
        file.begin(searched, f"trial-{number:05d}", at)
        return file

    def _close(self, number: int) -> None:
        if number in self._open:
            self._open.pop(number).close()


def _metrics(epoch: Mapping[str, Any]) -> dict[str, float]:
    """What an epoch came to, by name."""
    values = {**epoch, **epoch.get("values", {})}
    return {name: value for name, value in values.items() if name not in ("values", "epoch", "trial")}


def _scalar(value: Any) -> Scalar:
    return value if isinstance(value, (bool, int, float, str)) else ", ".join(map(str, value))
