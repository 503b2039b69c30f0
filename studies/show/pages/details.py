"""What the pages of one trial, of several side by side, and of the best one say."""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from studies.queue.pausing import PAUSES, pauses
from studies.record.catalog import StudyRecord, last_number, top_trials
from studies.record.curves import points_of
from studies.record.metric import Metric, trains
from studies.record.panels import Panel, measured, panels_of, points
from studies.record.published import PAPER_CURVE, PAPER_NAME, paper_points
from studies.show.filters import count, moment, plain, plural, score
from studies.show.pages.chart import Chart, Line, draw, four_digits
from studies.show.pages.reader import (
    Reader,
    has_paper,
    last_value,
    planned_epochs,
    row_of,
    settings_of,
)
from studies.store.epochs import epoch_history
from studies.words import PAUSED, STATE_WORDS, duration, one_line, settings_in, state_word, why

COMPARED = 8
"""How many trials can be told apart on one chart."""
LOOKS = tuple(f"s{index}" for index in range(1, COMPARED + 1))
"""Of their lines"""
METRICS: Mapping[str, str] = {
    "val_accuracy": "validation accuracy",
    "accuracy": "training accuracy",
    "val_loss": "validation loss",
    "loss": "training loss",
    "learning_rate": "learning rate",
    "seconds": "seconds per epoch",
}
TOLD_ELSEWHERE = (PAUSES, "config", "failure", "reason", "crashes", "seconds", "epochs_run", "images_per_second")
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
        "metric": study.metric,
        "story": story_of(study, trial, now),
        "best": best[0] if best else None,
        "charts": charts_of(study, trial, history),
        "pauses": pauses_of(trial),
        "thaw": thaw_of(study, trial),
        "history": history,
        "columns": columns_of(study, history),
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
    if state_word(trial) == PAUSED:
        of = f" of {planned}" if planned else ""
        return f"Paused after epoch {trial.last_step}{of}: it goes on from there if nothing else is worth more."
    if trial.state is TrialState.WAITING:
        return f"Waits in the queue{f', and goes on after epoch {done}' if done else ''}."
    if trial.state is TrialState.RUNNING:
        since = (now - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0
        epochs = f"{done} of {plural(planned, 'epoch')}" if planned else plural(done, "epoch")
        return f"Has run for {duration(max(0.0, since))}: {epochs}."
    if study.is_ours:
        return why(trial, study.metric.shown)
    return f"{STATE_WORDS[trial.state.name].capitalize()}. Another program trained it."


def pauses_of(trial: FrozenTrial) -> list[str]:
    """When the trial paused, and went on, a line a pause."""

    def told(pause: Mapping[str, Any]) -> str:
        paused, thawed = (one_line(str(pause.get(key, ""))) for key in ("paused", "thawed"))
        went_on = f", went on {thawed}" if thawed else ""
        return f"after epoch {one_line(str(pause.get('epoch')))}, {paused}{went_on}"

    return [told(pause) for pause in pauses(trial.user_attrs.get(PAUSES))]


def thaw_of(study: StudyRecord, trial: FrozenTrial) -> str:
    """The command that has it trained to its end; empty if it ended, or runs, or has not begun."""
    if not study.is_ours or (trial.state is not TrialState.PRUNED and state_word(trial) != PAUSED):
        return ""
    return f"alexsearch retry --study {shlex.quote(study.shown)} --trial {trial.number}"


def charts_of(study: StudyRecord, trial: FrozenTrial, history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """What was measured, training against validation; a network's learning rate; seconds per epoch."""
    if not history:
        reported = [Line("reported", points_of(trial), "validation")]
        return [draw(f"Reported {study.metric.title}", reported, x_label="epoch", said=study.metric.shown)]
    last, own = history[-1]["epoch"], is_own(study)

    def drawn(panel: Panel) -> Chart:
        looks = ("training", "validation")[-len(panel.curves) :]
        lines = [
            Line(curve.name, points(history, curve.key), look) for curve, look in zip(panel.curves, looks, strict=True)
        ]
        if has_paper(study):
            lines.append(Line(PAPER_NAME, paper_points(panel.curves[-1].key, last), "paper"))
        title, said = panel.curves[0].key.capitalize(), four_digits
        if own:
            title, said = panel.label, Metric(panel.curves[-1].key).shown
        return draw(title, lines, x_label="epoch", said=said)

    charts = [drawn(panel) for panel in panels_of(study.attributes, history)]
    if not own:
        rate = Line("learning rate", points(history, "learning_rate"), "plain")
        charts.append(draw("Learning rate", [rate], x_label="epoch", said=three_digits, log=True))
    seconds = Line("seconds", points(history, "seconds"), "plain")
    return [*charts, draw("Seconds per epoch", [seconds], x_label="epoch", said=one_digit, low=0.0)]


def is_own(study: StudyRecord) -> bool:
    """Whether its training is the user's own, which reports whatever it likes."""
    return study.is_ours and trains(study.attributes).kind == "own"


def columns_of(study: StudyRecord, history: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, Callable[[Any], str]]]:
    """The columns of a trial's table of epochs: key of an epoch's row, heading, and how a value is written."""
    columns: list[tuple[str, str, Callable[[Any], str]]] = []
    if is_own(study):
        columns += [(name, one_line(name), partial(score, metric=Metric(name))) for name in measured(history)]
    else:
        names = ("accuracy", "val_accuracy", "loss", "val_loss")
        columns += [(name, METRICS[name].capitalize(), score) for name in names]
        columns.append(("learning_rate", "Learning rate", plain))
    return [*columns, ("seconds", "Seconds", "{:.1f}".format)]


def three_digits(value: float) -> str:
    return f"{value:.3g}"


def one_digit(value: float) -> str:
    return f"{value:.1f} s"


def configuration_of(trial: FrozenTrial) -> list[tuple[str, str, bool]]:
    """Its resolved configuration, and which of it was searched."""
    config = trial.user_attrs.get("config")
    chosen = dict(settings_of(trial))
    if isinstance(config, dict):
        return [(one_line(name), plain(value), name in chosen) for name, value in settings_in(config).items()]
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
    histories = [epoch_history(reader.storage, trial._trial_id) for trial in trials]
    metrics = compared_metrics(study, histories)
    metric = metric if metric in metrics else study.metric.name
    curves = [
        # The study's own is what there is of every trial, of one too that another program made.
        points_of(trial) if metric == study.metric.name else points(history, metric)
        for trial, history in zip(trials, histories, strict=True)
    ]
    lines = [
        Line(f"trial {trial.number}", curve, look) for trial, curve, look in zip(trials, curves, LOOKS, strict=False)
    ]
    if has_paper(study) and metric in PAPER_CURVE and trials:
        last = max((x for line in lines for x, _ in line.points), default=0.0)
        lines.append(Line(PAPER_NAME, paper_points(metric, last), "paper"))
    rows = [(look, row_of(trial)) for look, trial in zip(LOOKS, trials, strict=False)]
    configs = [{name: value for name, value, _ in configuration_of(trial)} for trial in trials]
    names = list(dict.fromkeys(name for config in configs for name in config))
    table = [(name, [config.get(name, "") for config in configs]) for name in names]
    own, title = is_own(study), metrics[metric]
    log = metric == "learning_rate" and not own
    return {
        "study": study,
        "metric": study.metric,
        "rows": rows,
        "numbers": [trial.number for trial in trials],
        "dropped": numbers[COMPARED:],
        "shown": metric,
        "metrics": metrics,
        "chart_drawn": draw(
            title if own else title.capitalize() if study.is_ours else "Reported value",
            lines,
            x_label="epoch",
            said=three_digits if log else Metric(metric).shown if own else four_digits,
            log=log,
        ),
        "differing": [(name, values) for name, values in table if len(set(values)) > 1],
        "same": [(name, values[0]) for name, values in table if len(set(values)) == 1] if len(trials) > 1 else [],
        "refresh": 3 if any(not trial.state.is_finished() for trial in trials) else 30,
    }


def compared_metrics(study: StudyRecord, histories: Sequence[Sequence[Mapping[str, Any]]]) -> Mapping[str, str]:
    """What trials can be compared by, and how it is called; the study's own metric first."""
    if not study.is_ours:
        return {study.metric.name: "value"}
    if not is_own(study):
        return METRICS
    names = [study.metric.name, *(name for history in histories for name in measured(history))]
    return {name: one_line(name) for name in names} | {"seconds": METRICS["seconds"]}


def best_page(reader: Reader, study: StudyRecord) -> dict[str, Any]:
    """The best configuration and how to take it along."""
    best = reader.best(study)
    page: dict[str, Any] = {"study": study, "metric": study.metric, "best": None, "refresh": 5}
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
        "own": is_own(study),
    }


def lead_of(trials: Sequence[FrozenTrial]) -> float | None:
    """The best value less the second; None if there is no second."""
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
