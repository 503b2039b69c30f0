"""Pruned trials trained to their planned end, from what is stored with them: was it right to prune them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from model.config import TrainConfig
from search.base.configs import short
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.provenance import utc
from search.base.seeds import audit_order
from search.retraining.jobs import Client, Means, Workshop
from search.retraining.view import SILENT, Happening, Job, Trained, View
from search.space.own import OwnConfig
from search.space.own_files import own_of
from search.space.space import OwnSpace, SearchSpace
from search.training.messages import ProgramFound, Ready
from studies.record.audit import AUDIT, Judgement, interval, judge, record
from studies.record.catalog import StudyRecord, find_study
from studies.store.shapes import is_whole
from studies.store.storage import Storage


def audit_study(storage: Storage, name: str | None, count: int, means: Means, view: View = SILENT) -> dict[str, Any]:
    """Train pruned trials until `count` of them are audited; `alexsearch audit --help` documents the keys.

    Raises:
        StudyError: there is no such study.
        InputError: it is not ours, nothing in it was pruned or is complete, or these are other images.
        DataError: the data can't be used.
        model.config.TrainError: a training failed; what was audited before is kept.
    """
    study = find_study(storage, name)
    trials = storage.get_all_trials(study.study_id, deepcopy=False)
    judgement = _judged(study, trials)
    chosen = choose(trials, count, _seed_of(study))
    if chosen:
        means.home.check_writable()
        _train(storage, study, chosen, means, view)
        judgement = _judged(study, storage.get_all_trials(study.study_id, deepcopy=False))
    audited = len(judgement.audited)
    return {
        "study": study.name,
        "metric": study.metric.name,
        "direction": study.metric.direction,
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


def _seed_of(study: StudyRecord) -> int:
    seed = study.attributes["space"].get("study", {}).get("seed", 0)
    return seed if is_whole(seed) else 0


def _judged(study: StudyRecord, trials: Sequence[FrozenTrial]) -> Judgement:
    judgement = judge(trials, study.metric) if study.is_ours else None
    if judgement and judgement.pruned:
        return judgement
    if not study.is_ours:
        raise InputError(
            f"study {study.shown!r} {study.not_ours}: how its trials were trained is not known. "
            "Name another with --study."
        )
    missing = "pruned" if judgement else "complete"
    raise InputError(f"study {study.shown!r} has no {missing} trial yet: there is nothing to audit.")


def _train(storage: Storage, study: StudyRecord, trials: Sequence[FrozenTrial], means: Means, view: View) -> None:
    """Train these trials to their end, from their checkpoints if those are still there, and record each at its end."""
    try:
        space = SearchSpace.from_dict(study.attributes["space"])
        kind: type[TrainConfig | OwnConfig] = OwnConfig if space.trains_own else TrainConfig
        configs = [kind(**trial.user_attrs["config"]) for trial in trials]
    except (InputError, ValidationError, TypeError, KeyError):
        raise InputError(
            f"study {study.shown!r}: what is stored of its data, or of a pruned trial, was changed since: it can't be "
            "trained again."
        ) from None
    data = space.data.model_copy(update={"source": means.source or space.data.source})
    jobs = {}
    for trial, config in zip(trials, configs, strict=True):
        checkpoints = means.home.checkpoints(study.folder, study.attributes["uid"], trial.number)
        jobs[Job(f"trial {trial.number}", config, checkpoints)] = trial
        then = "" if trial.value is None else f" at {trial.value:.4f}"
        view.note(f"trial {trial.number}, pruned after epoch {trial.last_step}{then}: {short(config.model_dump())}")
    shop = Workshop(
        means=means,
        data=data,
        own=own_of(space, means.folders),
        validation="held-out",
        log=lambda place: means.home.log(study.name, f"audit-{place.name}"),
        view=view,
    )
    source = space.train.called if isinstance(space, OwnSpace) else data.source
    shop.train(list(jobs), _Auditor(storage, means.home, study, source, space.metric, jobs, view))


@dataclass(frozen=True)
class _Auditor(Client):
    storage: Storage
    home: Home
    study: StudyRecord
    source: str
    metric: str
    trials: Mapping[Job, FrozenTrial]
    view: View

    def opened(self, ready: Ready) -> None:
        stored = self.study.attributes["data"]
        if stored["fingerprint"] != ready.data.fingerprint:
            if isinstance(ready.data, ProgramFound):
                raise InputError(f"{ready.data.told_from(stored)}. Bring that version back, or name its --code.")
            raise InputError(
                f"study {self.study.shown!r} was trained on other images than {self.source}: "
                f"{ready.data.told_from(stored)}. Name the same with --data."
            )

    def told(self, job: Job, happening: Happening) -> None:
        if isinstance(happening, Trained):
            self._record(job, happening)
        self.view.tell(job, happening)

    def _record(self, job: Job, trained: Trained) -> None:
        value = None if trained.failure else trained.history[-1].named()[self.metric]
        audited = {
            "value": value,
            "epochs": job.config.epochs,
            "seconds": round(sum(epoch.seconds for epoch in trained.history), 3),
            "finished": utc(),
        }
        record(self.storage, self.trials[job]._trial_id, audited)
        if job.checkpoints:
            self.home.forget(job.checkpoints)
