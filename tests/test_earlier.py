"""A study learns from an earlier one's trials as far as they fit its own space, and counts none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search import api
from search.base.mistakes import InputError
from search.choosing.earlier import fitting
from search.choosing.proposing import StudyOfLessons, propose
from search.space.space import SearchSpace, parse_space
from studies.record.catalog import find_study

SCORE = "def score(trial):\n    return (trial.params.get('x', 0) - 2) ** 2\n"


def space_of(name: str = "later", sampler: str = "gp", **parameters: Any) -> SearchSpace:
    document = {
        "study": {"name": name, "trials": 4},
        "train": {"function": "score.py:score", "metric": "error", "direction": "minimize"},
        "space": parameters or {"x": {"low": -5.0, "high": 5.0}},
        "sampler": {"name": sampler},
    }
    return parse_space(document, "space")


def plain_trials(*xs: float, **more: Any) -> list[FrozenTrial]:
    """Those of a study of plain Optuna's that minimises (x - 2)^2."""
    study = optuna.create_study(direction="minimize")
    for x in xs:
        study.enqueue_trial({"x": x, **more})
    study.optimize(
        lambda trial: (
            (trial.suggest_float("x", -10, 10) - 2) ** 2 + sum(trial.suggest_int(name, 0, 9) for name in more)
        ),
        n_trials=len(xs),
    )
    return study.trials


def test_trials_inside_of_a_narrower_space_fit_and_have_its_distributions() -> None:
    space = space_of(x={"low": 0.0, "high": 5.0})
    lessons = fitting(space, plain_trials(-3.0, 1.0, 4.0, 7.0))
    assert [lesson.params for lesson in lessons] == [{"x": 1.0}, {"x": 4.0}]
    assert [lesson.number for lesson in lessons] == [-1, -2]
    assert lessons[0].distributions == space.distributions()


@pytest.mark.parametrize(
    ("parameters", "fit"),
    [
        ({"x": {"low": -9.0, "high": 9.0}, "y": 3}, 2),
        ({"x": {"low": -9.0, "high": 9.0}, "y": 4}, 0),
        ({"x": {"low": -9.0, "high": 9.0}, "y": {"choices": [3, 4]}}, 2),
        ({"x": {"low": -9.0, "high": 9.0}, "z": {"low": 0, "high": 1}}, 0),
        ({"x": {"low": -9.0, "high": 9.0}, "z": 1}, 2),
    ],
)
def test_what_this_space_fixes_or_searches_otherwise_decides_who_fits(parameters: dict[str, Any], fit: int) -> None:
    assert len(fitting(space_of(**parameters), plain_trials(1.0, 2.0, y=3))) == fit


def test_unfinished_trials_teach_nothing() -> None:
    trials = plain_trials(1.0, 2.0)
    trials[0].state = TrialState.RUNNING
    assert len(fitting(space_of(), trials)) == 1


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_first_proposals_lie_where_the_earlier_study_was_best(sampler: str) -> None:
    space = space_of(sampler=sampler)
    lessons = fitting(space, plain_trials(*(place / 4 for place in range(-20, 21))))
    storage = optuna.storages.InMemoryStorage()
    study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "s")
    study = StudyOfLessons("s", storage)
    distances = []
    for number in range(4):
        trial_id = storage.create_new_trial(study_id)
        propose(study, trial_id, number, space, earlier=lessons)
        x = storage.get_trial(trial_id).params["x"]
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [(x - 2) ** 2])
        distances.append(abs(x - 2))
    assert sorted(distances)[1] < 1
    assert len(study.get_trials()) == 4, "nobody else sees the earlier ones"


def test_run_names_the_study_that_it_learns_from_once_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("score.py").write_text(SCORE)
    api.run(space_of("first"), home="runs", quiet=True)
    later = api.run(space_of(x={"low": 0.0, "high": 5.0}), home="runs", learns_from=["first"])
    assert "of 4 trials of study first" in capsys.readouterr().out
    stored = find_study(later.storage, "later").attributes
    assert [each["name"] for each in stored["learns_from"]] == ["first"]
    assert len(later.storage.get_all_trials(find_study(later.storage, "later").study_id)) == 4
    api.run(space_of("later", x={"low": 0.0, "high": 5.0}), add=1, home="runs")
    assert "of 4 trials of study first" in capsys.readouterr().out
    with pytest.raises(InputError, match="was begun with other earlier studies than these, or with none"):
        api.run(space_of("first"), home="runs", add=1, learns_from=["later"], quiet=True)


@pytest.mark.parametrize(
    ("earlier", "told"),
    [
        ("nix", "--from: study 'nix' is not in"),
        ("first", "has values for all that this space searches"),
        ("later", "--from: study 'later' is not in"),
    ],
)
def test_study_that_teaches_nothing_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("score.py").write_text(SCORE)
    first = api.run(space_of("first"), home="runs", quiet=True)
    with pytest.raises(InputError, match=told):
        api.run(space_of(z={"low": 0, "high": 1}), home="runs", learns_from=[earlier], quiet=True)
    assert [study.study_name for study in first.storage.get_all_studies()] == ["first"]
