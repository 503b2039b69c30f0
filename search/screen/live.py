"""A run as people see it: a live table on a terminal, plain lines in a pipe or a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from model.config import EpochMetrics, TrainConfig
from search.base.configs import columns_of, short
from search.base.terminal import Output, plain_table
from search.run.events import (
    Begun,
    Completed,
    EpochDone,
    Event,
    FailedForGood,
    Noted,
    Paused,
    Pruned,
    Resumed,
    Retried,
    Returned,
)
from search.space.own import OwnConfig, OwnEpoch
from search.training.messages import Progress
from search.training.places import Place
from studies.queue.standing import Counts
from studies.record.catalog import StudyRecord
from studies.record.metric import ACCURACY, Metric, trains
from studies.words import duration, failure_in_words, images, one_line

PLAIN_EPOCH_SECONDS = 15.0
"""In a pipe, a slot's epochs are lines at most this often: a log should be readable after a night."""
BLOCKS = "▁▂▃▄▅▆▇█"
WIDE = 100
"""Columns from which a slot's row has room for its schedule."""


@dataclass
class _SlotState:
    number: int | None = None
    config: TrainConfig | OwnConfig | None = None
    epoch: int = 0
    """The one in hand, from 1."""
    share: float = 0.0
    """Of the epoch in hand, 0 to 1."""
    done: int = 0
    """Epochs that are recorded."""
    value: float | None = None
    """Of the study's metric, in its last epoch."""
    images_per_second: float = 0.0
    printed: float = field(default_factory=lambda: -PLAIN_EPOCH_SECONDS)


class Screen:
    """Implements `search.run.host.View`. Use as a context manager: it gives the terminal back.

    A terminal or log that can't be written to any more ends the printing, never the run.
    """

    def __init__(self, console: Output, stopping: threading.Event | None = None) -> None:
        self._console = console
        self._stopping = stopping or threading.Event()
        self._slots: dict[int, _SlotState] = {}
        self._places: dict[int, Place] = {}
        self._counts: Counts | None = None
        self._settled_before = 0
        self._started = time.monotonic()
        self._best: tuple[float, int] | None = None
        self._metric, self._trains = ACCURACY, trains({})
        self._best_over_time: list[float] = []
        self._device_seconds = 0.0
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=True)

    def __enter__(self) -> Screen:
        if self._console.is_interactive:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._live.stop()
        except OSError:
            self._console.go_silent()

    def before(self, best: tuple[float, int] | None, best_over_time: Sequence[float], device_seconds: float) -> None:
        """What the study had come to before this run: value and number of its best trial, how it rose, what it cost."""
        self._best, self._best_over_time, self._device_seconds = best, list(best_over_time), device_seconds

    def note(self, text: str) -> None:
        self._console.say(text, style="dim")

    def opened(self, study: StudyRecord, places: Sequence[Place], counts: Counts) -> None:
        self._metric, self._trains = Metric.of(study.attributes), trains(study.attributes)
        self._places = {place.index: place for place in places}
        self._counts, self._settled_before = counts, counts.settled
        self._started = time.monotonic()
        self._console.say(
            f"study {study.name}: {counts.budget} trials, {counts.settled} settled; "
            f"{images(study.attributes['data'])}; "
            f"{len(places)} worker{'s' if len(places) > 1 else ''} on {', '.join(sorted({p.device for p in places}))}"
        )

    def event(self, event: Event) -> None:
        slot = self._slots.setdefault(event.place.index, _SlotState())
        self._places[event.place.index] = event.place  # of a worker elsewhere, it is known only now
        match event.what:
            case Begun(config):
                self._slots[event.place.index] = _SlotState(event.number, config)
                self._console.say(f"trial {event.number} started: {short(config.model_dump())}", style="dim")
            case Resumed(epoch):
                slot.epoch = slot.done = epoch
                slot.share = 1.0
                planned = slot.config.epochs if slot.config else epoch
                self._console.say(f"trial {event.number} goes on after epoch {epoch} of {planned}")
            case Progress() as now:
                slot.epoch, slot.share = now.epoch, now.step / now.steps
                slot.images_per_second = now.images_per_second
            case EpochDone(metrics, epochs):
                slot.epoch = slot.done = metrics.epoch
                slot.share, slot.value = 1.0, value_in(metrics, self._metric)
                self._device_seconds += metrics.seconds
                self._plain_epoch(event.number, slot, epochs)
            case _:
                self._slots[event.place.index] = _SlotState()
                self._let_go(event, slot.done)

    def counted(self, counts: Counts) -> None:
        self._counts = counts

    def _let_go(self, event: Event, done: int) -> None:
        """The slot is done with the trial."""
        trial = f"trial {event.number}"
        match event.what:
            case Completed(value, seconds, same_as):
                if self._best is None or self._metric.better(value, self._best[0]):
                    self._best = (value, event.number)
                self._best_over_time.append(self._best[0])
                same = f", the result of trial {same_as}, which had the same values" if same_as is not None else ""
                self._settled(f"{trial} complete {self._said(value)}{same}", seconds, "green")
            case Pruned(reason, seconds):
                self._settled(f"{trial} {reason}", seconds, "yellow")
            case FailedForGood(reason, seconds):
                self._settled(f"{trial} failed: {reason}", seconds, "red")
            case Retried(failure, crashes):
                why = failure_in_words(failure.kind, failure.text)
                self._console.say(f"{trial} will be run again (crash {crashes}): {why}", style="yellow")
            case Paused(epoch, epochs):
                self._console.say(f"{trial} pauses after epoch {epoch} of {epochs}", style="dim")
            case Returned():
                on = f" and goes on after epoch {done}" if done else ""
                self._console.say(f"{trial} went back into the queue{on}")
            case Noted(text):
                self._console.say(f"{trial}: {text}", style="yellow")

    def _settled(self, told: str, seconds: float, style: str) -> None:
        best = f"; best {self._metric.shown(self._best[0])} (trial {self._best[1]})" if self._best else ""
        took = f" in {duration(seconds)}" if seconds else ""
        self._console.say(f"{told}{took}{best}", style=style)

    def _plain_epoch(self, number: int, slot: _SlotState, epochs: int) -> None:
        now = time.monotonic()
        if not self._console.is_interactive and now - slot.printed > PLAIN_EPOCH_SECONDS:
            slot.printed = now
            said = "" if slot.value is None else f" {self._said(slot.value)}"
            self._console.say(f"trial {number} epoch {slot.done}/{epochs}{said}")

    def _said(self, value: float) -> str:
        return f"{one_line(self._metric.name)} {self._metric.shown(value)}"

    def _table(self) -> Group:
        if self._counts is None:
            return Group()
        return Group(self._progress(self._counts), self._best_and_time(self._counts), self._rows())

    def _progress(self, counts: Counts) -> Table:
        line = Table.grid(padding=(0, 2))
        state = "stopping: running trials go back into the queue" if self._stopping.is_set() else ""
        if not state:
            kinds = {"running": counts.running, "paused": counts.paused, "waiting": counts.waiting - counts.paused}
            state = ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)
        bar = ProgressBar(total=max(1, counts.budget), completed=counts.settled, width=24, complete_style="cyan")
        line.add_row(bar, f"{counts.settled}/{counts.budget} settled", state)
        return line

    def _best_and_time(self, counts: Counts) -> Text:
        elapsed = time.monotonic() - self._started
        words = ["no complete trial yet"]
        if self._best:
            words = [f"best {self._metric.shown(self._best[0])} (trial {self._best[1]})"]
        wide = self._console.width >= WIDE
        if curve := sparkline(self._best_over_time, 16 if wide else 8, self._console):
            words.append(curve)
        words.append(duration(elapsed))
        if wide:
            words.append(f"{duration(self._device_seconds)} of device time")
        done, left = counts.settled - self._settled_before, counts.budget - counts.settled
        if done and left:
            words.append(f"about {duration(elapsed / done * left)} to go")
        return Text("   ".join(words), no_wrap=True, overflow="ellipsis")

    def _rows(self) -> Table:
        rows = plain_table()
        columns = ["where", "trial", "epoch", one_line(self._metric.name)]
        if self._trains.kind == "own":
            columns.append("settings")
        else:
            last = "schedule" if self._trains.kind == "alexnet" else "network"
            columns += ["images/s", "batch_size", "learning_rate", *([last] * (self._console.width >= WIDE))]
        for column in columns:
            rows.add_column(column, no_wrap=True, overflow="ellipsis")
        for _, place in sorted(self._places.items()):
            slot = self._slots.get(place.index, _SlotState())
            where = place.device.partition(":")[0]  # a GPU's name stands in the first line
            if slot.config is None:
                rows.add_row(where, "-")
                continue
            value = "" if slot.value is None else self._metric.shown(slot.value)
            row = [where, str(slot.number), f"{slot.epoch or 1}/{slot.config.epochs}", value]
            config = slot.config.model_dump()
            if isinstance(slot.config, OwnConfig):
                row.append(short(config))
            else:
                row[2] += f" {slot.share:4.0%}"
                rate = f"{slot.images_per_second:.0f}" if slot.images_per_second else ""
                row += [rate, *columns_of(config)]
            rows.add_row(*map(Text, row[: len(rows.columns)]))
        return rows


def value_in(metrics: EpochMetrics | OwnEpoch, metric: Metric) -> float | None:
    """What an epoch came to by the study's metric; None if it has none, as a network without validation images."""
    return metrics.values.get(metric.name) if isinstance(metrics, OwnEpoch) else metrics.val_accuracy


def sparkline(values: Sequence[float], width: int, console: Console) -> str:
    """A curve of at most `width` characters; empty for fewer than two values, or if the terminal lacks the blocks."""
    if len(values) < 2 or not console.encoding.lower().replace("-", "").startswith("utf"):
        return ""
    width = min(width, len(values))
    shown = [values[round(place * (len(values) - 1) / (width - 1))] for place in range(width)]
    low, high = min(shown), max(shown)
    return "".join(BLOCKS[round((value - low) / (high - low or 1.0) * (len(BLOCKS) - 1))] for value in shown)


def slots_table(slots: Sequence[Mapping[str, Any]], *, own: bool = False) -> Table:
    """The slots of a study, as the fields of `studies.queue.queue.SlotStatus`; `own` training counts no images."""
    table = plain_table()
    columns = ["host", "where", "trial", "epoch", "images/s", "last sign of life"]
    if own:
        columns.remove("images/s")
    for column in columns:
        table.add_column(column)
    for slot in slots:
        state = ", gone" if slot["gone"] else ", stale" if slot["stale"] else ""
        age = f"{duration(slot['age_seconds'])} ago{state}"
        trial = "-" if slot["trial"] is None else str(slot["trial"])
        rate = f"{slot['images_per_second']:.0f}" if slot["images_per_second"] else ""
        row = [one_line(slot["host"]), one_line(slot["device"]), trial, str(slot["epoch"] or "")]
        table.add_row(*row, *([] if own else [rate]), age)
    return table
