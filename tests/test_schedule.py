from __future__ import annotations

import math
from typing import Any

import pytest

from model.config import TrainConfig
from model.schedule import depends_on_epochs, learning_rate, stretched

BASE = {"batch_size": 32, "learning_rate": 0.001, "epochs": 50}


def rates(config: TrainConfig) -> list[float]:
    return [learning_rate(config, epoch) for epoch in range(1, config.epochs + 1)]


def test_constant_schedule_never_changes() -> None:
    assert set(rates(TrainConfig(**BASE))) == {0.001}


def test_reports_schedule_steps_after_epochs_10_and_20() -> None:
    config = TrainConfig(**BASE, schedule="step", step_epochs=[10, 20], step_factor=0.1)
    assert rates(config) == pytest.approx([1e-3] * 10 + [1e-4] * 10 + [1e-5] * 30)


def test_a_number_steps_after_every_so_many_epochs() -> None:
    config = TrainConfig(**{**BASE, "epochs": 7}, schedule="step", step_epochs=3, step_factor=0.5)
    assert rates(config) == pytest.approx([1e-3] * 3 + [5e-4] * 3 + [2.5e-4])


def test_a_list_steps_as_often_as_it_is_long() -> None:
    config = TrainConfig(**{**BASE, "epochs": 8}, schedule="step", step_epochs=[2, 4, 6], step_factor=0.1)
    assert rates(config) == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])


def test_warm_up_rises_evenly_to_what_the_schedule_says() -> None:
    config = TrainConfig(**{**BASE, "epochs": 6}, warmup_epochs=3)
    assert rates(config) == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3])
    stepped = TrainConfig(**{**BASE, "epochs": 3}, warmup_epochs=1, schedule="step", step_epochs=1, step_factor=0.1)
    assert rates(stepped) == pytest.approx([0.5e-3, 1e-4, 1e-5])


def test_a_step_past_the_last_epoch_never_comes() -> None:
    config = TrainConfig(**{**BASE, "epochs": 5}, schedule="step", step_epochs=[5], step_factor=0.1)
    assert set(rates(config)) == {0.001}


def test_cosine_falls_from_the_whole_rate_to_what_is_one_epoch_short_of_zero() -> None:
    config = TrainConfig(**{**BASE, "epochs": 4}, schedule="cosine")
    half = math.sqrt(0.5) / 2
    assert rates(config) == pytest.approx([1e-3, (0.5 + half) * 1e-3, 0.5e-3, (0.5 - half) * 1e-3])


def test_linear_falls_by_the_same_each_epoch() -> None:
    config = TrainConfig(**{**BASE, "epochs": 5}, schedule="linear")
    assert rates(config) == pytest.approx([1e-3, 0.8e-3, 0.6e-3, 0.4e-3, 0.2e-3])


def test_both_fall_after_the_warm_up_and_not_in_it() -> None:
    config = TrainConfig(**{**BASE, "epochs": 6}, schedule="linear", warmup_epochs=2)
    assert rates(config) == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3])


@pytest.mark.parametrize("warm_up", [0, 3])
def test_cosine_and_linear_are_those_of_keras(warm_up: int) -> None:
    from model.our_keras import keras

    schedules, planned = keras.optimizers.schedules, 12
    values: dict[str, Any] = {**BASE, "epochs": planned, "warmup_epochs": warm_up}
    warm = {"warmup_target": 1e-3, "warmup_steps": warm_up} if warm_up else {}
    cosine = schedules.CosineDecay(1e-3 / (warm_up + 1), planned - warm_up, **warm)
    expected = [float(cosine(step)) for step in range(planned)]
    assert rates(TrainConfig(**values, schedule="cosine")) == pytest.approx(expected, rel=1e-5)
    linear = schedules.PolynomialDecay(1e-3, planned - warm_up, end_learning_rate=0.0)
    expected = [float(linear(step)) for step in range(planned - warm_up)]
    assert rates(TrainConfig(**values, schedule="linear"))[warm_up:] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "depends"), [("constant", False), ("step", False), ("cosine", True), ("linear", True)]
)
def test_only_some_schedules_depend_on_how_many_epochs_are_planned(schedule: Any, depends: bool) -> None:
    step = {"step_epochs": 3, "step_factor": 0.5} if schedule == "step" else {}
    short, long = (TrainConfig(**{**BASE, "epochs": epochs}, schedule=schedule, **step) for epochs in (8, 16))
    assert (rates(long)[:8] != rates(short)) == depends == depends_on_epochs(schedule)


@pytest.mark.parametrize(
    ("values", "epochs", "becomes"),
    [
        ({}, 100, {}),
        ({"step_epochs": 5}, 100, {"step_epochs": 33}),
        ({"step_epochs": (7, 10), "warmup_epochs": 1}, 100, {"step_epochs": (47, 67), "warmup_epochs": 7}),
        ({"step_epochs": (1, 2, 30)}, 3, {"step_epochs": (1, 2, 6)}),
        ({"step_epochs": 2, "warmup_epochs": 14}, 2, {"step_epochs": 1, "warmup_epochs": 1}),
    ],
)
def test_stretched_schedule_is_the_same_shape_over_more_epochs(
    values: dict[str, Any], epochs: int, becomes: dict[str, Any]
) -> None:
    step = {"schedule": "step", "step_factor": 0.5} if "step_epochs" in values else {}
    config = TrainConfig(**{**BASE, "epochs": 15, **step, **values, "averaging": 0.99})
    expected = TrainConfig(**{**config.model_dump(), **becomes, "epochs": epochs})
    assert stretched(config, epochs) == expected
    assert stretched(config, 15) == config


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_stretched_cosine_and_linear_reach_over_all_epochs(schedule: Any) -> None:
    config = TrainConfig(**{**BASE, "epochs": 10}, schedule=schedule, warmup_epochs=2)
    assert rates(stretched(config, 20))[4::2] == pytest.approx(rates(config)[2:])
