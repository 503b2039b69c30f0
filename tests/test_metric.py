"""What a study is measured by: which of two values is better, and how values are written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from studies.record.metric import Metric, significant, trains
from studies.words import number, settings_in

RMSE = Metric("rmse", "minimize")


def test_a_study_without_training_of_its_own_has_the_validation_accuracy() -> None:
    stored: list[dict[str, Any]] = [{}, {"space": {}}, {"space": {"model": {"network": "mynet.py:build"}}}]
    for attributes in stored:
        metric = Metric.of(attributes)
        assert (metric.name, metric.smaller_is_better, metric.title) == ("val_accuracy", False, "validation accuracy")


def test_the_metric_is_the_one_of_the_stored_space() -> None:
    train = {"function": "train.py:train", "metric": "rmse", "direction": "minimize"}
    assert Metric.of({"space": {"train": train}}) == RMSE
    assert Metric.of({"space": {"train": {**train, "metric": "f1", "direction": "maximize"}}}) == Metric("f1")


def test_the_better_of_two_is_the_smaller_where_the_metric_is_minimised() -> None:
    assert RMSE.better(1.0, 2.0)
    assert not RMSE.better(2.0, 1.0)
    assert Metric("f1").better(2.0, 1.0)
    assert not RMSE.better(math.nan, 1.0)
    assert not RMSE.better(1.0, math.nan)
    assert RMSE.ahead(1.0, 3.0) == Metric("f1").ahead(3.0, 1.0) == 2.0


def test_the_best_is_finite() -> None:
    values = [3.0, math.nan, 1.0, -math.inf, math.inf, 2.0]
    assert RMSE.best(values) == 1.0
    assert Metric("f1").best(values) == 3.0
    assert RMSE.best([math.nan]) is None


@pytest.mark.parametrize("name", ["accuracy", "val_accuracy", "acc", "top5_acc", "Test_Accuracy"])
def test_an_accuracy_is_known_by_its_name(name: str) -> None:
    metric = Metric(name)
    assert metric.is_accuracy
    assert (metric.shown(0.61), metric.share(0.61), metric.difference(-0.024)) == ("0.6100", "61.00%", "-0.0240")
    assert metric.share(61.3) == "61.3000"  # is in percent already


@pytest.mark.parametrize("name", ["rmse", "accuracy_loss", "inaccuracy", "vacc"])
def test_any_other_metric_is_never_percent(name: str) -> None:
    metric = Metric(name)
    assert not metric.is_accuracy
    assert (metric.shown(0.61), metric.share(0.61), metric.difference(0.5)) == ("0.61", "0.61", "+0.5")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345678, "0.01235"),
        (12.3456, "12.35"),
        (1234.56, "1235"),
        (9999.7, "10000"),
        (123456.7, "123457"),
        (1234567.0, "1.235e+06"),
        (-0.5, "-0.5"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_number_has_four_digits_that_count(value: float, text: str) -> None:
    assert significant(value) == text


def test_what_is_trained_is_named_as_the_space_names_it() -> None:
    assert trains({"space": {"space": {}}}) == ("alexnet", "AlexNet")
    assert trains({"space": {"model": {"network": "mynet.py:build"}}}) == ("network", "mynet.py:build")
    assert trains({"space": {"train": {"function": "train.py:train"}}}) == ("own", "train.py:train")
    assert trains({"space": {"train": {"command": ["./my train", "--fast"]}}}) == ("own", "'./my train' --fast")


def test_a_configuration_is_shown_as_one_flat_table() -> None:
    own = {"params": {"lr": 0.1, "epochs": 7}, "epochs": 7, "seed": 5}
    assert list(settings_in(own).items()) == [("lr", 0.1), ("epochs", 7), ("seed", 5)]
    assert settings_in({"params": {"seed": "none"}, "epochs": 1, "seed": 5}) == {"seed": "none", "epochs": 1}
    assert settings_in({"batch_size": 32, "network": {"width": 64}}) == {"width": 64, "batch_size": 32}
    assert settings_in({"batch_size": 32, "seed": 1}) == {"batch_size": 32, "seed": 1}
    assert settings_in({"params": {"params": 3, "network": 4}, "seed": 1}) == {"params": 3, "network": 4, "seed": 1}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.000123456, "0.000123"), (12.0, "12"), (999.4, "999"), (1000.0, "1000"), (12345.6, "12346"), (2.5e7, "2.5e+07")],
)
def test_numbers_are_read_without_an_exponent_where_they_can_be(value: float, shown: str) -> None:
    assert number(value) == shown
    assert number(-value) == f"-{shown}"
