"""How a study stands, shown until it is done: a live view on a terminal, in a pipe one line per change."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.base.terminal import Output
from search.screen.live import WIDE, slots_table, sparkline
from studies.queue.queue import Queue
from studies.queue.standing import Counts, SlotStatus
from studies.record.catalog import (
    StudyError,
    StudyRecord,
    all_studies,
    best_over_time,
    described,
    find_study,
    top_trials,
)
from studies.record.cost import ledger
from studies.record.metric import Metric, trains
from studies.record.pace import Pace, pace_of, recent_trials
from studies.store.storage import Storage
from studies.words import duration, one_line, settings, told_to_stop


@dataclass(frozen=True)
class Look:
    """How a study stood at one look."""

    name: str
    metric: Metric
    is_own: bool
    """Whether the training is the user's own, which counts no images."""
    counts: Counts
    best: tuple[float, int, str] | None
    """Value, number and parameters of the best trial."""
    best_over_time: list[float]
    device_seconds: float
    slots: list[SlotStatus]
    pace: Pace
    stop: str | None

    @property
    def done(self) -> bool:
        """Whether nothing will change any more."""
        return self.counts.settled == self.counts.budget or (self.stop is not None and not self.counts.running)

    @property
    def line(self) -> str:
        """All of it on one line, for a log."""
        words = [described(self.counts)]
        words += [f"best {self.metric.shown(self.best[0])} (trial {self.best[1]})"] if self.best else []
        words += [f"{duration(self.device_seconds)} of device time"]
        words += [f"about {duration(self.pace.seconds_left)} to go"] if self.pace.seconds_left else []
        return "; ".join(words)


def look(storage: Storage, name: str | None) -> Look:
    """How the study stands now. Raises StudyError if there is none."""
    return _look_at(storage, find_study(storage, name))


def _look_at(storage: Storage, study: StudyRecord) -> Look:
    queue = Queue(storage, study.study_id)
    counts, slots = queue.counts(), queue.slots()
    top = top_trials(storage, study, 1)
    return Look(
        name=study.name,
        metric=study.metric,
        is_own=study.is_ours and trains(study.attributes).kind == "own",
        counts=counts,
        best=(top[0].value or 0.0, top[0].number, settings(top[0].params)) if top else None,
        best_over_time=best_over_time(storage, study),
        device_seconds=ledger(storage, study.study_id).device_seconds,
        slots=slots,
        pace=pace_of(recent_trials(storage, study.study_id), counts, slots, datetime.datetime.now()),
        stop=queue.stop_requested(),
    )


def watch(
    storage: Storage,
    name: str | None,
    console: Output,
    *,
    every: float,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Show the study, anew after `every` seconds, until it is settled or stopped, or until Ctrl-C, which stops nothing.

    Raises StudyError if there is none, or no longer.
    """
    study = find_study(storage, name)
    latest = _look_at(storage, study)
    said = ""
    with Live(
        console=console, get_renderable=lambda: view(latest, console), auto_refresh=False, transient=True
    ) as live:
        while True:
            if console.is_interactive:
                live.refresh()
            elif latest.line.partition(";")[0] != said:  # a line where trials were settled, not one a second
                said = latest.line.partition(";")[0]
                console.print(Text(latest.line), soft_wrap=True)
            if latest.done:
                return
            try:
                pause(every)
            except KeyboardInterrupt:
                return
            study = _followed(storage, study)
            if study.name != latest.name:
                console.print(Text(f"study {one_line(latest.name)} is called {study.shown} now"), soft_wrap=True)
            latest = _look_at(storage, study)


def _followed(storage: Storage, study: StudyRecord) -> StudyRecord:
    """The same study, which may have another name by now. Raises StudyError if it was deleted."""
    now = next((each for each in all_studies(storage) if each.is_same(study)), None)
    if now is None:
        raise StudyError(f"study {study.shown!r} was deleted. `alexsearch studies` lists those that there are.")
    return now


def view(latest: Look, console: Output) -> Group:
    """The picture of one look."""
    counts, wide = latest.counts, console.width >= WIDE
    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(1, counts.budget), completed=counts.settled, width=24, complete_style="cyan")
    head.add_row(bar, Text(one_line(latest.name), style="bold"))
    parts: list[Table | Text] = [head, Text(described(counts))]
    if latest.best:
        curve = sparkline(latest.best_over_time, 24 if wide else 12, console)
        value, trial, params = latest.best
        words = f"best {one_line(latest.metric.name)} {latest.metric.shown(value)} {curve} (trial {trial}: {params})"
        parts.append(Text(words, no_wrap=True, overflow="ellipsis"))
    pace = [f"{duration(latest.device_seconds)} of device time"]
    pace += [f"{latest.pace.images_per_second:.0f} images/s"] if latest.pace.images_per_second else []
    pace += [f"about {duration(latest.pace.seconds_left)} to go"] if latest.pace.seconds_left else []
    parts.append(Text("   ".join(pace), no_wrap=True, overflow="ellipsis"))
    if latest.stop:
        parts.append(Text(told_to_stop(latest.stop, counts.running), style="yellow"))
    parts.append(
        slots_table([asdict(slot) for slot in latest.slots], own=latest.is_own)
        if latest.slots
        else Text("nobody works on it", style="dim")
    )
    return Group(*parts)
