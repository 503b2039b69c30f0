"""Failures that are no trial's fault: trials with different values fail alike before their run has done an epoch."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path

from model.config import Failure, TrainConfig
from search.space.own import OwnConfig
from studies.queue.queue import Taken
from studies.words import listed, one_line

LAST_LINES = 5
"""So many of a log's are shown."""


@dataclass(frozen=True)
class Crash:
    """A training that crashed, or failed by an error of its own."""

    taken: Taken
    config: TrainConfig | OwnConfig
    failure: Failure
    final: bool = False
    """It has failed for good, for trying again does not help, as where a function reports nothing."""

    def like(self, other: Crash) -> bool:
        """Whether the two failed in the same words, their numbers and logs aside, with different values."""
        mine, others = (each.config.model_dump(exclude={"seed", "precision"}) for each in (self, other))
        return mine != others and self._kind() == other._kind()

    def _kind(self) -> tuple[str, str]:
        return self.failure.kind, re.sub(r"\d+", "#", self.failure.text.partition(", see ")[0])


class EarlyCrashes:
    """Those of a run, as long as none of its trials has done an epoch. Shared by its slots."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Crash | None = None
        self._trained = False

    def epoch_done(self) -> None:
        """Training works here: from now on a crash is its trial's own."""
        self._trained = True

    @property
    def last_number(self) -> int:
        """Of the trial that crashed last: the next one shall be another. -1 while there is none."""
        return self._last.taken.number if self._last and not self._trained else -1

    def alike_before(self, crash: Crash) -> Crash | None:
        """The crash of another trial, just before, that was like this one; None if it is this trial's own so far."""
        with self._lock:
            if self._trained:
                return None
            last = self._last
            if last is None or last.taken.number != crash.taken.number:
                self._last = crash
            return last if last and crash.like(last) else None


def told_alike(first: Crash, second: Crash, log: Path) -> str:
    """What a run says that ends for two such crashes; `log` is what the second one's process printed."""
    numbers = listed([str(number) for number in sorted((first.taken.number, second.taken.number))], "and")
    what = second.failure.text.partition(", see ")[0]
    return (
        f"trials {numbers} have different values and failed alike before their first epoch ({one_line(what)}): no "
        f"trial's fault. Both are back in the queue, and these failures do not count. {_last_words(log)}"
    )


def _last_words(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 10_000))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return f"The training process's log is {log}"
    last = [f"  {one_line(line)[:300]}" for line in lines if line.strip()][-LAST_LINES:]
    return f"The end of {log}:\n" + "\n".join(last) if last else f"Nothing was printed to {log}"
