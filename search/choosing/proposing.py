"""How a trial comes to its values: they are asked of the sampler, and not those of a trial before.

Each trial's seeds derive from the study's seed and the trial's number alone. So a study run by one worker can be
repeated exactly, and no two workers propose the same first trials, as they do where each starts from one seed.

Values that were tried already are not trained again: the sampler is asked anew, up to `ATTEMPTS` times, and where it
has nothing else to say, the result of a complete trial with these values is taken over; where there is none (the
others were pruned, failed or still run), they are trained. `repeats = true` in `[study]` trains whatever comes, and so
do spaces in which nothing is searched, and values that somebody put into the queue.
"""

from __future__ import annotations

import copy
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from model.config import TrainConfig
from search.base.seeds import sampler_seed, training_seed
from search.choosing.samplers import build_sampler
from search.space.space import SearchSpace

LESSONS = ("diverged", "out-of-memory")
"""Reasons of a failure that the same values would bring about again."""


ATTEMPTS = 10
"""How often the sampler is asked for values that were not tried yet."""


class StudyOfLessons(optuna.Study):
    """A study as the sampler sees it: what failed for what it was (it diverged, or took too much memory) is the worst.

    So its neighbourhood is avoided; Optuna's samplers pass over failed trials.
    """

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = [_as_lesson(trial) for trial in super()._get_trials(deepcopy, None, use_cache)]
        return [trial for trial in trials if states is None or trial.state in states]


def _as_lesson(trial: FrozenTrial) -> FrozenTrial:
    if trial.state != TrialState.FAIL or not trial.user_attrs.get("reason", "").startswith(LESSONS):
        return trial
    lesson = copy.copy(trial)
    lesson.state = TrialState.PRUNED  # and without a report: TPE ranks it below every other
    lesson.intermediate_values = {}
    return lesson


@dataclass(frozen=True)
class Proposal:
    """What a trial is to train."""

    config: TrainConfig
    twin: FrozenTrial | None
    """A complete trial with the same values, whose result is to be taken over instead."""


class GivenValuesError(ValueError):
    """A trial that somebody enqueued has values that can't be trained with."""


def propose(study: optuna.Study, trial_id: int, number: int, space: SearchSpace) -> Proposal:
    """Give the trial its values, and keep them. A trial that has some already, or was given them, keeps those.

    Raises:
        KeyError: the trial was deleted.
        optuna.exceptions.UpdateFinishedTrialError: it was told from outside.
        GivenValuesError: it was given values that nothing can be trained with.
    """
    study = copy.copy(study)
    study.pruner = optuna.pruners.NopPruner()  # Hyperband's would hide the other brackets from the sampler, and lessons
    # This also fills the cache, which must know the trial before it is asked for it.
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    seed = _seed_of(trials, number, space)
    chosen: tuple[dict[str, Any], FrozenTrial | None] | None = None
    for attempt in range(ATTEMPTS):
        study.sampler = build_sampler(space, number, sampler_seed(space.study.seed, number, attempt), attempt)
        draft = _Draft(study, trial_id)
        try:
            space.suggest(draft, seed)
        except ValueError as error:
            if draft.given:
                raise GivenValuesError(" ".join(str(error).split())) from None
            raise
        twins = [] if draft.given or space.study.repeats else _twins(trials, number, draft.params)
        complete = next((twin for twin in twins if twin.state == TrialState.COMPLETE), None)
        if not twins or chosen is None or (complete and not chosen[1]):
            chosen = draft.params, complete
        if not twins:
            break
    assert chosen is not None  # noqa: S101 - for the type checker
    params, twin = chosen
    trial = optuna.Trial(study, trial_id)
    trial._fixed_params = {**params}
    return Proposal(space.suggest(trial, seed), twin)


class _Draft(optuna.Trial):
    """A trial whose values are asked of the sampler, but not written down."""

    def __init__(self, study: optuna.Study, trial_id: int) -> None:
        super().__init__(study, trial_id)
        self._cached_frozen_trial = copy.deepcopy(self._cached_frozen_trial)  # some storages hand out their own
        self.given = bool(self._cached_frozen_trial.params or self._fixed_params)
        self.storage: Any = _Unwritten(self.storage)


class _Unwritten:
    """A storage that keeps no parameters."""

    def __init__(self, storage: optuna.storages.BaseStorage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_param(self, *_: Any) -> None:
        pass


def _seed_of(trials: list[FrozenTrial], number: int, space: SearchSpace) -> int:
    """The seed that the trial trains with: where it was begun before, the one it was begun with."""
    config = next((trial.user_attrs.get("config") for trial in trials if trial.number == number), None)
    begun: int | None = config.get("seed") if isinstance(config, dict) else None
    return training_seed(space.study.seed, number) if begun is None else begun


def _twins(trials: list[FrozenTrial], number: int, params: dict[str, Any]) -> list[FrozenTrial]:
    """The trials with the same values, which decide all but the seed, that ran, run, or failed for what they are."""
    if not params:
        return []
    same = [trial for trial in trials if trial.params == params and trial.number != number]
    return [trial for trial in same if trial.state != TrialState.FAIL or _as_lesson(trial) is not trial]
