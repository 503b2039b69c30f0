"""Workers that are jobs of a scheduler: the files they need, what a job does, and the staff of a run's jobs.

The folder of a run's jobs must be on a disk that this host and the cluster's share. It is 0700: submitit pickles what a
job calls into it, and unpickles it on the job's host, so that nobody else may write there. What submitit would have to
say when a job ends, pickled too, is never read. The environment of the workers, with the database's password in it, is
a file of its own there, 0600: so it is in no script, in no pickle, and not in what the scheduler keeps of a job.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from search.run.engines.engine import TOLD_LINES, Ended, EngineError, Order
from search.run.engines.process import run_worker
from search.training.places import CORES
from studies.words import one_line

POLL_SECONDS = 10.0
"""How often the scheduler is asked about the jobs. One that has left its word that it ends is asked about at once."""
PATIENCE_SECONDS = 600.0
"""How long it may be away, while the workers work on, before the run gives up."""
CLOSE_SECONDS = 15.0
"""How long jobs may take to be gone once they were killed."""

log = logging.getLogger(__name__)


class JobsError(Exception):
    """The scheduler refuses or does not answer, in its own words."""

    def __init__(self, words: str, *, is_away: bool = False) -> None:
        super().__init__(words)
        self.is_away = is_away
        """It does not answer now, but may do so again."""


@dataclass(frozen=True)
class State:
    """Of a job, as its scheduler has it."""

    is_over: bool
    code: int | None = None
    """Its exit code, if it ended by itself; negative for a signal."""
    words: str = ""


class Jobs(Protocol):
    """Something that runs jobs: Slurm, or in tests submitit's local executor."""

    def submit(self, calls: Sequence[Callable[[], object]]) -> list[str]:
        """All of them, or none: a job each, by its id. Raises JobsError."""

    def states(self) -> Mapping[str, State]:
        """Of all jobs that are known, those that ended a while ago perhaps no more. Raises JobsError."""

    def cancel(self, jobs: Sequence[str], *, kill: bool = False) -> None:
        """Have those that wait never start, and those that run end: by SIGTERM, or at once. Raises JobsError."""


def jobs_folder(order: Order) -> Path:
    """A new folder for the files of a run's jobs, of this user alone. Raises EngineError."""
    folder = order.logs / f"slurm-{secrets.token_hex(4)}"
    try:
        folder.mkdir(mode=0o700, parents=True)
        with os.fdopen(os.open(folder / "environment", os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            json.dump(dict(order.environment), file)
    except OSError as error:
        raise EngineError(f"the files of the jobs can't be written to {folder}: {error.strerror}") from None
    return folder


def be_job(order: Order, number: int, folder: Path, word: str) -> None:
    """What a job does: be the worker, and leave word of how it ended. The job's exit code is the worker's."""
    (folder / word).unlink(missing_ok=True)  # of this very job's life before the scheduler queued it again
    environment = json.loads((folder / "environment").read_text())
    if CORES in environment:  # the whole node's, say, if the job has it for itself
        environment[CORES] = os.environ.get("SLURM_CPUS_ON_NODE", environment[CORES])
    ended = run_worker(replace(order, environment=environment), number)
    aside = folder / f"{word}.new"
    with contextlib.suppress(OSError):  # the run has ended meanwhile, and taken the folder away
        aside.write_text(json.dumps({"code": ended.code, "told": ended.told}))
        aside.replace(folder / word)
    raise SystemExit(ended.code if ended.code is None or ended.code >= 0 else 128 - ended.code)


@dataclass(frozen=True)
class _Sent:
    """A job of a worker."""

    job: str
    word: str
    """File in which it leaves word of how it ended."""
    at: float


class JobStaff:
    """The `Staff` of workers that are jobs."""

    def __init__(
        self,
        order: Order,
        jobs: Jobs,
        folder: Path,
        *,
        poll_seconds: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._order, self._jobs, self._folder = order, jobs, folder
        self._poll_seconds, self._clock = poll_seconds, clock
        self._unsent: list[int] = []
        self._sent: dict[int, _Sent] = {}
        self._never: list[int] = []
        self._count = 0
        self._asking: Future[Mapping[str, State]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._asked = self._tried = float("-inf")
        self._away_since: float | None = None
        self._words_left: set[str] = set()

    def start(self, number: int) -> None:
        """See `Staff`. It is sent by the next `ended`, together with the others."""
        self._unsent.append(number)

    def stop(self) -> None:
        """See `Staff`."""
        self._never += self._unsent
        self._unsent = []
        self._cancel()

    def ended(self) -> list[Ended]:
        """See `Staff`."""
        told = [Ended(number, None, "it had not been sent yet") for number in self._never]
        self._never = []
        if self._unsent and self._clock() - self._tried >= min(self._poll_seconds, 1.0):
            self._send()
        if self._asking is None and self._sent and self._is_time_to_ask():
            self._asked = self._clock()
            self._asking = self._thread.submit(self._jobs.states)
        if self._asking is not None and self._asking.done():
            asking, self._asking = self._asking, None
            told += self._judged(asking)
        return told

    def _send(self) -> None:
        numbers, self._tried = list(self._unsent), self._clock()
        words = [f"ended-{number}-{self._count + place}" for place, number in enumerate(numbers)]
        order = replace(self._order, environment={})
        try:
            jobs = self._jobs.submit(
                [
                    partial(be_job, order, number, self._folder.absolute(), word)
                    for number, word in zip(numbers, words, strict=True)
                ]
            )
        except JobsError as error:
            self._bear(error)
            return
        self._away_since, self._unsent, self._count = None, [], self._count + len(numbers)
        for number, word, job in zip(numbers, words, jobs, strict=True):
            self._sent[number] = _Sent(job, word, self._clock())
            log.info("worker %d is job %s", number, job)

    def _bear(self, error: JobsError) -> None:
        """Wait for a scheduler that is away, and no longer than is sensible. Raises EngineError."""
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        if not error.is_away or now - self._away_since > PATIENCE_SECONDS:
            raise EngineError(str(error)) from None
        log.warning("%s", error)

    def _is_time_to_ask(self) -> bool:
        left = {sent.word for sent in self._sent.values() if (self._folder / sent.word).exists()}
        news, self._words_left = left - self._words_left, left
        waited = self._clock() - self._asked
        return bool(news) or waited >= (min(1.0, self._poll_seconds) if left else self._poll_seconds)

    def _judged(self, asking: Future[Mapping[str, State]]) -> list[Ended]:
        try:
            states = asking.result()
        except JobsError as error:
            self._bear(error)
            return []
        self._away_since = None
        told = []
        for number, sent in list(self._sent.items()):
            state = states.get(sent.job, State(is_over=True, words="it is not in the queue any more"))
            if state.is_over and sent.at < self._asked:
                del self._sent[number]
                told.append(self._ended(number, sent, state))
        return told

    def _ended(self, number: int, sent: _Sent, state: State) -> Ended:
        with contextlib.suppress(OSError, ValueError):
            word = json.loads((self._folder / sent.word).read_text())
            return Ended(number, word["code"], f"job {sent.job}, {word['told']}")
        log.warning("worker %d, job %s: %s", number, sent.job, state.words)
        return Ended(number, state.code, f"job {sent.job}: {state.words}{self._last_lines(sent.job)}")

    def _last_lines(self, job: str) -> str:
        """Of what a job printed that could not even begin."""
        for file in sorted(self._folder.glob(f"{job}_*_log.err")):
            with contextlib.suppress(OSError):
                lines = file.read_text(errors="replace").splitlines()
                return f"; {'; '.join(one_line(line) for line in lines[-TOLD_LINES:] if line.strip())}"
        return ""

    def _cancel(self, *, kill: bool = False) -> None:
        if self._sent:
            try:
                self._jobs.cancel([sent.job for sent in self._sent.values()], kill=kill)
            except JobsError as error:
                log.warning("%s", error)

    def close(self) -> None:
        """See `Staff`."""
        self._unsent = []
        if self._sent:
            self._cancel(kill=True)
            self._wait_until_gone()
        self._thread.shutdown(wait=False, cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_until_gone(self) -> None:
        until = self._clock() + CLOSE_SECONDS
        while self._sent and self._clock() < until:
            with contextlib.suppress(JobsError):
                states = self._jobs.states()
                gone = State(is_over=True)
                self._sent = {n: sent for n, sent in self._sent.items() if not states.get(sent.job, gone).is_over}
            if self._sent:
                time.sleep(0.2)
        if self._sent:
            log.warning("jobs that did not end: %s", ", ".join(sent.job for sent in self._sent.values()))
