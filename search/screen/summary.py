"""What a study has come to, as JSON documents and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial
from rich.console import Console
from rich.text import Text

from search.base.configs import cell, searched_columns
from search.base.terminal import plain_table
from search.screen.live import slots_table
from search.space.parameters import WORDS
from studies.queue.queue import Queue
from studies.queue.standing import Counts
from studies.record.catalog import (
    StudyError,
    StudyRecord,
    all_studies,
    best_over_time,
    best_trial,
    described,
    find_study,
    last_failures,
    top_trials,
)
from studies.record.cost import ledger
from studies.record.metric import UNNAMED, Metric, trains
from studies.store.storage import Storage
from studies.words import FOREIGN, duration, one_line, settings_in, spent, told_to_stop

if TYPE_CHECKING:
    from search.run.request import RunOutcome
    from search.screen.live import Screen

CONFIGURED = {"batch_size", "learning_rate", "epochs", "schedule"}
"""What a configuration must have to be a row of a table of ours."""
SHOWN = 5
"""How many of the best trials `best` and the end of a run show."""
SHOWN_FAILURES = 3
DOCUMENTED_FAILURES = 20


def status_document(storage: Storage, name: str | None) -> dict[str, Any]:
    """How a study stands; `alexsearch status --help` documents the keys. Raises StudyError if there is none."""
    study = find_study(storage, name)
    queue = Queue(storage, study.study_id)
    slots = [asdict(slot) for slot in queue.slots()]
    failures = [asdict(failure) for failure in last_failures(storage, study, DOCUMENTED_FAILURES)]
    cost = ledger(storage, study.study_id)
    return {
        **_brief(storage, study),
        "slots": slots,
        "failures": failures,
        "stop": queue.stop_requested(),
        "stopped_by": queue.stopped_by(),
        "cost": {"device_seconds": cost.device_seconds, "saved_seconds": cost.saved_seconds, "pauses": cost.pauses},
        "storage": storage.name,
        **({"files": study.files} if study.files else {}),
    }


def studies_document(storage: Storage) -> list[dict[str, Any]]:
    """All studies of a database, oldest first; `alexsearch studies --help` documents the keys."""
    return [_brief(storage, study) for study in all_studies(storage)]


def best_document(storage: Storage, name: str | None) -> dict[str, Any]:
    """The best complete trial; `alexsearch best --help` documents the keys. Raises StudyError if there is none."""
    study = find_study(storage, name)
    trial = best_trial(storage, study)
    kept = ("epochs_run", "seconds", "device", "data_fingerprint", "versions", "git_commit")
    stored = trial.user_attrs if study.is_ours else {}  # another program may keep something else under these names
    return {
        "study": study.name,
        "ours": study.is_ours,
        "number": trial.number,
        "value": trial.value,
        **_measure(study),
        "params": trial.params,
        "config": stored.get("config", {}),
        **{key: stored.get(key) for key in kept},
    }


def show_what_was_before(screen: Screen, storage: Storage, name: str) -> None:
    """Tell the screen of a run what its study, which may not be there yet, had come to."""
    try:
        study = find_study(storage, name)
    except StudyError:
        return
    best = next(((trial.value or 0.0, trial.number) for trial in top_trials(storage, study, 1)), None)
    screen.before(best, best_over_time(storage, study), ledger(storage, study.study_id).device_seconds)


def _brief(storage: Storage, study: StudyRecord) -> dict[str, Any]:
    counts = Queue(storage, study.study_id).counts()
    top = top_trials(storage, study, 1)
    best = {"number": top[0].number, "value": top[0].value, "params": top[0].params} if top else None
    return {
        "study": study.name,
        "ours": study.is_ours,
        "budget": counts.budget,
        "counts": asdict(counts),
        "best": best,
        **_measure(study),
        **({"odd": study.origin} if study.odd else {}),
    }


def _measure(study: StudyRecord) -> dict[str, str]:
    """What else a document says of a study whose network, or training, is the user's own."""
    if not study.is_ours or trains(study.attributes).kind == "alexnet":
        return {}
    return {"trains": trains(study.attributes).text, "metric": study.metric.name, "direction": study.metric.direction}


def print_status(console: Console, document: Mapping[str, Any]) -> None:
    """The document of `status_document` for people."""
    counts = Counts(**document["counts"])
    by = "" if document["ours"] else f" ({document.get('odd', FOREIGN)})"
    files = f", its files at {one_line(document['files'])}" if "files" in document else ""
    console.print(f"study {one_line(document['study'])}{by} in {document['storage']}{files}", soft_wrap=True)
    console.print(described(counts), soft_wrap=True)
    best = document["best"]
    if best:
        params = ", ".join(f"{one_line(key)} {_number(value)}" for key, value in best["params"].items())
        metric = _metric(document)
        value = f"{one_line(metric.name)} {metric.shown(best['value'])}" + (f" ({params})" if params else "")
        console.print(f"best: trial {best['number']}, {value}", soft_wrap=True)
    _print_cost(console, **document["cost"])
    _print_failures(console, document["failures"], counts.failed)
    if document["slots"]:
        without_rate = "trains" in document and not any(slot["images_per_second"] for slot in document["slots"])
        console.print(slots_table(document["slots"], own=without_rate))
    if document["stopped_by"]:
        console.print(f"ended: {document['stopped_by']}. `alexsearch run` with a higher limit goes on.", soft_wrap=True)
    elif document["stop"]:
        told = told_to_stop(document["stop"], counts.running)
        console.print(f"{told}. `alexsearch run` goes on.", soft_wrap=True)
    elif any(slot["stale"] for slot in document["slots"]):
        console.print(
            "gone or stale: that worker has ended or hangs; another one, or the next `alexsearch run`, takes its trial",
            soft_wrap=True,
        )
    elif document["ours"] and counts.waiting + counts.running and not document["slots"]:
        console.print("nobody works on it: `alexsearch run` goes on")


def print_studies(console: Console, storage: Storage, document: Sequence[Mapping[str, Any]]) -> None:
    """The document of `studies_document` for people."""
    if not document:
        console.print(f"no study in {storage.name} yet. Start one with `alexsearch run quick`.", soft_wrap=True)
        return
    table = plain_table()
    measures = {_metric(study).name for study in document if study["ours"]} or {Metric().name}
    one = next(iter(measures)) if len(measures) == 1 else ""
    for column in ("study", "settled", f"best {one_line(one) or 'value'}", "trial", ""):
        table.add_column(column)
    for study in document:
        best, counts, metric = study["best"], Counts(**study["counts"]), _metric(study)
        value, number = (metric.shown(best["value"]), str(best["number"])) if best else ("-", "-")
        if not one and study["ours"] and best:
            value = f"{value} {one_line(metric.name)}"
        note = "" if study["ours"] else study.get("odd", f"{FOREIGN}: its own best value")
        table.add_row(one_line(study["study"]), f"{counts.settled}/{counts.budget}", value, number, note)
    console.print(table)


def print_best(console: Console, storage: Storage, document: Mapping[str, Any], where: str) -> None:
    """The document of `best_document` for people, with the next best below.

    `where` holds the options that the next command needs, with a blank before each.
    """
    study = find_study(storage, document["study"])
    metric = study.metric
    value = f"{one_line(metric.name)} {metric.shown(document['value'])}"
    console.print(f"study {study.shown}: trial {document['number']}, {value}", soft_wrap=True)
    for key, value in (settings_in(document["config"]) or document["params"]).items():
        console.print(f"  {one_line(key):15} {_number(value)}", soft_wrap=True)
    trials = top_trials(storage, study, SHOWN)
    if len(trials) > 1:
        console.print()
        print_trials(console, trials, study)
    if document["config"]:
        console.print(f"next: alexsearch export{where} -o best.toml", soft_wrap=True)


def print_trials(console: Console, trials: Sequence[FrozenTrial], study: StudyRecord) -> None:
    """A table of trials, in their order: of a study of ours, with what it searched, as much of it as fits."""
    values = ["-" if trial.value is None else study.metric.shown(trial.value) for trial in trials]
    took = [
        duration(trial.user_attrs["seconds"]) if study.is_ours and "seconds" in trial.user_attrs else ""
        for trial in trials
    ]
    needed = {"params"} if trains(study.attributes).kind == "own" else CONFIGURED
    configured = study.is_ours and all(trial.user_attrs.get("config", {}).keys() >= needed for trial in trials)
    columns = {
        "trial": [str(trial.number) for trial in trials],
        one_line(study.metric.name) if configured else "value": values,
        "took": took,
    }
    if configured:
        configs = [trial.user_attrs["config"] for trial in trials]
        searched = {name: [cell(config, name) for config in configs] for name in searched_columns(study.attributes)}
        hidden = _columns_too_many(columns, searched, console.width)
        columns |= {name: cells for name, cells in searched.items() if name not in hidden}
    else:
        hidden = []
        columns["params"] = [
            ", ".join(f"{one_line(key)} {_number(value)}" for key, value in trial.params.items()) for trial in trials
        ]
    table = plain_table()
    for name in columns:
        words = name in ("schedule", "params") or name in WORDS
        table.add_column(name, justify="left" if words else "right", no_wrap=name != "params")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)
    if hidden:
        console.print(f"searched too, but this terminal is too narrow: {', '.join(hidden)}", soft_wrap=True)


def _columns_too_many(fixed: Mapping[str, list[str]], more: Mapping[str, list[str]], width: int) -> list[str]:
    """Those of the columns `more` that find no room beside the `fixed` ones; each is two blanks from the next."""
    taken, hidden = 0, []
    for name, cells in {**fixed, **more}.items():
        needed = max(len(text) for text in [name, *cells]) + 2
        if name in more and taken + needed - 2 > width:
            hidden.append(name)
        else:
            taken += needed
    return hidden


def print_outcome(
    console: Console, storage: Storage, outcome: RunOutcome, where: str, logs: str, *, retrained_with: str = ""
) -> None:
    """The end of a run: the best trials, where the study is, what to type next.

    `where` holds the options that the next commands need, and `retrained_with` those of `retrain`, with a blank before
    each; `logs` is the folder of the training logs.
    """
    study, counts = outcome.study, outcome.counts
    took = f"after {duration(outcome.seconds)}" if outcome.seconds else "nothing was left to do"
    console.print()
    console.print(f"study {study.shown}, {took}: {described(counts)}", soft_wrap=True)
    if outcome.limit or outcome.timed_out:
        console.print(f"ended: {outcome.limit or 'the timeout is over'}", soft_wrap=True)
    trials = top_trials(storage, study, SHOWN)
    if trials:
        print_trials(console, trials, study)
    cost = ledger(storage, study.study_id)
    _print_cost(console, cost.device_seconds, cost.saved_seconds, cost.pauses)
    if counts.failed:
        _print_failures(console, [asdict(f) for f in last_failures(storage, study, SHOWN_FAILURES)], counts.failed)
        console.print(f"what the training processes printed: {logs}", soft_wrap=True)
    for note in outcome.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    console.print(f"kept in {storage.name}", soft_wrap=True)
    goes_on = "run it with a higher limit" if outcome.limit else "run the same command again"
    lines = [f"{goes_on} to go on from here"] if counts.settled < counts.budget else []
    lines.append(f"alexsearch dashboard{where}")
    if trials:
        lines += [f"alexsearch export{where} -o best.toml", f"alexsearch retrain best.toml{retrained_with}"]
    if counts.failed:
        lines.append(f"alexsearch retry{where} --failed    # once what made them fail is mended")
    for index, line in enumerate(lines):
        console.print(f"{'     ' if index else 'next:'} {line}", soft_wrap=True)


def _print_cost(console: Console, device_seconds: float, saved_seconds: float, pauses: int) -> None:
    if device_seconds:
        console.print(f"cost: {spent(device_seconds, saved_seconds, pauses)}")


def _print_failures(console: Console, failures: Sequence[Mapping[str, Any]], failed: int) -> None:
    for failure in failures[:SHOWN_FAILURES]:
        console.print(f"trial {failure['number']} failed: {one_line(failure['reason'])}", soft_wrap=True)
    if failed > SHOWN_FAILURES:
        console.print(f"... and {failed - SHOWN_FAILURES} that failed before", soft_wrap=True)


def _metric(document: Mapping[str, Any]) -> Metric:
    """What the values of a study's document are; the key stands only where it is not the validation accuracy."""
    return Metric(document.get("metric", Metric().name)) if document["ours"] else Metric(UNNAMED)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))
