"""The plotly figures of a study: that they say what its trials say, in any state and any number of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.draw.study_figures import FIGURES, history, lanes, learning_curves, pruning, seconds
from studies.record.published import PAPER_SCORE

HOSTILE = '<img src=x onerror="alert(1)">'
START = datetime(2026, 1, 1)
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "batch_size": CategoricalDistribution((16, 32, 64)),
    "learning_rate": FloatDistribution(1e-5, 1.0, log=True),
    "epochs": IntDistribution(1, 60),
}


def made(
    number: int, state: TrialState, curve: Sequence[float], *, started: float = 0, took: float = 60, **attributes: Any
) -> FrozenTrial:
    params = {"batch_size": (16, 32, 64)[number % 3], "learning_rate": 0.001 * (number + 1), "epochs": 1 + number % 60}
    ended = state in (TrialState.COMPLETE, TrialState.PRUNED)
    trial = create_trial(
        state=state,
        value=curve[-1] if ended else None,
        params=params,
        distributions=DISTRIBUTIONS,
        intermediate_values=dict(enumerate(curve, 1)),
        user_attrs={"seconds": took, "host": "here", "slot": "slot-0", "device": "cpu", **attributes},
    )
    trial.number = number
    trial.datetime_start = START + timedelta(seconds=started)
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=took) if state.is_finished() else None
    return trial


@pytest.fixture
def trials() -> list[FrozenTrial]:
    return [
        made(0, TrialState.COMPLETE, [0.4, 0.5], started=0, took=100),
        made(1, TrialState.PRUNED, [0.2], started=100, took=20),
        made(2, TrialState.COMPLETE, [0.5, 0.7], started=120, took=80),
        made(3, TrialState.FAIL, [0.3], started=200, took=10),
        made(4, TrialState.RUNNING, [0.4], started=210),
    ]


def traces(figure: Any) -> dict[str, dict[str, Any]]:
    """The traces of the figure's JSON, by name."""
    return {trace.get("name", str(place)): trace for place, trace in enumerate(json.loads(figure.to_json())["data"])}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "states", [(), ("FAIL",), ("WAITING",), ("RUNNING",), ("COMPLETE",), ("PRUNED", "FAIL"), ("COMPLETE",) * 12]
)
def test_any_figure_can_be_drawn_of_any_study(name: str, states: Sequence[str]) -> None:
    several = [
        create_trial(state=TrialState.WAITING)
        if state == "WAITING"
        else made(number, TrialState[state], [] if state in ("FAIL", "RUNNING") else [0.1 * (number % 7)])
        for number, state in enumerate(states)
    ]
    figure = FIGURES[name](several)
    document = json.loads(figure.to_json())
    assert document["data"] or document["layout"]["annotations"][0]["text"]
    assert len(json.dumps(document["layout"])) < 3_000  # no template


@pytest.mark.parametrize("name", FIGURES)
def test_names_are_shown_and_not_obeyed(name: str) -> None:
    several = [
        create_trial(
            state=TrialState.COMPLETE,
            value=0.1 * number,
            params={HOSTILE: HOSTILE},
            distributions={HOSTILE: CategoricalDistribution((HOSTILE, "b"))},
            intermediate_values={1: 0.1 * number},
            user_attrs={"host": HOSTILE, "slot": HOSTILE, "device": HOSTILE, "seconds": 1.0},
        )
        for number in range(6)
    ]
    assert "<img" not in FIGURES[name](several).to_json()


def test_history_climbs_with_complete_trials_only(trials: list[FrozenTrial]) -> None:
    drawn = traces(history(trials, paper=True, baseline=0.5))
    assert drawn["best so far: 70.00%"]["x"] == [1, 3, 4]
    assert drawn["best so far: 70.00%"]["y"] == [0.5, 0.7, 0.7]
    assert drawn["pruned, last epoch"]["customdata"] == [1]
    assert drawn["baseline: 50.00%"]["y"] == [0.5, 0.5]
    assert drawn["report, 2022: 70.81%"]["y"] == [PAPER_SCORE] * 2


def test_seconds_show_what_was_to_be_had_for_so_many(trials: list[FrozenTrial]) -> None:
    drawn = traces(seconds([*trials, made(5, TrialState.COMPLETE, [0.6], took=90)]))
    assert drawn["best for the time"]["x"] == [80, 100]  # 0.7 after 80 s: neither 0.6 after 90 nor 0.5 after 100 is one
    assert drawn["complete"]["x"] == [100, 80, 90]


def test_pruning_is_shown_where_it_happened_beside_the_median_it_was_held_against(trials: list[FrozenTrial]) -> None:
    drawn = traces(pruning(trials))
    assert (drawn["pruned (1)"]["x"], drawn["pruned (1)"]["y"]) == ([1], [0.2])
    assert drawn["median of the complete trials"]["y"] == [0.45, 0.6]


def test_a_lane_is_a_slot_and_overlapping_runs_get_lanes_of_their_own(trials: list[FrozenTrial]) -> None:
    other = made(5, TrialState.COMPLETE, [0.6], started=50, took=100)
    drawn = traces(lanes([*trials, other], now=START + timedelta(seconds=240)))
    assert dict(zip(drawn["complete (3)"]["customdata"], drawn["complete (3)"]["y"], strict=True)) == {
        0: "here slot-0 cpu",
        5: "here slot-0 cpu (2)",
        2: "here slot-0 cpu",
    }
    assert drawn["running (1)"]["x"] == [30_000]
    assert drawn["running (1)"]["base"] == ["2026-01-01 00:03:30"]


def test_many_curves_are_thinned_to_what_a_page_can_carry() -> None:
    many = [made(number, TrialState.COMPLETE, [0.001 * number + 0.01 * e for e in range(50)]) for number in range(200)]
    whole, small, tiny = (learning_curves(many, most_points=most) for most in (20_000, 1_000, 100))
    assert len(traces(whole)["complete (199)"]["x"]) == 199 * 51
    drawn = traces(small)["complete (199)"]
    assert len(drawn["x"]) <= 1_200
    assert {1, 50} <= set(drawn["x"])
    assert "best: trial 199" in traces(tiny)
    assert tiny.layout.title.text == "Learning curves of all trials (51 of 200 drawn)"
    assert whole.layout.title.text == "Learning curves of all trials"


def test_importances_rest_on_complete_trials_and_need_five() -> None:
    several = [made(number, TrialState.COMPLETE, [0.01 * number]) for number in range(30)]
    figure = FIGURES["importances"](several)
    (bars,) = figure.data
    assert set(bars.y) == set(DISTRIBUTIONS)
    assert sum(bars.x) == pytest.approx(1, abs=0.01)
    assert not FIGURES["importances"]([*several[:4], *(made(9, TrialState.PRUNED, [0.1]) for _ in range(9))]).data
