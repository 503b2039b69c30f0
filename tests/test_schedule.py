from __future__ import annotations

import pytest

from model.config import TrainConfig
from model.schedule import learning_rate

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
