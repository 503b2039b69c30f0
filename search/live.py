"""A run as people see it: a live table on a terminal, plain lines in a pipe or a log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.slot import Event, Place
from studies.catalog import StudyRecord
from studies.queue import Counts

PLAIN_EPOCH_SECONDS = 15.0
"""In a pipe, a slot's epochs are lines at most this often: a log should be readable after a night."""

_SETTLED = {"complete": "green", "pruned": "yellow", "failed": "red"}


@dataclass
class _SlotState:
    number: int | None = None
    config: str = ""
    epochs: int = 0
    epoch: int = 0
    share: float = 0.0
    """Of the epoch in hand, 0 to 1."""
    val_accuracy: float | None = None
    images_per_second: float = 0.0
    printed: float = field(default_factory=lambda: -PLAIN_EPOCH_SECONDS)


class Screen:
    """Implements `search.host.View`. Use as a context manager: it gives the terminal back."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._slots: dict[int, _SlotState] = {}
        self._places: Sequence[Place] = ()
        self._counts: Counts | None = None
        self._settled_before = 0
        self._started = time.monotonic()
        self._best: tuple[float, int] | None = None
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=True)

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def best_so_far(self, value: float, number: int) -> None:
        """What the study had reached before this run."""
        self._best = (value, number)

    def note(self, text: str) -> None:
        self._print(text, style="dim")

    def opened(self, study: StudyRecord, places: Sequence[Place], counts: Counts) -> None:
        self._places, self._counts, self._settled_before = places, counts, counts.settled
        self._started = time.monotonic()
        data = study.attributes["data"]
        self._print(
            f"study {study.name}: {counts.budget} trials, {counts.settled} settled; {data['train_images']} training "
            f"and {data['validation_images']} validation images of {data['source']}; "
            f"{len(places)} worker{'s' if len(places) > 1 else ''} on {', '.join(sorted({p.device for p in places}))}"
        )

    def event(self, event: Event) -> None:
        slot = self._slots.setdefault(event.place.index, _SlotState())
        values = event.values
        match event.kind:
            case "taken":
                config = values["config"]
                self._slots[event.place.index] = _SlotState(event.number, short(config), config["epochs"])
                self._print(f"trial {event.number} started: {short(config)}", style="dim")
            case "progress":
                slot.epoch, slot.share = values["epoch"], values["step"] / values["steps"]
                slot.images_per_second = values["images_per_second"]
            case "epoch":
                slot.epoch, slot.share, slot.val_accuracy = values["epoch"], 1.0, values["val_accuracy"]
                self._plain_epoch(event, slot)
            case "complete" | "pruned" | "failed":
                self._slots[event.place.index] = _SlotState()
                self._settled(event)
            case "retried":
                self._slots[event.place.index] = _SlotState()
                text = f"trial {event.number} will be run again ({values['attempt']}. crash): {values['reason']}"
                self._print(text, style="yellow")
            case "returned":
                self._slots[event.place.index] = _SlotState()
                self._print(f"trial {event.number} went back into the queue; it goes on from its last epoch")
            case "note":
                self._slots[event.place.index] = _SlotState()
                self._print(f"trial {event.number}: {values['text']}", style="yellow")

    def counted(self, counts: Counts) -> None:
        self._counts = counts

    def _settled(self, event: Event) -> None:
        values = event.values
        if event.kind == "complete" and (self._best is None or values["value"] > self._best[0]):
            self._best = (values["value"], event.number)
        score = f" val_accuracy {values['value']:.4f}" if event.kind == "complete" else f": {values['reason']}"
        best = f"; best {self._best[0]:.4f} (trial {self._best[1]})" if self._best else ""
        seconds = f" in {duration(values['seconds'])}" if values.get("seconds") else ""
        self._print(f"trial {event.number} {event.kind}{score}{seconds}{best}", style=_SETTLED[event.kind])

    def _plain_epoch(self, event: Event, slot: _SlotState) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and now - slot.printed > PLAIN_EPOCH_SECONDS:
            slot.printed = now
            values = event.values
            self._print(
                f"trial {event.number} epoch {values['epoch']}/{values['epochs']} val_accuracy "
                f"{values['val_accuracy']:.4f}"
            )

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(Text(text, style=style or ""), soft_wrap=True)

    def _table(self) -> Group:
        if self._counts is None:
            return Group()
        counts, elapsed = self._counts, time.monotonic() - self._started
        head = Table.grid(padding=(0, 2))
        best = f"best {self._best[0]:.4f} (trial {self._best[1]})" if self._best else "no complete trial yet"
        done = counts.settled - self._settled_before
        left = counts.budget - counts.settled
        to_go = f"about {duration(elapsed / done * left)} to go" if done and left else ""
        head.add_row(
            ProgressBar(total=max(1, counts.budget), completed=counts.settled, width=24),
            f"{counts.settled}/{counts.budget} settled",
            best,
            duration(elapsed),
            to_go,
        )
        rows = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("where", "trial", "epoch", "val_accuracy", "images/s", "config"):
            rows.add_column(column, no_wrap=True, overflow="ellipsis")
        for place in self._places:
            slot = self._slots.get(place.index, _SlotState())
            if slot.number is None:
                rows.add_row(place.device, "-", "", "", "", "")
                continue
            accuracy = "" if slot.val_accuracy is None else f"{slot.val_accuracy:.4f}"
            epoch = f"{slot.epoch or 1}/{slot.epochs} {slot.share:4.0%}"
            rate = f"{slot.images_per_second:.0f}" if slot.images_per_second else ""
            rows.add_row(place.device, str(slot.number), epoch, accuracy, rate, slot.config)
        return Group(head, rows)


def short(config: Mapping[str, Any]) -> str:
    """A configuration on one line: what decides it, without seed and precision."""
    words = [f"batch_size {config['batch_size']}", f"learning_rate {config['learning_rate']:.3g}"]
    words.append(f"epochs {config['epochs']}")
    if config["schedule"] == "step":
        step = config["step_epochs"]
        after = f"every {step}" if isinstance(step, int) else "after " + ", ".join(str(epoch) for epoch in step)
        words.append(f"x {config['step_factor']:g} {after}")
    else:
        words.append("constant")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Seconds as people say them: "8 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
