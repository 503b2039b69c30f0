"""Real searches beside each other, on images that take no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.side_by_side import Course, draw
from optuna.trial import TrialState, create_trial

SPACE = """
[study]
name = "{name}"
trials = 3
seed = 0

[data]
source = "synthetic"
train_images = 64
validation_images = 32

[space]
batch_size = 32
learning_rate = {{ low = 1e-3, high = 0.1, log = true }}
schedule = "constant"
epochs = 2

[pruner]
name = "{pruner}"
"""


def test_course_has_the_best_of_complete_trials_and_of_any_epoch_whenever_one_is_new() -> None:
    running = create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.4})
    complete = create_trial(state=TrialState.COMPLETE, value=0.3, intermediate_values={1: 0.2, 2: 0.3})
    course = Course()

    course.note([running], 60)
    course.note([running], 90)
    course.note([running, complete], 120)

    assert (course.minutes, course.complete, course.any_epoch) == ([1, 2], [0.0, 0.3], [0.4, 0.4])
    assert (course.completed, course.epochs) == (1, 3)


def test_picture_is_drawn_also_of_a_search_without_a_complete_trial(tmp_path: Path) -> None:
    whole = Course([0.1, 2.0], [0.0, 0.4], [0.3, 0.4])
    draw({"a": whole, "b": Course([0.2], [0.0], [0.2])}, tmp_path / "both.png")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_two_real_searches_run_beside_each_other(tmp_path: Path) -> None:
    for name, pruner in (("first", "reach"), ("second", "pause")):
        (tmp_path / f"{name}.toml").write_text(SPACE.format(name=name, pruner=pruner))
    command = [
        sys.executable,
        str(Path(__file__).parent / "benchmarks" / "side_by_side.py"),
        "first.toml",
        "second.toml",
    ]
    asked = [*command, "--data", "synthetic", "--timeout", "3m", "--json", "both.json", "-o", "both.png"]

    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "both.json").read_text())
    assert set(found) == {"first", "second"}
    assert all(course["begun"] == 3 and course["completed"] >= 1 for course in found.values())
    assert (tmp_path / "both.png").is_file()
