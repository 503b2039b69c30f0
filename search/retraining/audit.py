"""Pruned trials trained to their planned end, from what is stored with them: was it right to prune them?"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from model.config import DataSpec, DivergedError, EpochMetrics, TrainConfig
from search.base.configs import short
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.provenance import utc
from search.base.seeds import audit_order
from search.base.terminal import quiet_tensorflow
from search.retraining.view import SILENT, View
from studies.record.audit import AUDIT, Judgement, interval, judge, record
from studies.record.catalog import StudyRecord, find_study
from studies.store.storage import Storage
from studies.words import duration

if TYPE_CHECKING:
    from model.train import Engine


def audit_study(
    storage: Storage, name: str | None, count: int, source: str | None, home: Home, view: View = SILENT
) -> dict[str, Any]:
    """Train pruned trials until `count` of them are audited; `alexsearch audit --help` documents the keys.

    `source` says where the same images are on this machine.

    Raises:
        StudyError: there is no such study.
        InputError: it is not ours, nothing in it was pruned or is complete, or these are other images.
        DataError: the data can't be used.
        model.config.TrainError: a training failed; what was audited before is kept.
    """
    study = find_study(storage, name)
    trials = storage.get_all_trials(study.study_id, deepcopy=False)
    judgement = _judged(study, trials)
    chosen = choose(trials, count, study.attributes["space"]["study"].get("seed", 0))
    if chosen:
        home.check_writable()
        quiet_tensorflow(home.tensorflow_log)
        engine = _engine(study, source, home)
        for trial in chosen:
            _finish(storage, study, trial, engine, home, view)
        judgement = _judged(study, storage.get_all_trials(study.study_id, deepcopy=False))
    audited = len(judgement.audited)
    return {
        "study": study.name,
        "pruned": judgement.pruned,
        "audited": [asdict(trial) for trial in judgement.audited],
        "best": judgement.best,
        "best_tenth": judgement.best_tenth,
        "wrong": judgement.wrong,
        "wrong_interval": list(interval(judgement.wrong, audited)),
        "better": judgement.better,
        "better_interval": list(interval(judgement.better, audited)),
    }


def choose(trials: Sequence[FrozenTrial], count: int, seed: int) -> list[FrozenTrial]:
    """At random, as many pruned trials as there are still to be audited for `count` in all."""
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and "config" in trial.user_attrs]
    left = [trial for trial in pruned if AUDIT not in trial.user_attrs]
    missing = max(0, count - (len(pruned) - len(left)))
    return [left[index] for index in audit_order(seed, len(left))[:missing]]


def _judged(study: StudyRecord, trials: Sequence[FrozenTrial]) -> Judgement:
    judgement = judge(trials) if study.is_ours else None
    if judgement and judgement.pruned:
        return judgement
    if not study.is_ours:
        raise InputError(f"study {study.shown!r} was not made by alexsearch: how its trials were trained is not known.")
    missing = "pruned" if judgement else "complete"
    raise InputError(f"study {study.shown!r} has no {missing} trial yet: there is nothing to audit.")


def _engine(study: StudyRecord, source: str | None, home: Home) -> Engine:
    from model.data import fingerprint, load_training, split
    from model.device import configure

    spec = DataSpec(**study.attributes["space"]["data"])
    spec = spec.model_copy(update={"source": source or spec.source})
    training = load_training(spec.source, home.data)
    stored, found = study.attributes["data"]["fingerprint"], fingerprint(training)
    if stored != found:
        raise InputError(
            f"study {study.shown!r} was trained on other images: their fingerprint is {stored}, but that of "
            f"{spec.source} is {found}. Name the same with --data."
        )
    parts = split(training, spec)
    device = configure()
    from model.train import Engine

    return Engine(parts.train, parts.validation, device)


def _finish(storage: Storage, study: StudyRecord, trial: FrozenTrial, engine: Engine, home: Home, view: View) -> None:
    config = TrainConfig(**trial.user_attrs["config"])
    view.note(f"trial {trial.number}, pruned after epoch {trial.last_step}: {short(config.model_dump())}")
    checkpoints = home.checkpoints(study.name, study.attributes["uid"], trial.number)
    history: Sequence[EpochMetrics] = ()
    try:
        history = engine.train(config, lambda _metrics: True, checkpoints=checkpoints).history
    except DivergedError as error:
        view.note(f"  diverged: {error}")
    value = history[-1].val_accuracy if history else None
    seconds = sum(epoch.seconds for epoch in history)
    record(
        storage,
        trial._trial_id,
        {"value": value, "epochs": config.epochs, "seconds": round(seconds, 3), "finished": utc()},
    )
    if value is not None:
        pruned = "no value" if trial.value is None else f"{trial.value:.4f} when pruned"
        view.note(f"  val_accuracy {value:.4f} after {config.epochs} epochs, {pruned}; {duration(seconds)}")
    shutil.rmtree(checkpoints, ignore_errors=True)
