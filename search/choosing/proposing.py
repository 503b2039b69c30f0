"""How a trial comes to its values: they are asked of the sampler, and not those of a trial before.

Each trial's seeds derive from the study's seed and the trial's number alone. So a study run by one worker can be
repeated exactly, and no two workers propose the same first trials, as they do where each starts from one seed.

Values that were tried already are not trained again: the sampler is asked anew, up to `ATTEMPTS` times, and where it
has nothing else to say, the result of a complete trial with these values is taken over; where there is none (the
others were pruned, failed or still run), they are trained. `repeats = true` in `[study]` trains whatever comes, and so
do spaces in which nothing is searched, and values that somebody put into the queue.

Values that the space's constraints leave out are not trained either. `gp`, `qmc` and `grid` know the constraints; `tpe`
and `random` are asked anew in the same way, and if nothing allowed comes of it, the trial gets allowed values drawn by
chance: of some, those nearest to what `tpe` said.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from model.config import TrainConfig
from search.base.seeds import sampler_seed, training_seed
from search.choosing.asking import asking, without_dust
from search.choosing.drawing import allowed_near
from search.choosing.samplers import build_sampler
from search.space.own import OwnConfig
from search.space.samplers import GpSpec, GridSpec
from search.space.space import SearchSpace
from studies.words import listed, one_line, settings

LESSONS = ("diverged", "out-of-memory")
"""Kinds of failure that the same values would bring about again."""
ATTEMPTS = 10
"""How often the sampler is asked for values that are allowed and were not tried yet."""


class StudyOfLessons(optuna.Study):
    """A study as the sampler sees it: what failed for what it was (it diverged, or took too much memory) is the worst.

    So its neighbourhood is avoided; Optuna's samplers pass over failed trials.
    """

    earlier: Sequence[FrozenTrial] = ()
    """Trials of earlier studies (`search.choosing.earlier`), which only `propose` shows to a sampler."""
    unpaused = False
    """Whether paused trials are shown as pruned ones, from which Optuna's samplers learn."""

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        own = super()._get_trials(deepcopy, None, use_cache)
        trials = [_as_lesson(trial, unpaused=self.unpaused) for trial in (*self.earlier, *own)]
        return [trial for trial in trials if states is None or trial.state in states]


def _as_lesson(trial: FrozenTrial, *, unpaused: bool = False) -> FrozenTrial:
    if unpaused and trial.state == TrialState.WAITING and trial.intermediate_values:
        lesson = copy.copy(trial)
        lesson.state, lesson.values = TrialState.PRUNED, [trial.intermediate_values[trial.last_step or 0]]
        return lesson
    if trial.state != TrialState.FAIL or trial.user_attrs.get("failure") not in LESSONS:
        return trial
    lesson = copy.copy(trial)
    lesson.state = TrialState.PRUNED  # and without a report: TPE ranks it below every other
    lesson.intermediate_values = {}
    return lesson


@dataclass(frozen=True)
class Proposal:
    """What a trial is to train."""

    config: TrainConfig | OwnConfig
    twin: FrozenTrial | None
    """A complete trial with the same values, whose result is to be taken over instead."""
    remark: str = ""
    """What people should know of values that somebody enqueued."""
    ends: bool = False
    """Too little is expected of them: they were not kept, and the study ends."""


class GivenValuesError(ValueError):
    """A trial that somebody enqueued has values that can't be trained with."""


def propose(
    study: optuna.Study,
    trial_id: int,
    number: int,
    space: SearchSpace,
    sampler_of: Callable[[SearchSpace, int, int, int], BaseSampler] = build_sampler,
    enough: Callable[[float], bool] = lambda gain: False,  # noqa: ARG005 - a study without such a limit
    earlier: Sequence[FrozenTrial] = (),
) -> Proposal:
    """Give the trial its values, and keep them. A trial that has some already, or was given them, keeps those.

    `sampler_of` makes the sampler of each attempt from the space, the trial's number, a seed and the attempt's number.
    `enough` says whether the study ends rather than train something of which so much is expected. The sampler of a
    `StudyOfLessons` learns from `earlier` too, trials of other studies in this space's terms.

    Raises:
        KeyError: the trial was deleted.
        optuna.exceptions.UpdateFinishedTrialError: it was told from outside.
        GivenValuesError: it was given values that nothing can be trained with.
    """
    study = _as_learner(study, earlier, unpaused=not isinstance(space.sampler, GpSpec))
    storage, distributions = study._storage, space.distributions()
    # This also fills the cache, which must know the trial before it is asked for it.
    trials = storage.get_all_trials(study._study_id, deepcopy=False)
    begun = copy.deepcopy(storage.get_trial(trial_id))  # some storages hand out their own
    seed = _seed_of(begun, number, space)
    enqueued = begun.system_attrs.get("fixed_params", {})
    fixed = begun.params.keys() | enqueued.keys()
    given = bool(fixed)
    chosen: tuple[dict[str, Any], Proposal] | None = None
    rank = (False, False, False)
    for attempt in range(ATTEMPTS + 1):
        sampler = sampler_of(space, number, sampler_seed(space.study.seed, number, attempt), attempt)
        try:
            if chosen is None or attempt < ATTEMPTS:
                params = space.params(asking(sampler, study, copy.deepcopy(begun), distributions))
            elif rank[0] and (space.constraints is None or isinstance(space.sampler, GridSpec)):
                break
            else:  # the sampler has nothing that the constraints allow, or nothing new of it
                tried = [] if space.study.repeats else [trial.params for trial in trials]
                params = allowed_near(space, chosen[0], sampler_seed(space.study.seed, number, attempt), tried, fixed)
            config = space.config(params, seed)
            gain = getattr(sampler, "expected_gain", None)
            if attempt == 0 and not given and gain is not None and enough(gain):
                return Proposal(config, None, ends=True)
        except ValueError as error:
            if given:
                raise GivenValuesError(" ".join(str(error).split())) from None
            raise
        twins = [] if given or space.study.repeats else _twins(trials, number, params)
        complete = next((twin for twin in twins if twin.state == TrialState.COMPLETE), None)
        this = (not space.broken(params), not twins, complete is not None)
        if chosen is None or this > rank:
            chosen, rank = (params, Proposal(config, complete)), this
        if (this[0] and not twins) or params.keys() <= fixed:
            break
    assert chosen is not None  # noqa: S101 - for the type checker
    params, proposal = chosen
    if not begun.params and enqueued not in space.baseline_params():
        proposal = replace(proposal, remark=_remark(space, enqueued, params))
    for name, param in params.items():
        if name not in begun.params:
            distribution = distributions[name]
            storage.set_trial_param(trial_id, name, distribution.to_internal_repr(param), distribution)
    return proposal


def _as_learner(study: optuna.Study, earlier: Sequence[FrozenTrial], *, unpaused: bool) -> optuna.Study:
    """The study as its sampler sees it."""
    study = copy.copy(study)
    study.pruner = optuna.pruners.NopPruner()  # Hyperband's would hide the other brackets from the sampler, and lessons
    if isinstance(study, StudyOfLessons):
        study.earlier, study.unpaused = earlier, unpaused
    return study


def _remark(space: SearchSpace, enqueued: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """That somebody enqueued the trial, and with what; empty if nobody did."""
    if not enqueued:
        return ""
    distributions = space.distributions()
    unknown = sorted(enqueued.keys() - distributions.keys())
    known = {name: value for name, value in params.items() if name in enqueued}
    inner = {name: distributions[name].to_internal_repr(value) for name, value in known.items()}
    outside = [name for name in known if not distributions[name]._contains(inner[name])]
    told = f"somebody enqueued it with {settings(known) or 'no value'}: one trial more than were asked for"
    told += f"; {listed(outside)}: outside of the space, and trained all the same" if outside else ""
    broken = listed(space.broken(params))
    told += f"; left out by the constraints ({broken}), and trained all the same" if broken else ""
    return told + (f"; {one_line(listed(unknown))}: not searched, and passed over" if unknown else "")


def _seed_of(trial: FrozenTrial, number: int, space: SearchSpace) -> int:
    """The seed that the trial trains with: if it was begun before, the one it was begun with."""
    config = trial.user_attrs.get("config")
    seed: int | None = config.get("seed") if isinstance(config, dict) else None
    return training_seed(space.study.seed, number) if seed is None else seed


def _tidy(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's values as they would be proposed today: those of earlier ones may be off a step by a rounding error."""
    return {name: without_dust(value, trial.distributions[name]) for name, value in trial.params.items()}


def _twins(trials: list[FrozenTrial], number: int, params: dict[str, Any]) -> list[FrozenTrial]:
    """The trials with the same values, which decide all but the seed, that ran, run, or failed for what they are."""
    if not params:
        return []
    same = [trial for trial in trials if trial.number != number and _tidy(trial) == params]
    return [trial for trial in same if trial.state != TrialState.FAIL or _as_lesson(trial) is not trial]
