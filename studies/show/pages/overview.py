"""What the list of studies and a study's own page say."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from studies.queue.pausing import NEXT
from studies.queue.queue import Queue
from studies.queue.standing import Counts, SlotStatus
from studies.record.catalog import StudyRecord, all_studies
from studies.record.cost import ledger
from studies.record.curves import best_steps, points_of, settled_in_order
from studies.record.metric import trains
from studies.record.pace import pace_of
from studies.record.published import PAPER_NAME, PAPER_SCORE, paper_points
from studies.show.pages.chart import Chart, Line, Point, draw, sparkline
from studies.show.pages.reader import (
    Reader,
    TrialRow,
    has_paper,
    last_value,
    planned_epochs,
    row_of,
    settings_of,
)
from studies.store.attributes import STUDY_SYSTEM
from studies.store.shapes import is_whole
from studies.words import PAUSED, STATE_WORDS, images, is_searched, listed, one_line, state_word, told_to_stop

CURVES = 60
"""The learning curves of the last so many trials are drawn, and the best one's."""
DOTS = 300
"""At most so many trials of a state are dots beside the best so far: of more, every second, third ..."""
ROWS = 20
ORDERS = ("newest", "best")


@dataclass(frozen=True)
class Lane:
    """A slot, and the trial it works on."""

    slot: SlotStatus
    epochs: int | None
    """How many its trial's configuration has."""
    settings: tuple[tuple[str, str], ...]
    value: float | None
    """The last value that the trial reported."""
    spark: str
    """Path of its learning curve, and of the best trial's beside it."""
    spark_best: str

    @property
    def share(self) -> float:
        """How much of the trial is done, in percent."""
        return min(100.0, 100 * self.slot.epoch / self.epochs) if self.epochs else 0.0


def list_of_studies(reader: Reader) -> dict[str, Any]:
    """Every study, the newest first."""
    listed = []
    for study in reversed(all_studies(reader.storage)):
        queue = Queue(reader.storage, study.study_id)
        counts, slots = queue.counts(), queue.slots()
        best = reader.best(study)
        listed.append(
            {
                "study": study,
                "counts": counts,
                "state": state_of(study, counts, slots, queue.stop_requested()),
                "next": next_of(reader, study, counts),
                "working": sum(not slot.stale for slot in slots),
                "best": best[0] if best else None,
                "question": question_of(study),
            }
        )
    return {"listed": listed, "refresh": 5}


def study_page(reader: Reader, study: StudyRecord, query: Mapping[str, str], now: datetime.datetime) -> dict[str, Any]:
    """A study as it stands: who works on it, how far it is, what it found; and a page of its trials.

    `query` may hold `state`, `order` and `page` of the table.
    """
    queue = Queue(reader.storage, study.study_id)
    trials, counts, slots, stop = reader.trials(study), queue.counts(), queue.slots(), queue.stop_requested()
    best = reader.best(study)
    state = state_of(study, counts, slots, stop)
    best_trial = best[1] if best else None
    return {
        "study": study,
        "state": state,
        "told_to_stop": told_to_stop(stop, counts.running) if stop else "",
        "stopped_by": queue.stopped_by(),
        "counts": counts,
        "next": next_of(reader, study, counts),
        "working": sum(not slot.stale for slot in slots),
        "question": question_of(study),
        "metric": study.metric,
        "best": best[0] if best else None,
        "baseline": reader.baseline(study),
        "lanes": lanes_of(slots, trials, best_trial),
        "cost": ledger(reader.storage, study.study_id),
        "pace": pace_of(trials, counts, slots, now),
        "charts": [progress_chart(study, trials, reader.baseline(study)), curves_chart(study, trials, best_trial)],
        "refresh": 2 if state in ("running", "stopping") else 10,
        **table_of(study, trials, query),
    }


def next_of(reader: Reader, study: StudyRecord, counts: Counts) -> list[int | None]:
    """What would be gone on with next where trials pause, best first; None stands for a new one."""
    wished = reader.storage.read(lambda session: STUDY_SYSTEM.read(session, study.study_id, NEXT))
    if not isinstance(wished, list) or counts.settled == counts.budget:
        return []
    return [number for number in wished if number is None or is_whole(number)]


def state_of(study: StudyRecord, counts: Counts, slots: Sequence[SlotStatus], stop: str | None) -> str:
    """finished, running, stopping, stopped, idle (there is work, and nobody does it), or empty."""
    working = any(not slot.stale for slot in slots) if study.is_ours else counts.running > 0
    if working:
        return "stopping" if stop else "running"
    if counts.settled == counts.budget:
        return "finished" if counts.budget else "empty"
    return "stopped" if stop else "idle"


def question_of(study: StudyRecord) -> str:
    """What the study asks, on one line."""
    if not study.is_ours:
        return study.origin
    space, data, training = study.attributes["space"], study.attributes["data"], trains(study.attributes)
    searched = [one_line(name) for name, stored in space["space"].items() if is_searched(stored)]
    what = listed(searched) if searched else "nothing"
    if training.kind == "own":
        return f"searches {what} of {_file(training.text)} for the {study.metric.best_word} {study.metric.title}"
    of = f" of {_file(training.text)}" if training.kind == "network" else ""
    return f"searches {what}{of} on {images({**data, 'source': _file(str(data['source']))})}"


def _file(path: str) -> str:
    """Without its folders, which are nobody's business who looks at a page."""
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def lanes_of(slots: Sequence[SlotStatus], trials: Sequence[FrozenTrial], best: FrozenTrial | None) -> list[Lane]:
    """The slots, with what is known of their trials."""
    running = {trial.number: trial for trial in trials if trial.state is TrialState.RUNNING}
    lanes = []
    for slot in slots:
        trial = running.get(-1 if slot.trial is None else slot.trial)
        own, other = (points_of(trial) if trial else ()), (points_of(best) if best else ())
        lasts = max((planned_epochs(trial) or 0) if trial else 0, *(int(x) for x, _ in (*own, *other)), 2)
        both = [y for _, y in (*own, *other) if math.isfinite(y)]
        low, high = min(both, default=0.0), max(both, default=1.0)
        lanes.append(
            Lane(
                slot=slot,
                epochs=planned_epochs(trial) if trial else None,
                settings=settings_of(trial) if trial else (),
                value=last_value(trial) if trial else None,
                spark=sparkline(own, lasts, low, high),
                spark_best=sparkline(other, lasts, low, high) if trial else "",
            )
        )
    return lanes


def progress_chart(study: StudyRecord, trials: Sequence[FrozenTrial], baseline: float | None) -> Chart:
    """The best value as the budget was spent, and what each trial came to."""
    if len(study.directions) > 1:
        trials = []
    settled = settled_in_order(trials)
    dots: dict[TrialState, list[Point]] = {TrialState.PRUNED: [], TrialState.COMPLETE: []}
    for place, trial in enumerate(settled, 1):
        if trial.state in dots and (value := last_value(trial)) is not None:
            dots[trial.state].append((place, value))
    best = best_steps(trials, smallest=study.metric.smaller_is_better)
    across = [1.0, float(max(2, len(settled)))]
    lines = []
    if has_paper(study):
        lines.append(Line(PAPER_NAME, [(x, PAPER_SCORE) for x in across], "paper"))
    if baseline is not None:
        lines.append(Line("baseline", [(x, baseline) for x in across], "baseline"))
    for state, points in dots.items():
        lines.append(
            Line(STATE_WORDS[state.name], points[:: 1 + len(points) // DOTS], STATE_WORDS[state.name], dots=True)
        )
    lines.append(Line("best so far", best, "best", step=True))
    said = study.metric.shown
    return draw("Best as the budget is spent", lines if settled else [], x_label="settled trials", said=said)


def curves_chart(study: StudyRecord, trials: Sequence[FrozenTrial], best: FrozenTrial | None) -> Chart:
    """The learning curves of the last trials, with the best one's and the paper's over them."""
    best_number = -1 if best is None else best.number
    started = [trial for trial in trials if trial.intermediate_values and trial.number != best_number]
    lines = [
        Line(
            f"trial {trial.number}",
            points_of(trial),
            state_word(trial),
            quiet=trial.state is not TrialState.RUNNING,
        )
        for trial in sorted(started[-CURVES:], key=lambda trial: trial.state is TrialState.RUNNING)
    ]
    if best is not None and best.intermediate_values:
        lines.append(Line(f"best: trial {best.number}", points_of(best), "best"))
    if has_paper(study) and lines:
        last = max(x for line in lines for x, _ in line.points)
        lines.append(Line(PAPER_NAME, paper_points("val_accuracy", last), "paper"))
    shown = "Learning curves" if len(started) <= CURVES else f"Learning curves of the last {CURVES} trials"
    return draw(shown, lines, x_label="epoch", said=study.metric.shown)


def table_of(study: StudyRecord, trials: Sequence[FrozenTrial], query: Mapping[str, str]) -> dict[str, Any]:
    """One page of the study's trials, as `query` asks; what makes no sense in it is ignored."""
    state = query.get("state", "")
    state = state if state in (*STATE_WORDS.values(), PAUSED) else ""
    order = query.get("order") if query.get("order") in ORDERS else "newest"
    # What waits has nothing to show yet: it is there for those who ask for it.
    chosen = [trial for trial in trials if (state_word(trial) == state if state else state_word(trial) != "waiting")]
    if order == "best":
        sign = 1 if study.metric.smaller_is_better else -1
        chosen = [trial for trial in chosen if last_value(trial) is not None]
        chosen.sort(key=lambda trial: (sign * (last_value(trial) or 0.0), trial.number))
    elif state != "waiting":  # those stay in the order in which they will be taken
        chosen.reverse()
    pages = max(1, -(-len(chosen) // ROWS))
    asked = query.get("page", "1")
    page = min(pages, max(1, int(asked))) if asked.isascii() and asked.isdecimal() and len(asked) < 9 else 1
    rows: list[TrialRow] = [row_of(trial) for trial in chosen[(page - 1) * ROWS : page * ROWS]]
    return {"rows": rows, "table": {"state": state, "order": order, "page": page, "pages": pages, "of": len(chosen)}}
