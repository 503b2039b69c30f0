"""Trainings as people see them: a bar each on a terminal, a line now and then in a pipe or a log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

import rich.progress
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn

from model.config import EpochMetrics
from search.base.terminal import Output, plain_table
from search.retraining.view import Candidate, Happening, Job, Trained
from search.screen.live import PLAIN_EPOCH_SECONDS
from search.space.own import OwnEpoch
from search.training.messages import Epoch, Progress, Started
from studies.record.metric import Metric
from studies.record.retrained import Verified
from studies.words import duration, failure_in_words, one_line


class Bars:
    """Implements `search.retraining.view.View`. Use as a context manager: it gives the terminal back.

    A terminal or log that can't be written to any more ends the printing, never a training.
    """

    def __init__(self, console: Output) -> None:
        self._console = console
        self._progress = rich.progress.Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_interactive,
        )
        self._bars: dict[str, TaskID] = {}
        self._printed: dict[str, float] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._progress.stop()
        except OSError:
            self._console.go_silent()

    def note(self, text: str, style: str = "") -> None:
        self._console.say(text, style)

    def tell(self, job: Job, happening: Happening) -> None:
        name, epochs = job.name, job.config.epochs
        match happening:
            case Started():
                if name not in self._bars:
                    self._bars[name] = self._progress.add_task(name, total=1.0, said="")
                    self._printed[name] = time.monotonic()
            case Progress(epoch=epoch):
                share = (epoch - 1 + happening.step / happening.steps) / epochs
                rate = f"  {happening.images_per_second:.0f} images/s" if happening.images_per_second else ""
                said = f"epoch {epoch}/{epochs}{rate}"
                self._progress.update(self._bars[name], completed=share, said=said)
            case Epoch(metrics=metrics):
                said = f"epoch {metrics.epoch}/{epochs}  {_scores(metrics)}"
                self._progress.update(self._bars[name], completed=metrics.epoch / epochs, said=said)
                now = time.monotonic()
                if not self._console.is_interactive and now - self._printed[name] > PLAIN_EPOCH_SECONDS:
                    self._printed[name] = now
                    self.note(f"{name} {said}")
            case Trained():
                self._ended(name, happening)

    def compared(self, candidates: Sequence[Candidate], verified: Verified) -> None:
        table = plain_table()
        for column in ("trial", "searched", "fresh seeds", "spread", "optimism"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("")
        for candidate in candidates:
            one, trial = candidate.retrained, str(candidate.recipe.trial)
            shown = Metric(candidate.recipe.metric).shown
            searched = shown(candidate.recipe.value)
            if one is None:
                table.add_row(trial, searched, "-", "-", "-", candidate.failure)
            else:
                spread = "-" if one.spread is None else shown(one.spread)
                note = "picked" if one.trial == verified.picked else ""
                table.add_row(trial, searched, shown(one.mean), spread, one.measure.difference(one.optimism), note)
        self._console.print(table)

    def _ended(self, name: str, trained: Trained) -> None:
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))
        history, failure = trained.history, trained.failure
        if failure:
            self.note(f"{name} failed: {failure_in_words(failure.kind, failure.text)}", "red")
        else:
            took = duration(sum(metrics.seconds for metrics in history))
            epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
            self.note(f"{name}: {epochs} in {took}, {_scores(history[-1])}")


def _scores(metrics: EpochMetrics | OwnEpoch) -> str:
    if isinstance(metrics, OwnEpoch):
        return ", ".join(f"{one_line(name)} {Metric(name).shown(value)}" for name, value in metrics.values.items())
    if metrics.val_accuracy is None:
        return f"training loss {metrics.loss:.4f}, accuracy {metrics.accuracy:.4f}"
    return f"val_accuracy {metrics.val_accuracy:.4f}"
