"""How a trial comes to its values: by its own seeds, and not to those of a trial before."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from plain_optuna import suggested

from model.config import TrainConfig
from search.base.seeds import sampler_seed, training_seed
from search.choosing.proposing import GivenValuesError, Proposal, StudyOfLessons, propose
from search.choosing.quiet import without_warnings
from search.choosing.samplers import build_sampler
from search.space.space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


def space_of(seed: int = 7, repeats: bool = False, sampler: str = "tpe", **parameters: Any) -> SearchSpace:
    fixed = {"batch_size": 8, "learning_rate": 0.1, "epochs": 3}
    return SearchSpace.from_dict(
        {
            "study": {"name": "s", "trials": 9, "seed": seed, "repeats": repeats},
            "space": {**fixed, **parameters},
            "sampler": {"name": sampler},
        }
    )


CONTINUOUS: dict[str, Any] = {"learning_rate": {"low": 1e-3, "high": 1.0, "log": True}, "epochs": {"low": 2, "high": 9}}
THREE: dict[str, Any] = {"batch_size": {"choices": [8, 16, 32]}}


def trained(proposal: Proposal) -> TrainConfig:
    assert isinstance(proposal.config, TrainConfig)
    return proposal.config


class Study:
    """A study of one worker, in memory."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.storage = optuna.storages.InMemoryStorage()
        self.study_id = self.storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")
        self.study = StudyOfLessons("s", self.storage)

    def ask(self, **given: Any) -> Proposal:
        self.trial_id = self.storage.create_new_trial(self.study_id)
        if given:
            self.storage.set_trial_system_attr(self.trial_id, "fixed_params", given)
        number = self.storage.get_trial(self.trial_id).number
        return propose(self.study, self.trial_id, number, self.space)

    def tell(self, value: float | None, state: TrialState = TrialState.COMPLETE) -> None:
        self.storage.set_trial_state_values(self.trial_id, state, None if value is None else [value])

    def run(self, trials: int) -> list[Proposal]:
        proposals = []
        for _ in range(trials):
            proposals.append(self.ask())
            self.tell(-abs(trained(proposals[-1]).learning_rate - 0.1) + trained(proposals[-1]).epochs / 100)
        return proposals


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc", "grid"])
def test_study_of_one_worker_can_be_repeated_exactly(sampler: str) -> None:
    first, second, other = (
        [proposal.config for proposal in Study(space_of(seed, sampler=sampler, **CONTINUOUS)).run(16)]
        for seed in (7, 7, 8)
    )
    assert first == second
    assert first != other
    assert len({config.seed for config in first}) == 16


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc", "grid"])
def test_values_of_a_range_with_a_step_are_as_people_write_them(sampler: str) -> None:
    study = Study(space_of(sampler=sampler, repeats=True, dropout={"low": 0.0, "high": 0.7, "step": 0.1}))
    tidy = {round(0.1 * place, 1) for place in range(8)}
    assert {trained(proposal).dropout for proposal in study.run(12)} <= tidy
    assert {trial.params["dropout"] for trial in study.study.get_trials()} <= tidy


def test_value_of_an_earlier_trial_that_is_off_by_a_rounding_error_is_known_again() -> None:
    study = Study(space_of(dropout={"low": 0.1, "high": 0.5, "step": 0.2}))
    distribution = optuna.distributions.FloatDistribution(0.1, 0.5, step=0.2)
    for value in (0.1, 0.1 + 0.2, 0.5):  # the second is 0.30000000000000004
        done = optuna.trial.create_trial(
            params={"dropout": value}, distributions={"dropout": distribution}, value=value, user_attrs={"config": {}}
        )
        study.study.add_trial(done)
    proposals = [study.ask() for _ in range(6)]
    assert all(proposal.twin is not None for proposal in proposals)
    assert 0.3 in [trained(proposal).dropout for proposal in proposals]


def test_trials_differ_from_the_first_on() -> None:
    rates = {trained(proposal).learning_rate for proposal in Study(space_of(**CONTINUOUS)).run(5)}
    assert len(rates) == 5


def test_values_of_a_trial_are_stored_with_it_as_they_were_proposed() -> None:
    study = Study(space_of(**CONTINUOUS))
    (proposal,) = study.run(1)
    (trial,) = study.study.get_trials()
    assert trial.params == {"learning_rate": trained(proposal).learning_rate, "epochs": trained(proposal).epochs}


def test_what_was_tried_is_asked_again_until_something_is_new() -> None:
    proposals = Study(space_of(**THREE)).run(3)
    assert {trained(proposal).batch_size for proposal in proposals} == {8, 16, 32}
    assert all(proposal.twin is None for proposal in proposals)


def test_when_everything_was_tried_the_result_is_taken_over() -> None:
    study = Study(space_of(**THREE))
    proposals = study.run(7)
    assert all(proposal.twin is not None for proposal in proposals[3:])
    trials = study.study.get_trials()
    for trial, proposal in zip(trials[3:], proposals[3:], strict=True):
        assert proposal.twin is not None
        assert proposal.twin.number < 3
        assert trial.params == proposal.twin.params


def test_what_others_train_right_now_is_not_proposed_while_there_is_something_else() -> None:
    study = Study(space_of(**THREE))
    assert {trained(study.ask()).batch_size for _ in range(3)} == {8, 16, 32}
    assert study.ask().twin is None, "there is no result to take over yet"


@pytest.mark.parametrize(
    ("state", "failure"), [(TrialState.PRUNED, None), (TrialState.FAIL, "diverged"), (TrialState.FAIL, "crashed")]
)
def test_pruned_and_diverged_are_avoided_but_give_no_result(state: TrialState, failure: str | None) -> None:
    study = Study(space_of(**THREE))
    for _ in range(3):
        study.ask()
        study.storage.set_trial_user_attr(study.trial_id, "failure", failure)
        study.tell(None, state)
    tried = [trial.params["batch_size"] for trial in study.study.get_trials(deepcopy=False)]
    assert (len(set(tried)) == 3) is (failure != "crashed")
    assert study.ask().twin is None


def test_repeats_are_trained_where_they_are_asked_for() -> None:
    assert all(proposal.twin is None for proposal in Study(space_of(repeats=True, **THREE)).run(6))


def test_space_that_searches_nothing_is_about_seeds() -> None:
    proposals = Study(space_of()).run(3)
    assert all(proposal.twin is None for proposal in proposals)
    assert len({trained(proposal).seed for proposal in proposals}) == 3


def test_values_that_somebody_put_into_the_queue_are_trained_though_they_were_tried() -> None:
    study = Study(space_of(**THREE))
    for _ in range(2):
        proposal = study.ask(batch_size=16)
        study.tell(0.5)
        assert (trained(proposal).batch_size, proposal.twin) == (16, None)


def test_trial_that_is_run_again_keeps_its_values() -> None:
    study = Study(space_of(**CONTINUOUS))
    first = study.ask()
    assert propose(study.study, study.trial_id, 0, study.space) == first


def test_trial_that_is_run_again_keeps_the_seed_that_it_was_begun_with() -> None:
    study = Study(space_of(**CONTINUOUS))
    first = study.ask()
    begun = trained(first).model_copy(update={"seed": trained(first).seed + 1})
    study.storage.set_trial_user_attr(study.trial_id, "config", begun.model_dump(mode="json"))
    assert propose(study.study, study.trial_id, 0, study.space).config == begun


BRANCHED: dict[str, Any] = {
    **CONTINUOUS,
    "batch_size": {"low": 4, "high": 64, "log": True},
    "schedule": {"choices": ["constant", "step"]},
    "step_epochs": {"choices": [1, [1, 2]]},
    "step_factor": {"low": 0.1, "high": 0.5, "step": 0.1},
    "dropout": {"low": 0.3, "high": 0.3},
    "optimizer": "nesterov",
    "momentum": {"low": 0.0, "high": 0.9},
}


def tidied(params: dict[str, Any]) -> dict[str, Any]:
    """Without the rounding errors in Optuna's own steps, of which step_factor alone has some here."""
    return {name: round(value, 12) if name == "step_factor" and value else value for name, value in params.items()}


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc", "grid"])
@pytest.mark.parametrize("given", [{}, {"schedule": "step", "step_epochs": "1,2"}, {"momentum": 0.5, "epochs": 4}])
def test_proposals_are_what_a_trial_of_optunas_own_comes_to(sampler: str, given: dict[str, Any]) -> None:
    ours, plain = (Study(space_of(sampler=sampler, repeats=True, **BRANCHED)) for _ in range(2))
    for number in range(14):
        proposal = ours.ask(**given)
        sampler_of = build_sampler(plain.space, number, sampler_seed(7, number))
        study = StudyOfLessons("s", plain.storage, sampler_of, optuna.pruners.NopPruner())
        study.enqueue_trial(given)
        trial = study.ask()
        theirs_too = suggested(plain.space, trial, training_seed(7, number))
        assert proposal.config == theirs_too.model_copy(update=tidied({"step_factor": theirs_too.step_factor}))
        ours.tell(trained(proposal).learning_rate)
        study.tell(trial, trained(proposal).learning_rate)
    mine, theirs = (each.study.get_trials(deepcopy=False) for each in (ours, plain))
    assert [(trial.params, trial.distributions) for trial in mine] == [
        (tidied(trial.params), trial.distributions) for trial in theirs
    ]


def test_trial_that_has_some_of_its_values_is_given_the_others() -> None:
    study = Study(space_of(**BRANCHED))
    schedule = study.space.distributions()["schedule"]
    trial_id = study.storage.create_new_trial(study.study_id)
    study.storage.set_trial_param(trial_id, "schedule", schedule.to_internal_repr("step"), schedule)
    config = trained(propose(study.study, trial_id, 0, study.space))
    assert config.schedule == "step"
    assert study.storage.get_trial(trial_id).params.keys() == study.space.distributions().keys()


def test_enqueued_values_are_told_and_one_outside_of_the_space_is_trained() -> None:
    study = Study(space_of(**CONTINUOUS))
    proposal = study.ask(epochs=40, bla=1)
    assert trained(proposal).epochs == 40
    assert proposal.remark == (
        "somebody enqueued it with epochs 40: one trial more than were asked for; epochs: outside of the space, and "
        "trained all the same; bla: not searched, and passed over"
    )
    assert study.ask().remark == ""


def test_seeds_of_sampling_and_training_are_apart_and_fit_32_bits() -> None:
    seeds = [f(study, number) for f in (sampler_seed, training_seed) for study in (0, 1, 2**31) for number in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def in_the_failing_half(study_class: type[optuna.Study], failure: str) -> int:
    """How many of 30 proposals are above 1 once 12 trials there have failed and 12 below it have not."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study = study_class("s", storage)
    learning_rate: BaseDistribution = FloatDistribution(1e-3, 1e3, log=True)
    space = {"learning_rate": learning_rate}
    for index in range(12):
        fine, failing = ({"learning_rate": 10 ** (power + index / 5)} for power in (-2.5, 0.2))
        study.add_trial(create_trial(value=0.5, params=fine, distributions=space))
        why = {"failure": failure}
        study.add_trial(create_trial(state=TrialState.FAIL, params=failing, distributions=space, user_attrs=why))
    proposals = []
    searched = space_of(learning_rate={"low": 1e-3, "high": 1e3, "log": True})
    for number in range(100, 130):
        trial_id = storage.create_new_trial(study._study_id)
        proposals.append(trained(propose(study, trial_id, number, searched)).learning_rate)
    return sum(rate > 1 for rate in proposals)


@pytest.mark.parametrize("failure", ["diverged", "out-of-memory"])
def test_sampler_learns_to_avoid_what_failed_for_what_it_was(failure: str) -> None:
    assert in_the_failing_half(StudyOfLessons, failure) < in_the_failing_half(optuna.Study, failure) / 2


def test_sampler_sees_every_trial_and_lesson_whatever_the_pruner() -> None:
    """Hyperband would show it the trials of one bracket only, as another class of study."""
    study = Study(space_of(**THREE))
    study.study.pruner = optuna.pruners.HyperbandPruner()
    for _ in range(8):
        study.ask()
        study.storage.set_trial_user_attr(study.trial_id, "failure", "diverged")
        study.tell(None, TrialState.FAIL)
    seen = []

    class Looking(optuna.samplers.RandomSampler):
        def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, BaseDistribution]:
            seen.append([each.state for each in study.get_trials(deepcopy=False) if each.number < trial.number])
            return super().infer_relative_search_space(study, trial)

    propose(study.study, study.storage.create_new_trial(study.study_id), 8, study.space, lambda *_: Looking(0))
    assert seen[0] == [TrialState.PRUNED] * 8


def test_enqueued_values_that_nothing_can_be_trained_with_are_told() -> None:
    study = Study(space_of(**THREE, learning_rate={"low": 0.01, "high": 0.1, "log": True}))
    with pytest.raises(GivenValuesError, match=r"-1\.0. is invalid"):
        study.ask(learning_rate=-1.0)


def test_enqueued_trial_may_ask_for_what_its_combination_of_the_grid_has_not() -> None:
    steps: dict[str, Any] = {
        "schedule": {"choices": ["constant", "step"]},
        "step_epochs": {"choices": [2, 1]},
        "step_factor": 0.1,
    }
    study = Study(space_of(sampler="grid", **steps))
    assert {trained(study.ask(schedule="step")).step_epochs for _ in range(4)} <= {1, 2}


def test_what_one_slot_keeps_quiet_is_not_let_through_by_the_end_of_another() -> None:
    began, ended = threading.Event(), threading.Event()

    def fit() -> None:
        with without_warnings():
            began.set()
            ended.wait()
            warnings.warn("a length scale is at its bound", stacklevel=1)

    other = threading.Thread(target=fit)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with without_warnings():
            other.start()
            began.wait(0.2)  # in vain: it has to wait for its turn
        ended.set()
        other.join()
        assert seen == []
        warnings.warn("is shown again", stacklevel=1)
        assert len(seen) == 1
