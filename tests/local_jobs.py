"""Workers as jobs without a cluster: submitit's local executor in Slurm's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from search.run.engines.jobs import State


class LocalJobs:
    """Jobs of submitit's local executor: a controller each, which starts the job as a process of its own."""

    def __init__(self, folder: Path) -> None:
        import submitit

        self._executor = submitit.LocalExecutor(folder)
        self._jobs: dict[str, Any] = {}

    def submit(self, calls: Sequence[Callable[[], object]]) -> list[str]:
        jobs = [self._executor.submit(call) for call in calls]
        self._jobs |= {job.job_id: job for job in jobs}
        return [job.job_id for job in jobs]

    def states(self) -> Mapping[str, State]:
        return {name: State(is_over=job.done()) for name, job in self._jobs.items()}

    def cancel(self, jobs: Sequence[str], *, kill: bool = False) -> None:
        for name in jobs:
            if kill:
                self._jobs[name].cancel()
            else:
                self._jobs[name]._process.terminate()
