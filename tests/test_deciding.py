"""The benchmark of decisions, over a study of a few trials."""

from __future__ import annotations

import pytest
from benchmarks.deciding import made_up, measured

from search.choosing.pausing import is_paused
from search.space.files import load_space


@pytest.mark.parametrize("preset", ["hour", "beyond"])
def test_every_decision_is_timed_over_paused_and_complete_trials(preset: str) -> None:
    space = load_space(preset)
    trials = made_up(space, 20).trials
    assert sum(map(is_paused, trials)) == 16
    took = measured(space, 20, 2)
    assert len(took) == 4
    assert all(len(seconds) == 2 and min(seconds) >= 0 for seconds in took.values())
