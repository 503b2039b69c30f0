"""How every network is trained: epochs of compiled steps, a checkpoint after each, and what may go wrong.

A subclass brings the network, its data on the device and the two programs (`model.program` says what they take and
give); nothing here knows what is computed between two steps.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model import checkpoint, optimizers, program
from model.config import DataError, DiskError, DivergedError, EpochMetrics, OutOfMemoryError, TrainConfig, TrainResult
from model.data import ImageSet, fingerprint
from model.device import Device
from model.schedule import learning_rate

FIRST_SEGMENT_IMAGES = 2048
SEGMENT_SECONDS = 1.0
"""How long one call into TensorFlow is meant to take: between two, progress is told and signals are handled."""

Program = Callable[..., Any]
Accumulators = Mapping[str, tuple[tf.Variable, ...]]
"""Of each weight that is trained, what the optimizer keeps."""


@dataclass(frozen=True)
class Progress:
    """Where the current epoch is."""

    epoch: int
    step: int
    """Steps of this epoch that are done."""
    steps: int
    images_per_second: float
    """Over this epoch so far, validation not included."""


class Loop(ABC):
    """A network, its data on the device and its compiled programs, for many trainings in turn.

    One thread of one process uses a Loop. Every `train` starts from the weights that its seed means, whatever was
    trained before, so the order of trainings changes nothing. A training that raised leaves the Loop usable.
    On a CPU in float32 the same configuration, data and thread count give the same weights, bit for bit.
    """

    def __init__(self, train: ImageSet, device: Device, data: Any, validation: Any) -> None:
        """`data` and `validation` are the images as the programs take them, on the device."""
        self._train_images = train
        self._device = device
        self._data = data
        self._validation = validation
        self._trainable: Mapping[str, tf.Variable] = {}
        self._accumulators: dict[str, dict[str, tf.Variable]] = {}
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._fingerprint: str | None = None

    @abstractmethod
    def _prepare(self, config: TrainConfig) -> Mapping[str, npt.NDArray[np.float32]]:
        """Have the variables be those of this configuration's network; the values that its seed means for them."""

    @abstractmethod
    def _read(self) -> dict[str, npt.NDArray[np.float32]]:
        """A copy of the variables, as a checkpoint has them."""

    @abstractmethod
    def _assign(self, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Overwrite the variables by what `_prepare` or `_read` gave."""

    @abstractmethod
    def _compiled_training(self, variant: program.Variant, precision: str, accumulators: Accumulators) -> Program:
        """As `program.training_program` makes it."""

    @abstractmethod
    def _compiled_validation(self, config: TrainConfig) -> Program:
        """As `program.validation_program` makes it for all configurations with these precision, averaging, mirrored."""

    def _averages_of(self, config: TrainConfig) -> Mapping[str, tf.Variable]:
        """The moving averages of the variables, by the names of `_read`; none if there are none."""
        del config
        return {}

    def train(
        self,
        config: TrainConfig,
        on_epoch: Callable[[EpochMetrics], bool],
        *,
        checkpoints: Path | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_start: Callable[[tuple[EpochMetrics, ...]], None] | None = None,
    ) -> TrainResult:
        """Train one configuration from its initial weights, or from its newest checkpoint in `checkpoints`.

        `on_start` is called once, with the epochs that the checkpoint had; none if there is no checkpoint.
        `on_epoch` is called after each new epoch, when its checkpoint is on disk; False from it ends the training.

        Raises:
            DataError: a batch is larger than the training set.
            DivergedError: the loss became NaN or infinite.
            OutOfMemoryError: the batch size is too large for the device.
            DiskError: a checkpoint can't be written.
        """
        images = len(self._train_images.labels)
        if config.batch_size > images:
            raise DataError(
                f"batch_size {config.batch_size} is larger than the {images} training images. "
                "Use a smaller batch_size or more train_images."
            )
        config = config.model_copy(update={"precision": self._device.resolve(config.precision)})
        history = self._start(config, checkpoints)
        if on_start is not None:
            on_start(tuple(history))
        stopped = False
        try:
            for epoch in range(len(history) + 1, config.epochs + 1):
                metrics = self._epoch(config, epoch, on_progress)
                history.append(metrics)
                if checkpoints is not None:
                    self._save(checkpoints, config, history)
                if not on_epoch(metrics) and epoch < config.epochs:
                    stopped = True
                    break
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfMemoryError(
                f"{self._device.name} ran out of memory at batch_size {config.batch_size}. "
                "Use a smaller batch_size, or fewer trainings at once on this device."
            ) from error
        if averages := self._averages_of(config):  # they are the network now
            self._assign({name: average.numpy() for name, average in averages.items()})
        return TrainResult(config=config, history=tuple(history), stopped=stopped)

    def _start(self, config: TrainConfig, checkpoints: Path | None) -> list[EpochMetrics]:
        initial = self._prepare(config)
        accumulators = self._kept(config)
        state = None
        if checkpoints is not None:
            like = {name: value.shape for name, value in initial.items()}
            like |= {f"{checkpoint.ACCUMULATORS}{name}": tuple(kept.shape) for name, kept in accumulators.items()}
            state = checkpoint.load(checkpoints, config, self._data_fingerprint(), like=like)
        if state is None:
            self._assign(initial)
            for accumulator in self._accumulators_of(config).values():
                accumulator.assign(tf.zeros_like(accumulator))
            for name, average in self._averages_of(config).items():
                average.assign(initial[name])
            return []
        self._assign(state.weights)
        for name, accumulator in accumulators.items():
            accumulator.assign(state.accumulators[name])
        return list(state.history)

    def _accumulators_of(self, config: TrainConfig) -> dict[str, tf.Variable]:
        """What the optimizer keeps, as in `momentum/conv1/kernel`: made when first used, and kept for the next."""
        kept: dict[str, tf.Variable] = {}
        for accumulator in optimizers.ACCUMULATORS[optimizers.family(config)]:
            if accumulator not in self._accumulators:
                self._accumulators[accumulator] = {
                    name: tf.Variable(tf.zeros_like(weight), trainable=False)
                    for name, weight in self._trainable.items()
                }
            kept |= {f"{accumulator}/{name}": variable for name, variable in self._accumulators[accumulator].items()}
        return kept

    def _kept(self, config: TrainConfig) -> dict[str, tf.Variable]:
        """What a checkpoint has beside the weights: what the optimizer keeps, and as in `average/conv1/kernel`."""
        averages = {f"average/{name}": average for name, average in self._averages_of(config).items()}
        return self._accumulators_of(config) | averages

    def _save(self, folder: Path, config: TrainConfig, history: list[EpochMetrics]) -> None:
        state = checkpoint.State(
            config=config,
            data=self._data_fingerprint(),
            history=tuple(history),
            weights=self._read(),
            accumulators={name: accumulator.numpy() for name, accumulator in self._kept(config).items()},
        )
        try:
            checkpoint.save(folder, state)
        except OSError as error:
            raise DiskError(
                f"The checkpoint of epoch {len(history)} can't be written to {folder}: {error.strerror or error}. "
                "Free some space or make the folder writable; the checkpoint before it is still whole."
            ) from error

    def _epoch(self, config: TrainConfig, epoch: int, on_progress: Callable[[Progress], None] | None) -> EpochMetrics:
        started = time.perf_counter()
        rate = learning_rate(config, epoch)
        order = program.epoch_order(config.seed, epoch, len(self._train_images.labels), config.batch_size)
        steps = order.shape[0]
        train = self._training_program(config)
        position = program.Position(tf.constant(0), tf.constant(0.0), tf.constant(0))
        settings = program.Settings.of(config, epoch, rate)
        step, segment = 0, max(1, FIRST_SEGMENT_IMAGES // config.batch_size)
        while step < steps:
            segment_started = time.perf_counter()
            last = min(step + segment, steps)
            position = train(self._data, order, position, tf.constant(last), settings)
            reached, loss, correct = (value.numpy().item() for value in position)
            if not math.isfinite(loss):
                raise DivergedError(
                    f"The loss became {loss} in epoch {epoch}, step {reached} of {steps}, "
                    f"at learning rate {rate:g}. Use a smaller learning_rate or a larger batch_size."
                )
            now = time.perf_counter()
            segment = max(1, round((last - step) * SEGMENT_SECONDS / (now - segment_started)))
            step = last
            if on_progress is not None:
                on_progress(Progress(epoch, step, steps, step * config.batch_size / (now - started)))
        val_loss, val_accuracy = self._validate(config, epoch, rate)
        return EpochMetrics(
            epoch=epoch,
            loss=loss / steps,
            accuracy=correct / (steps * config.batch_size),
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - started,
        )

    def _validate(self, config: TrainConfig, epoch: int, rate: float) -> tuple[float | None, float | None]:
        if self._validation is None:
            return None, None
        loss, correct = self._validation_program(config)(self._validation)
        size = self._validation.labels.shape[0]
        # The last step's update may overflow when all the losses before it were finite.
        if not math.isfinite(float(loss)):
            raise DivergedError(
                f"The validation loss became {float(loss)} after epoch {epoch}, at learning rate {rate:g}. "
                "Use a smaller learning_rate or a larger batch_size."
            )
        return float(loss) / size, int(correct) / size

    def _training_program(self, config: TrainConfig) -> Program:
        variant = program.Variant.of(config)
        if (config.precision, variant) not in self._programs:
            kept = optimizers.ACCUMULATORS[variant.optimizer]
            accumulators = {
                name: tuple(self._accumulators[accumulator][name] for accumulator in kept) for name in self._trainable
            }
            self._programs[config.precision, variant] = self._compiled_training(variant, config.precision, accumulators)
        return self._programs[config.precision, variant]

    def _validation_program(self, config: TrainConfig) -> Program:
        key = config.precision, bool(config.averaging), config.mirrored
        if key not in self._programs:
            self._programs[key] = self._compiled_validation(config)
        return self._programs[key]

    def _data_fingerprint(self) -> str:
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._train_images)
        return self._fingerprint
