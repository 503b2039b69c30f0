from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from model.config import BEYOND, TrainConfig, beyond

BASE = {"batch_size": 32, "learning_rate": 0.001, "epochs": 50}


def test_configuration_without_the_newer_keys_is_the_reports() -> None:
    config = TrainConfig(**BASE)
    assert {name: getattr(config, name) for name in BEYOND} == {
        "warmup_epochs": 0,
        "optimizer": "sgd",
        "momentum": 0.0,
        "weight_decay": 0.0,
        "dropout": 0.5,
        "label_smoothing": 0.0,
        "augmentation": "none",
        "averaging": 0.0,
        "mirrored": False,
    }
    assert beyond(config.model_dump()) == beyond(BASE) == {}


def test_beyond_names_what_is_otherwise() -> None:
    assert beyond({**BASE, "optimizer": "adam", "dropout": 0.5}) == {"optimizer": "adam"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"optimizer": "adam", "momentum": 0.9}, 'momentum belongs to optimizer = "sgd" or "nesterov"'),
        ({"optimizer": "adam", "weight_decay": 0.1}, 'weight_decay does not go with optimizer = "adam"'),
        ({"warmup_epochs": 50}, "warmup_epochs must be less than epochs"),
        ({"schedule": "step", "step_epochs": 3}, "needs both step_epochs and step_factor"),
        ({"step_factor": 0.5}, 'belong to schedule = "step"'),
        ({"dropout": 1.0}, "less than 1"),
        ({"momentum": -0.1}, "greater than or equal to 0"),
        ({"augmentation": "crop"}, "'none', 'flip', 'flip_shift' or 'flip_shift_cutout'"),
    ],
)
def test_values_that_do_not_belong_together_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainConfig(**BASE | values)


def test_all_that_does_not_belong_together_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        TrainConfig(**BASE | {"optimizer": "adam", "momentum": 0.9, "weight_decay": 0.1, "warmup_epochs": 60})
    (error,) = caught.value.errors()
    assert all(word in error["msg"] for word in ("momentum belongs", "weight_decay does not go", "warmup_epochs must"))
