"""What a study has in files follows it: checkpoints, artifacts and logs go where --files says, and come from there.

    slot      after an epoch: its checkpoint is to go up; it does not wait for that
              before a trial that has begun before: a newer checkpoint is fetched, if there is one; if the store is
              away, the trial goes on with what is here
    thread    uploads one after another; of a trial only the newest; again and again while the store is away
    end       waits a little for what is not up yet; the next run or worker of this home on this host does the rest

How far a trial is here, and what of it is up, is written beside its checkpoints (`Home.mark`), so that no crash forgets
what is still to be done. The store can cost a training nothing but epochs that are trained again elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import queue as queues
import re
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from optuna.trial import TrialState
from pydantic import Field, ValidationError

from model.config import Frozen
from model.files import write_text
from search.base.artifacts import artifact_ids
from search.base.file_store import SCRATCH, FileStore, StudyFiles, Version, files_url
from search.base.home import Home, this_host
from search.base.mistakes import InputError
from search.run.request import RunRequest
from studies.record.catalog import StudyRecord
from studies.store.storage import Storage

END_SECONDS, STOP_SECONDS = 60.0, 10.0
"""So long the end of a run waits for what is not up yet, and one that is told to stop."""
LOGS_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 30.0
"""Between two attempts at a store that is away."""
STALE_SECONDS = 86_400.0
"""What is packed or unpacked for so long is nobody's any more."""

log = logging.getLogger(__name__)


def check_files(request: RunRequest, study: StudyRecord | None) -> None:
    """Look whether what --files names, or the study has, can be written from here.

    Raises:
        InputError: it can't, or --files names another place than the study has.
    """
    kept = study.files if study else None
    if study:
        check_same_files(request.files, study)
    if url := kept or request.files:
        FileStore(files_url(url)).check(used=kept is not None)


def check_same_files(asked: str | None, study: StudyRecord) -> None:
    """Raises InputError if --files names another place than the study has."""
    if asked and study.files and files_url(asked) != study.files:
        raise InputError(
            f"--files {files_url(asked)}: study {study.shown!r} keeps its files at {study.files}. Leave --files out, "
            "or start another study with --study NAME."
        )


class Mark(Frozen):
    """How far a trial's checkpoints are."""

    epoch: int = Field(default=0, ge=0)
    """The last one that was done here, or fetched."""
    up: int = Field(default=0, ge=0)
    """The last one that the store has from here."""
    settled: bool = False
    """The trial needs none any more, and what the store has is to be removed."""


CATCH_UP, ARTIFACTS, LOGS = -1, -2, -3
"""Jobs beside those of trials, whose keys are their numbers."""


class Keeping:
    """One study on one host. Slots call `fetch`, `epoch_done` and `settled`, each for the trial that it holds."""

    def __init__(self, files: StudyFiles, home: Home, storage: Storage, study: StudyRecord) -> None:
        self._files, self._home, self._storage, self._study = files, home, storage, study
        self._jobs: dict[int, Callable[[], None]] = {CATCH_UP: self._catch_up, ARTIFACTS: self._keep_artifacts}
        self._busy = True
        self._changed = threading.Condition()
        self._marks = threading.Lock()
        self._beginning: set[int] = set()
        """Trials that are taken up again, and of which nothing was uploaded since."""
        self._closing = self._over = False
        self._away = False
        self._logs: dict[Path, tuple[int, int]] = {}
        self.remarks: queues.Queue[str] = queues.Queue()
        """For people."""
        self._thread: Final = threading.Thread(target=self._work, name="files", daemon=True)
        self._thread.start()

    def fetch(self, number: int, checkpoints: Path) -> str | None:
        """Bring a trial's checkpoints up to date, and say what is worth telling; never raises."""
        self._beginning.add(number)
        here = self._mark(checkpoints).epoch if checkpoints.is_dir() else 0
        trouble: OSError | None = None
        try:
            for version in self._files.checkpoints(number):
                if version.number <= here:
                    break
                try:
                    return self._bring(version, checkpoints)
                except OSError as error:  # an older one may be whole
                    log.warning("trial %d: a checkpoint is passed over: %s", number, error)
                    trouble = error
        except OSError as error:
            trouble = error
        return f"a newer checkpoint can't be fetched, so it goes on with what is here: {trouble}" if trouble else None

    def _bring(self, version: Version, checkpoints: Path) -> str:
        self._files.fetch_checkpoints(version, self._home, checkpoints)
        self._note(checkpoints, lambda _: Mark(epoch=version.number, up=version.number))
        return f"its checkpoint of epoch {version.number} comes from {self._files.store.url}"

    def epoch_done(self, number: int, checkpoints: Path, epoch: int) -> None:
        """Its checkpoint is on the disk, and goes up as soon as may be."""
        self._note(checkpoints, lambda before: Mark(epoch=epoch, up=before.up if before.up < epoch else 0))
        self._put(number, partial(self._upload, number, checkpoints))

    def settled(self, number: int, checkpoints: Path) -> None:
        """Its checkpoints are needed no more."""
        self._note(checkpoints, lambda _: Mark(settled=True))
        self._put(number, partial(self._forget, number, checkpoints))

    def close(self, stopping: threading.Event, *, stop_seconds: float = STOP_SECONDS) -> None:
        """Wait a little for what is not up yet, less if the run is to stop or the store is away; say what is left."""
        for key, job in ((CATCH_UP, self._catch_up), (ARTIFACTS, self._keep_artifacts), (LOGS, self._keep_logs)):
            self._put(key, job)
        begun = time.monotonic()
        told_to_hurry = None
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while self._jobs or self._busy:
                now = time.monotonic()
                if told_to_hurry is None and (stopping.is_set() or self._away):
                    told_to_hurry = now
                if now - begun > END_SECONDS or (told_to_hurry is not None and now - told_to_hurry > stop_seconds):
                    break
                self._changed.wait(0.5)
            waiting = self._jobs or self._busy
            self._over = True
            self._changed.notify_all()
        if waiting:
            self._remark(
                f"not all is at {self._files.store.url} yet: the next run or worker on this host, with this home, goes "
                "on with that"
            )

    def _put(self, key: int, job: Callable[[], None]) -> None:
        """In place of an older one of the same key."""
        with self._changed:
            self._jobs[key] = job
            self._changed.notify_all()

    def _work(self) -> None:
        pause, logs_at = 1.0, time.monotonic() + LOGS_SECONDS
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._jobs or self._over, logs_at - time.monotonic())
                if self._over:
                    return
                if not self._jobs:
                    logs_at = time.monotonic() + LOGS_SECONDS
                    self._jobs[LOGS] = self._keep_logs
                key = next(iter(self._jobs))
                job = self._jobs.pop(key)
                self._busy = True
            try:
                job()
                pause = 1.0
                self._tell(away=False, text=f"{self._files.store.url} is up to date again")
            except OSError as error:
                self._tell(
                    away=True, text=f"{error}. Training goes on; what is to be kept there goes up once that is possible"
                )
                with self._changed:
                    self._jobs.setdefault(key, job)  # behind the others: what fails may be this one alone
                    self._busy = False
                    self._changed.wait_for(lambda: self._closing, pause)
                    self._changed.wait_for(lambda: self._over, 0.5)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except Exception:
                log.exception("files")  # a defect here is no trial's

    def _tell(self, *, away: bool, text: str) -> None:
        if away != self._away:
            self._away = away
            self._remark(text)

    def _remark(self, text: str) -> None:
        log.warning("%s", text)
        self.remarks.put(text)

    def _upload(self, number: int, checkpoints: Path) -> None:
        mark = self._mark(checkpoints)
        if mark.epoch <= mark.up or not checkpoints.is_dir():
            return
        # What is further than the first epoch after a trial was taken up could not be used. Later on it comes from
        # another host that has the trial, since this one was taken for dead.
        anew = number in self._beginning
        if self._files.put_checkpoints(number, mark.epoch, checkpoints, anew=anew):
            self._beginning.discard(number)
            self._note(checkpoints, lambda now: now.model_copy(update={"up": mark.epoch}))

    def _forget(self, number: int, checkpoints: Path) -> None:
        self._files.forget_checkpoints(number)
        self._home.mark(checkpoints).unlink(missing_ok=True)

    def _catch_up(self) -> None:
        """What an earlier run of this home left to be done."""
        folder = self._home.all_checkpoints(self._study.folder, self._study.attributes["uid"])
        for left in folder.glob(f"{SCRATCH}*"):  # by a process that was killed
            if time.time() - left.lstat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        for file in sorted(folder.glob("trial-*.json")):
            named = re.fullmatch(r"trial-(\d+)\.json", file.name)
            number, checkpoints = int(named[1]) if named else -1, file.with_suffix("")
            mark = self._mark(checkpoints)
            if mark.settled:
                job = self._forget
            elif mark.epoch > mark.up and self._may_go_on(number):
                job = self._finish
            else:
                continue
            with self._changed:
                self._jobs.setdefault(number, partial(job, number, checkpoints))

    def _may_go_on(self, number: int) -> bool:
        """Whether the trial is not settled for good: one that paused and was then pruned may be trained to its end."""
        try:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study.study_id, number)
            return self._storage.get_trial(trial_id).state not in (TrialState.COMPLETE, TrialState.FAIL)
        except KeyError:  # somebody deleted it
            return False

    def _finish(self, number: int, checkpoints: Path) -> None:
        """An upload that an earlier run left: another host may be further by now."""
        there = self._files.checkpoints(number)
        if not there or there[0].number < self._mark(checkpoints).epoch:
            self._upload(number, checkpoints)

    def _keep_artifacts(self) -> None:
        for artifact_id in artifact_ids(self._storage, self._study.study_id, drawn=False):
            file = self._home.artifacts / artifact_id
            if file.is_file() and not file.is_symlink() and not self._files.has_artifact(artifact_id):
                self._files.put_artifact(artifact_id, file)

    def _keep_logs(self) -> None:
        for file in sorted(self._home.logs(self._study.folder).glob("*.log")):
            about = file.stat()
            if self._logs.get(file) != (about.st_size, about.st_mtime_ns):
                self._files.put_log(this_host(), file)
                self._logs[file] = (about.st_size, about.st_mtime_ns)

    def _mark(self, checkpoints: Path) -> Mark:
        with self._marks:
            return self._read(checkpoints)

    def _note(self, checkpoints: Path, changed: Callable[[Mark], Mark]) -> None:
        file = self._home.mark(checkpoints)
        try:
            with self._marks:
                write_text(file, changed(self._read(checkpoints)).model_dump_json())
        except OSError as error:  # the disk is full: it is told where checkpoints are written
            log.warning("%s can't be written: %s", file, error.strerror)

    def _read(self, checkpoints: Path) -> Mark:
        with contextlib.suppress(OSError, ValidationError, UnicodeDecodeError):
            return Mark.model_validate_json(self._home.mark(checkpoints).read_text("utf-8"))
        return Mark()
