"""What the pages of one trial, of several side by side, and of the best one say."""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from studies.record.catalog import StudyRecord, last_number, top_trials
from studies.record.curves import points_of
from studies.record.published import PAPER_CURVE, PAPER_NAME, paper_points
from studies.show.filters import count, moment, plain, plural
from studies.show.pages.chart import Chart, Line, draw, four_digits
from studies.show.pages.reader import (
    Reader,
    epoch_curve,
    has_paper,
    last_value,
    metric_of,
    planned_epochs,
    row_of,
    settings_of,
)
from studies.store.epochs import epoch_history
from studies.words import STATE_WORDS, duration, one_line, why

COMPARED = 8
"""How many trials can be told apart on one chart."""
METRICS: Mapping[str, str] = {
    "val_accuracy": "validation accuracy",
    "accuracy": "training accuracy",
    "val_loss": "validation loss",
    "loss": "training loss",
    "learning_rate": "learning rate",
    "seconds": "seconds per epoch",
}
TOLD_ELSEWHERE = ("config", "failure", "reason", "crashes", "seconds", "epochs_run", "images_per_second")
NEXT_BEST = 5


def trial_page(reader: Reader, study: StudyRecord, number: int, now: datetime.datetime) -> dict[str, Any]:
    """One trial: its curves, its configuration, what became of it. Raises StudyError if there is none."""
    trial = reader.trial(study, number)
    history = epoch_history(reader.storage, trial._trial_id)
    best = reader.best(study)
    last = last_number(reader.storage, study) or 0
    return {
        "study": study,
        "trial": row_of(trial),
        "metric": metric_of(study),
        "story": story_of(study, trial, now),
        "best": best[0] if best else None,
        "charts": charts_of(study, trial, history),
        "history": history,
        "config": configuration_of(trial),
        "facts": facts_of(study, trial),
        "previous": number - 1 if number else None,
        "next": number + 1 if number < last else None,
        "exportable": is_exportable(study, trial),
        "file": recipe_name(study, number),
        "refresh": 2 if trial.state is TrialState.RUNNING else 15,
    }


def story_of(study: StudyRecord, trial: FrozenTrial, now: datetime.datetime) -> str:
    """What became of a trial, in a sentence or two."""
    done, planned = len(trial.intermediate_values), planned_epochs(trial)
    if trial.state is TrialState.WAITING:
        return f"Waits in the queue{f', and goes on after epoch {done}' if done else ''}."
    if trial.state is TrialState.RUNNING:
        since = (now - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0
        epochs = f"{done} of {plural(planned, 'epoch')}" if planned else plural(done, "epoch")
        return f"Has run for {duration(max(0.0, since))}: {epochs}."
    if study.is_ours:
        return why(trial)
    return f"{STATE_WORDS[trial.state.name].capitalize()}. Another program trained it."


def charts_of(study: StudyRecord, trial: FrozenTrial, history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Accuracy and loss, training against validation; learning rate; seconds per epoch."""
    if not history:
        return [
            draw(f"Reported {metric_of(study)}", [Line("reported", points_of(trial), "validation")], x_label="epoch")
        ]
    last = history[-1]["epoch"]

    def both(metric: str) -> list[Line]:
        lines = [
            Line("training", epoch_curve(history, metric), "training"),
            Line("validation", epoch_curve(history, f"val_{metric}"), "validation"),
        ]
        if has_paper(study):
            lines.append(Line(PAPER_NAME, paper_points(f"val_{metric}", last), "paper"))
        return lines

    rate, seconds = epoch_curve(history, "learning_rate"), epoch_curve(history, "seconds")
    return [
        draw("Accuracy", both("accuracy"), x_label="epoch"),
        draw("Loss", both("loss"), x_label="epoch"),
        draw("Learning rate", [Line("learning rate", rate, "plain")], x_label="epoch", said=significant, log=True),
        draw("Seconds per epoch", [Line("seconds", seconds, "plain")], x_label="epoch", said=one_digit, low=0.0),
    ]


def significant(value: float) -> str:
    return f"{value:.3g}"


def one_digit(value: float) -> str:
    return f"{value:.1f} s"


def configuration_of(trial: FrozenTrial) -> list[tuple[str, str, bool]]:
    """Its resolved configuration, and which of it was searched."""
    config = trial.user_attrs.get("config")
    chosen = dict(settings_of(trial))
    if isinstance(config, dict):
        return [(one_line(name), plain(value), name in chosen) for name, value in config.items()]
    return [(name, value, True) for name, value in chosen.items()]


def facts_of(study: StudyRecord, trial: FrozenTrial) -> list[tuple[str, str]]:
    """What else was recorded: times, cost, host, versions."""
    stored = trial.user_attrs
    times = [("started", moment(trial.datetime_start)), ("ended", moment(trial.datetime_complete))]
    facts = [(name, text) for name, text in times if text]
    if study.is_ours and "seconds" in stored:
        facts.append(("device time", duration(stored["seconds"])))
    if study.is_ours and stored.get("images_per_second"):
        facts.append(("images/s", count(stored["images_per_second"])))
    told = TOLD_ELSEWHERE if study.is_ours else ()
    facts += [(one_line(name), plain(value)) for name, value in stored.items() if name not in told]
    return facts


def compare_page(reader: Reader, study: StudyRecord, numbers: Sequence[int], metric: str) -> dict[str, Any]:
    """Up to eight trials on one chart, and where their configurations differ. Raises StudyError on a wrong number."""
    numbers = list(dict.fromkeys(numbers))
    trials = [reader.trial(study, number) for number in numbers[:COMPARED]]
    metric = metric if metric in METRICS else "val_accuracy"
    lines = [
        Line(f"trial {trial.number}", compared_curve(reader, trial, metric), f"s{index}")
        for index, trial in enumerate(trials, 1)
    ]
    if has_paper(study) and metric in PAPER_CURVE and trials:
        last = max((x for line in lines for x, _ in line.points), default=0.0)
        lines.append(Line(PAPER_NAME, paper_points(metric, last), "paper"))
    rows = [(f"s{index}", row_of(trial)) for index, trial in enumerate(trials, 1)]
    configs = [{name: value for name, value, _ in configuration_of(trial)} for trial in trials]
    names = list(dict.fromkeys(name for config in configs for name in config))
    table = [(name, [config.get(name, "") for config in configs]) for name in names]
    log = metric == "learning_rate"
    return {
        "study": study,
        "metric": metric_of(study),
        "rows": rows,
        "numbers": [trial.number for trial in trials],
        "dropped": numbers[COMPARED:],
        "shown": metric,
        "metrics": METRICS if study.is_ours else {"val_accuracy": "value"},
        "chart_drawn": draw(
            METRICS[metric].capitalize() if study.is_ours else "Reported value",
            lines,
            x_label="epoch",
            said=significant if log else four_digits,
            log=log,
        ),
        "differing": [(name, values) for name, values in table if len(set(values)) > 1],
        "same": [(name, values[0]) for name, values in table if len(set(values)) == 1] if len(trials) > 1 else [],
        "refresh": 3 if any(not trial.state.is_finished() for trial in trials) else 30,
    }


def compared_curve(reader: Reader, trial: FrozenTrial, metric: str) -> Sequence[tuple[float, float]]:
    if metric == "val_accuracy":
        return points_of(trial)
    return epoch_curve(epoch_history(reader.storage, trial._trial_id), metric)


def best_page(reader: Reader, study: StudyRecord) -> dict[str, Any]:
    """The best configuration and how to take it along."""
    best = reader.best(study)
    page: dict[str, Any] = {"study": study, "metric": metric_of(study), "best": None, "refresh": 5}
    if best is None:
        return page
    found, trial = best
    top = top_trials(reader.storage, study, NEXT_BEST)
    name = recipe_name(study, trial.number)
    exportable = is_exportable(study, trial)
    return page | {
        "best": found,
        "trial": row_of(trial),
        "baseline": reader.baseline(study),
        "config": configuration_of(trial),
        "facts": facts_of(study, trial),
        "chart_drawn": charts_of(study, trial, epoch_history(reader.storage, trial._trial_id))[0],
        "exportable": exportable,
        "file": name,
        "retrain": f"alexsearch retrain {shlex.quote(name)} --seeds 3",
        "export": f"alexsearch export --study {shlex.quote(study.shown)} --trial {trial.number} -o {shlex.quote(name)}",
        "others": [row_of(other) for other in top],
        "lead": lead_of(top),
    }


def lead_of(trials: Sequence[FrozenTrial]) -> float | None:
    """How far the best is ahead of the second; None if there is no second."""
    values = [last_value(trial) for trial in trials[:2]]
    if len(values) < 2 or values[0] is None or values[1] is None:
        return None
    return values[0] - values[1]


def is_exportable(study: StudyRecord, trial: FrozenTrial) -> bool:
    """Whether a recipe can be made of it."""
    done = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return study.is_ours and done and "config" in trial.user_attrs and trial.value is not None


def recipe_name(study: StudyRecord, number: int) -> str:
    """The recipe's file: what a browser saves it as."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", study.name).strip("-.")[:60] or "study"
    return f"{safe}-trial-{number}.toml"
