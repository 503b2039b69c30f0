from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import checkpoint, network, program
from model.config import (
    DataError,
    DataSpec,
    DiskError,
    DivergedError,
    EpochMetrics,
    OutOfMemoryError,
    TrainConfig,
    TrainResult,
)
from model.data import ImageSet, Split, load_training, split
from model.device import Device
from model.evaluate import evaluate
from model.train import Engine, Progress

CPU = Device("cpu", "this CPU", "float32", xla=False, threads=2)
CONFIG = TrainConfig(batch_size=32, learning_rate=0.02, epochs=3, seed=1, precision="float32")


@pytest.fixture(scope="module")
def images() -> Split:
    """So few that a test takes seconds on a slow machine; batches of 32 leave a remainder."""
    spec = DataSpec(source="synthetic", train_images=100, validation_images=50)
    return split(load_training("synthetic", Path()), spec)


@pytest.fixture(scope="module")
def engine(images: Split) -> Engine:
    return Engine(images.train, images.validation, CPU)


def go_on(_metrics: EpochMetrics) -> bool:
    return True


def weights(engine: Engine) -> dict[str, npt.NDArray[np.float32]]:
    return network.read_weights(engine.network)


def assert_bit_equal(first: dict[str, npt.NDArray[np.float32]], second: dict[str, npt.NDArray[np.float32]]) -> None:
    assert [name for name, value in first.items() if not np.array_equal(value, second[name])] == []


def without_seconds(result: TrainResult) -> list[dict[str, Any]]:
    return [epoch.model_dump(exclude={"seconds"}) for epoch in result.history]


EVERYTHING: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 0.001,
    "weight_decay": 0.01,
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "augmentation": "flip_shift_cutout",
    "warmup_epochs": 1,
    "averaging": 0.9,
    "mirrored": True,
}
NESTEROV: dict[str, Any] = {"optimizer": "nesterov", "momentum": 0.9, "augmentation": "flip"}


def changed(**changes: Any) -> TrainConfig:
    return TrainConfig(**{**CONFIG.model_dump(), **changes})


def test_network_learns_what_there_is_to_learn(engine: Engine) -> None:
    result = engine.train(changed(epochs=12, learning_rate=0.05), go_on)
    assert [epoch.epoch for epoch in result.history] == list(range(1, 13))
    assert result.history[-1].loss < result.history[0].loss / 2
    assert result.history[-1].accuracy > 0.8
    assert result.stopped is False


def test_same_seed_trains_the_same_weights_bit_for_bit_whatever_came_before(engine: Engine) -> None:
    first, first_weights = engine.train(CONFIG, go_on), weights(engine)
    engine.train(changed(seed=2, batch_size=50, epochs=1), go_on)
    assert any(not np.array_equal(value, first_weights[name]) for name, value in weights(engine).items())
    second = engine.train(CONFIG, go_on)
    assert without_seconds(first) == without_seconds(second)
    assert_bit_equal(first_weights, weights(engine))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [EVERYTHING, NESTEROV], ids=["everything", "nesterov"])
def test_same_seed_trains_the_same_weights_with_all_that_the_report_had_not(
    engine: Engine, changes: dict[str, Any]
) -> None:
    config = changed(**changes, epochs=2)
    first, first_weights = engine.train(config, go_on), weights(engine)
    engine.train(changed(optimizer="adam", momentum=0.0, epochs=1), go_on)
    assert without_seconds(first) == without_seconds(engine.train(config, go_on))
    assert_bit_equal(first_weights, weights(engine))
    assert first.history[-1].loss < 2.5
    engine.train(config.model_copy(update={"seed": 2}), go_on)
    assert not np.array_equal(first_weights["conv1/kernel"], weights(engine)["conv1/kernel"])


@pytest.mark.parametrize(
    "other",
    [
        {"weight_decay": 0.1},
        {"label_smoothing": 0.2},
        {"dropout": 0.1},
        {"augmentation": "flip"},
        {"augmentation": "flip_shift_cutout"},
        {"momentum": 0.5},
    ],
    ids=lambda other: next(iter(other)),
)
def test_each_of_them_changes_the_training(engine: Engine, other: dict[str, Any]) -> None:
    engine.train(changed(epochs=1), go_on)
    plain = weights(engine)
    engine.train(changed(epochs=1, **other), go_on)
    assert not np.array_equal(plain["dense2/kernel"], weights(engine)["dense2/kernel"])


@pytest.mark.slow
def test_what_a_configuration_does_not_use_changes_no_bit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that can decay, smooth and augment, told to do nothing of it, trains what the report's does."""
    engine.train(CONFIG, go_on)
    plain = weights(engine)
    monkeypatch.setattr(program.Variant, "of", lambda _config: program.Variant("sgd", extras=True))
    engine.train(CONFIG, go_on)
    assert_bit_equal(plain, weights(engine))


@pytest.mark.slow
def test_average_of_the_weights_is_what_is_scored_and_kept_and_trains_nothing(engine: Engine, images: Split) -> None:
    """BatchNormalization's statistics are averaged along. An epoch is one step here."""
    config = changed(epochs=4, batch_size=100, averaging=0.3, mirrored=True)
    expected = network.initial_weights(engine.network, config.seed)
    seen: list[dict[str, npt.NDArray[np.float32]]] = []

    def on_epoch(metrics: EpochMetrics) -> bool:
        seen.append(weights(engine))
        decay = min(0.3, (1 + metrics.epoch) / (10 + metrics.epoch))
        for name in expected:
            expected[name] = decay * expected[name] + (1 - decay) * seen[-1][name]
        return True

    result = engine.train(config, on_epoch)
    found = weights(engine)
    assert any(name.endswith("moving_variance") for name in expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    scored = evaluate(engine.network, images.validation)
    assert scored.accuracy == pytest.approx(result.history[-1].val_accuracy, abs=1.5 / scored.count)
    assert scored.loss == pytest.approx(result.history[-1].val_loss, rel=1e-4)
    plain = engine.train(changed(epochs=4, batch_size=100), go_on)
    assert_bit_equal(weights(engine), seen[-1])
    assert [epoch.loss for epoch in plain.history] == [epoch.loss for epoch in result.history]


def test_smoothed_labels_are_trained_on_but_losses_are_reported_without(engine: Engine) -> None:
    sharp = engine.train(changed(epochs=1, learning_rate=1e-9), go_on)
    smooth = engine.train(changed(epochs=1, learning_rate=1e-9, label_smoothing=0.5), go_on)
    assert smooth.history[0].loss == pytest.approx(sharp.history[0].loss, rel=1e-5)


def test_network_says_the_dropout_of_the_training_that_ran_last(engine: Engine) -> None:
    for rate in (0.1, 0.5):
        engine.train(changed(epochs=1, dropout=rate), go_on)
        assert engine.network.get_layer("dropout_dense1").rate == rate


@pytest.mark.slow
def test_a_new_engine_trains_the_same_weights_too(engine: Engine, images: Split) -> None:
    engine.train(changed(epochs=1), go_on)
    other = Engine(images.train, images.validation, CPU)
    other.train(changed(epochs=1), go_on)
    assert_bit_equal(weights(engine), weights(other))


@pytest.mark.slow
def test_where_an_epoch_is_cut_changes_no_bit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, whole_weights = engine.train(CONFIG, go_on), weights(engine)
    monkeypatch.setattr("model.loop.FIRST_SEGMENT_IMAGES", 1)
    monkeypatch.setattr("model.loop.SEGMENT_SECONDS", 1e-9)
    seen: list[Progress] = []
    cut = engine.train(CONFIG, go_on, on_progress=seen.append)
    assert len(seen) > CONFIG.epochs
    assert without_seconds(whole) == without_seconds(cut)
    assert_bit_equal(whole_weights, weights(engine))


@pytest.mark.slow
def test_new_batch_size_and_learning_rate_need_no_new_trace(images: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[Any] = []
    compiled = program.compiled

    def remembering(*args: Any) -> Any:
        traced.append(compiled(*args))
        return traced[-1]

    monkeypatch.setattr(program, "compiled", remembering)
    engine = Engine(images.train, images.validation, CPU)
    for batch_size, rate, seed in ((32, 0.01, 0), (32, 0.02, 1), (64, 0.02, 2), (7, 0.001, 3), (100, 0.1, 4)):
        engine.train(changed(batch_size=batch_size, learning_rate=rate, seed=seed, epochs=1), go_on)
    assert len(traced) == 2
    assert [function.experimental_get_tracing_count() for function in traced] == [1, 1]


def test_metrics_are_what_plain_evaluation_finds(engine: Engine, images: Split) -> None:
    result = engine.train(CONFIG, go_on)
    found = evaluate(engine.network, images.validation)
    assert found.accuracy == pytest.approx(result.history[-1].val_accuracy, abs=1.5 / found.count)
    assert found.loss == pytest.approx(result.history[-1].val_loss, rel=1e-4)


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1003])
def test_every_validation_image_counts_once(engine: Engine, count: int) -> None:
    """Whatever the remainder of the validation batches: compared with one pass over all images."""
    source = load_training("synthetic", Path())
    some = ImageSet(source.images[:count], source.labels[:count], source.class_names)
    variables = {name: weight.value for name, weight in network.weights_of(engine.network).items()}
    loss, correct = program.validation_program(variables, "float32", xla=False)(program.on_device(some))
    found = evaluate(engine.network, some)
    assert int(correct) / count == pytest.approx(found.accuracy, abs=1.5 / count)
    assert float(loss) / count == pytest.approx(found.loss, rel=1e-3)


def test_incomplete_last_batch_is_dropped_and_the_order_is_a_fresh_permutation() -> None:
    order = program.epoch_order(seed=3, epoch=1, images=300, batch_size=32).numpy()
    assert order.shape == (9, 32)
    assert len(np.unique(order)) == 288
    assert order.min() >= 0
    assert order.max() < 300
    assert np.array_equal(order, program.epoch_order(3, 1, 300, 32).numpy())
    for other in (program.epoch_order(3, 2, 300, 32), program.epoch_order(4, 1, 300, 32)):
        assert not np.array_equal(order, other.numpy())


def test_training_without_validation_images_has_no_validation_metrics(images: Split) -> None:
    result = Engine(images.train, None, CPU).train(changed(epochs=1), go_on)
    assert (result.history[0].val_loss, result.history[0].val_accuracy) == (None, None)


def test_auto_precision_is_resolved_in_the_result(images: Split) -> None:
    device = Device("cpu", "pretend", "bfloat16", xla=False, threads=2)
    result = Engine(images.train, images.validation, device).train(changed(precision="auto", epochs=2), go_on)
    assert result.config.precision == "bfloat16"
    assert result.history[1].loss < result.history[0].loss


@pytest.mark.slow
def test_bfloat16_learns_as_float32_does(engine: Engine) -> None:
    full = engine.train(changed(epochs=4, learning_rate=0.05), go_on)
    half = engine.train(changed(epochs=4, learning_rate=0.05, precision="bfloat16"), go_on)
    assert half.history[-1].loss == pytest.approx(full.history[-1].loss, abs=0.25)


@pytest.mark.slow
def test_learning_rate_steps_within_a_training(engine: Engine) -> None:
    config = changed(epochs=3, schedule="step", step_epochs=[1, 2], step_factor=0.1)
    result = engine.train(config, go_on)
    assert [epoch.learning_rate for epoch in result.history] == pytest.approx([0.02, 0.002, 0.0002])


def test_on_epoch_ends_a_training(engine: Engine) -> None:
    result = engine.train(CONFIG, lambda metrics: metrics.epoch < 2)
    assert result.stopped is True
    assert len(result.history) == 2


def test_saying_stop_after_the_last_epoch_stops_nothing(engine: Engine) -> None:
    assert engine.train(changed(epochs=1), lambda _metrics: False).stopped is False


def test_progress_rises_to_the_end_of_each_epoch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.loop.FIRST_SEGMENT_IMAGES", 1)
    monkeypatch.setattr("model.loop.SEGMENT_SECONDS", 1e-9)
    seen: list[Progress] = []
    engine.train(changed(epochs=2, batch_size=33), go_on, on_progress=seen.append)
    assert [(each.epoch, each.step, each.steps) for each in seen][-1] == (2, 3, 3)
    assert [(each.epoch, each.step) for each in seen] == sorted({(each.epoch, each.step) for each in seen})
    assert all(each.images_per_second > 0 for each in seen)


def test_diverging_training_ends_at_once_and_leaves_the_engine_usable(engine: Engine) -> None:
    with pytest.raises(DivergedError, match=r"epoch 1.*learning rate 1000") as caught:
        engine.train(changed(learning_rate=1000.0), go_on)
    assert (caught.value.kind, caught.value.retry) == ("diverged", False)
    assert engine.train(changed(epochs=1), go_on).history[0].loss < 10


def test_update_that_overflows_in_the_very_last_step_is_noticed_by_validation(
    images: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = tf.constant(np.nan), tf.constant(0)
    monkeypatch.setattr(program, "validation_program", lambda *_, **__: lambda _data: nothing)
    engine = Engine(images.train, images.validation, CPU)
    with pytest.raises(DivergedError, match="validation loss became nan after epoch 1"):
        engine.train(changed(epochs=1), lambda _metrics: pytest.fail("reported"))


def test_batch_larger_than_the_training_set_is_refused(engine: Engine) -> None:
    with pytest.raises(DataError, match="batch_size 101 is larger than the 100 training images"):
        engine.train(changed(batch_size=101), go_on)


def test_running_out_of_memory_names_the_batch_size(images: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(images.train, images.validation, CPU)

    def too_large(*_args: Any, **_kwargs: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "failed to allocate memory")

    monkeypatch.setattr(engine, "_training_program", lambda *_: too_large)
    with pytest.raises(OutOfMemoryError, match="this CPU ran out of memory at batch_size 32") as caught:
        engine.train(CONFIG, go_on)
    assert (caught.value.kind, caught.value.retry) == ("out-of-memory", False)


class Killed(BaseException):
    """Stands for the end of the process."""


def dying_after(epoch: int, seen: list[int]) -> Callable[[EpochMetrics], bool]:
    def on_epoch(metrics: EpochMetrics) -> bool:
        seen.append(metrics.epoch)
        if metrics.epoch == epoch:
            raise Killed
        return True

    return on_epoch


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param(EVERYTHING, marks=pytest.mark.slow, id="everything"),
        pytest.param(NESTEROV, marks=pytest.mark.slow, id="nesterov"),
    ],
)
def test_resumed_training_is_bit_equal_to_one_never_interrupted(
    engine: Engine, images: Split, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = changed(epochs=4, schedule="step", step_epochs=[2], step_factor=0.5, **changes)
    straight, straight_weights = engine.train(config, go_on), weights(engine)
    seen: list[int] = []
    with pytest.raises(Killed):
        engine.train(config, dying_after(2, seen), checkpoints=tmp_path)
    resumed_engine = Engine(images.train, images.validation, CPU)
    started: list[int] = []
    resumed = resumed_engine.train(
        config,
        dying_after(99, seen),
        checkpoints=tmp_path,
        on_start=lambda history: started.append(len(history)),
    )
    assert started == [2]
    assert seen == [1, 2, 3, 4], "an epoch is reported once"
    assert without_seconds(resumed) == without_seconds(straight)
    assert_bit_equal(straight_weights, weights(resumed_engine))


def test_checkpoint_is_on_disk_before_its_epoch_is_reported(engine: Engine, tmp_path: Path) -> None:
    def on_epoch(metrics: EpochMetrics) -> bool:
        assert (tmp_path / f"epoch-{metrics.epoch:06d}{checkpoint.SUFFIX}").is_file()
        return True

    engine.train(changed(epochs=2), on_epoch, checkpoints=tmp_path)


def test_finished_training_is_not_trained_again(engine: Engine, tmp_path: Path) -> None:
    first, first_weights = engine.train(CONFIG, go_on, checkpoints=tmp_path), weights(engine)
    engine.train(changed(epochs=1, seed=77), go_on)
    again = engine.train(CONFIG, lambda _metrics: pytest.fail("trained again"), checkpoints=tmp_path)
    assert again == first
    assert_bit_equal(first_weights, weights(engine))


def test_damaged_checkpoint_costs_one_epoch(engine: Engine, tmp_path: Path) -> None:
    straight, straight_weights = engine.train(CONFIG, go_on, checkpoints=tmp_path), weights(engine)
    (tmp_path / "epoch-000003.checkpoint").write_bytes(b"damaged")
    seen: list[int] = []
    again = engine.train(CONFIG, dying_after(99, seen), checkpoints=tmp_path)
    assert seen == [3]
    assert without_seconds(again) == without_seconds(straight)
    assert_bit_equal(straight_weights, weights(engine))


def test_unwritable_checkpoint_folder_is_a_failure_worth_a_retry(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="checkpoint of epoch 1 can't be written") as caught:
        engine.train(CONFIG, go_on, checkpoints=tmp_path / "file" / "folder")
    assert caught.value.retry
