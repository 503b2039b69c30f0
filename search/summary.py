"""What a study has come to, as JSON documents and as tables for people."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.host import RunOutcome
from search.live import duration, short
from studies.catalog import (
    StudyError,
    StudyRecord,
    all_studies,
    best_trial,
    described,
    find_study,
    top_trials,
)
from studies.queue import Counts, Queue
from studies.storage import Storage

SHOWN = 5
"""How many of the best trials the end of a run shows."""
DEFAULT_HOME = Path("runs")


def status_document(storage: Storage, name: str | None) -> dict[str, Any]:
    """How a study stands; `alexsearch status --help` documents the keys. Raises StudyError where there is none."""
    study = find_study(storage, name)
    slots = [asdict(slot) for slot in Queue(storage, study.study_id).slots()]
    return {**_brief(storage, study), "slots": slots, "storage": storage.name}


def studies_document(storage: Storage) -> list[dict[str, Any]]:
    """All studies of a database, oldest first."""
    return [_brief(storage, study) for study in all_studies(storage)]


def best_document(storage: Storage, name: str | None) -> dict[str, Any]:
    """The best complete trial; `alexsearch best --help` documents the keys. Raises StudyError where there is none."""
    study = find_study(storage, name)
    trial = best_trial(storage, study)
    kept = ("epochs_run", "seconds", "device", "data_fingerprint", "versions", "git_commit")
    return {
        "study": study.name,
        "number": trial.number,
        "value": trial.value,
        "params": trial.params,
        "config": trial.user_attrs.get("config", {}),
        **{key: trial.user_attrs.get(key) for key in kept},
    }


def best_trials(storage: Storage, name: str, count: int) -> list[FrozenTrial]:
    """The best complete trials of a study that may not be there yet."""
    try:
        return top_trials(storage, find_study(storage, name).study_id, count)
    except StudyError:
        return []


def _brief(storage: Storage, study: StudyRecord) -> dict[str, Any]:
    counts = Queue(storage, study.study_id).counts()
    top = top_trials(storage, study.study_id, 1)
    best = {"number": top[0].number, "value": top[0].value, "params": top[0].params} if top else None
    return {"study": study.name, "budget": counts.budget, "counts": asdict(counts), "best": best}


def print_status(console: Console, document: Mapping[str, Any]) -> None:
    """The document of `status_document` for people."""
    console.print(f"study {document['study']} in {document['storage']}", soft_wrap=True)
    console.print(described(Counts(**document["counts"])))
    best = document["best"]
    if best:
        params = ", ".join(f"{key} {_number(value)}" for key, value in best["params"].items())
        console.print(f"best: trial {best['number']}, val_accuracy {best['value']:.4f} ({params})", soft_wrap=True)
    if document["slots"]:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("host", "where", "trial", "epoch", "images/s", "last sign of life"):
            table.add_column(column)
        for slot in document["slots"]:
            age = f"{duration(slot['age_seconds'])} ago" + (" - stale" if slot["stale"] else "")
            trial = "-" if slot["trial"] is None else str(slot["trial"])
            rate = f"{slot['images_per_second']:.0f}" if slot["images_per_second"] else ""
            table.add_row(slot["host"], slot["device"], trial, str(slot["epoch"] or ""), rate, age)
        console.print(table)


def print_studies(console: Console, storage: Storage, document: Sequence[Mapping[str, Any]]) -> None:
    """The document of `studies_document` for people."""
    if not document:
        console.print(f"no study in {storage.name} yet. Start one with: alexsearch run quick", soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("study", "settled", "best val_accuracy", "trial"):
        table.add_column(column)
    for study in document:
        best, counts = study["best"], Counts(**study["counts"])
        value, number = (f"{best['value']:.4f}", str(best["number"])) if best else ("-", "-")
        table.add_row(study["study"], f"{counts.settled}/{counts.budget}", value, number)
    console.print(table)


def print_best(console: Console, storage: Storage, document: Mapping[str, Any]) -> None:
    """The document of `best_document` for people, with the next best below."""
    study = find_study(storage, document["study"])
    console.print(f"study {study.name}: trial {document['number']}, val_accuracy {document['value']:.4f}")
    for key, value in document["config"].items():
        console.print(f"  {key:14} {_number(value)}")
    print_trials(console, top_trials(storage, study.study_id, SHOWN))


def print_trials(console: Console, trials: Sequence[FrozenTrial]) -> None:
    """A table of trials, in their order."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("trial", "val_accuracy", "took"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("configuration")
    for trial in trials:
        config = trial.user_attrs.get("config")
        words = short(config) if config else str(trial.params)
        took = duration(trial.user_attrs["seconds"]) if "seconds" in trial.user_attrs else ""
        value = f"{trial.value:.4f}" if trial.value is not None else "-"
        table.add_row(str(trial.number), value, took, words)
    console.print(table)


def print_outcome(console: Console, storage: Storage, outcome: RunOutcome, home: Path) -> None:
    """The end of a run: the best trials, where the study is, what to type next."""
    study, counts = outcome.study, outcome.counts
    took = f" in {duration(outcome.seconds)}" if outcome.seconds else ", nothing was left to do"
    console.print()
    console.print(f"study {study.name}: {described(counts)}{took}", soft_wrap=True)
    trials = top_trials(storage, study.study_id, SHOWN)
    if trials:
        print_trials(console, trials)
    for note in outcome.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    console.print(f"kept in {storage.name}", soft_wrap=True)
    where = "" if home == DEFAULT_HOME else f" --home {shlex.quote(str(home))}"
    if storage.safe_url.get_backend_name() != "sqlite":
        where += f" --storage {shlex.quote(storage.name)}"
    name = shlex.quote(study.name)
    if counts.settled < counts.budget:
        console.print("next: run the same command again to go on from here")
    console.print(f"next: alexsearch dashboard --study {name}{where}", soft_wrap=True)
    if trials:
        console.print(f"      alexsearch export --study {name}{where} -o best.toml", soft_wrap=True)
        console.print("      alexsearch retrain best.toml")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
